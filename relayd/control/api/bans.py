"""Who is shut out: `GET /api/bans`, `DELETE /api/bans/{address}`; no operations of the API that this one follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypedDict

from relayd.control.answers import Failure, Problem
from relayd.control.origin import parse_address
from relayd.control.queries import PageQuery
from relayd.control.routes import Call, Route
from relayd.events import manage
from relayd.reputation.bans import Bans
from relayd.telemetry.render import rfc3339


class BanItem(TypedDict):
    """One ban.  times: how many the address has had.  evidence: what it did last."""

    address: str
    since: str
    until: str
    reason: str
    times: int
    evidence: str


class BanList(TypedDict):
    """The bans that stand."""

    items: list[BanItem]
    total: int


class BanOperations:
    """The handlers.  clock: Unix time."""

    def __init__(self, bans: Bans, clock: Callable[[], float]) -> None:
        self._bans = bans
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/bans",
            permission="ban-list",
            handler=self.list,
            summary="The addresses that are shut out",
            area="bans",
            query=PageQuery,
            answer=BanList,
        )
        yield Route(
            method="DELETE",
            path="/bans/{address}",
            permission="ban-delete",
            handler=self.lift,
            summary="Let an address in again",
            area="bans",
            answer=bool,
        )

    async def list(self, call: Call) -> BanList:
        """The bans that stand, the oldest first; IPv6 by /64."""
        standing = self._bans.standing(self._clock())
        page: PageQuery = call.query
        end = page.offset + page.size if page.size is not None else None
        items = [
            BanItem(
                address=str(ban.network).removesuffix("/32"),
                since=rfc3339(ban.since),
                until=rfc3339(ban.until),
                reason=ban.reason,
                times=ban.times,
                evidence=ban.evidence,
            )
            for ban in standing[page.offset : end]
        ]
        return BanList(items=items, total=len(standing))

    async def lift(self, call: Call) -> bool:
        """Lift the ban of an address (or of the /64 that `GET /api/bans` shows), and forget its failures."""
        given = call.path["address"]
        address = parse_address(given.partition("/")[0])
        if address is None:
            raise Problem(400, "Invalid parameters", "address: expected an IP address")
        if not self._bans.lift(address, self._clock()):
            raise Failure("notFound", item=given)
        manage.ACTION(
            call.span, account_name=call.caller.name, type_="lift-ban", details=str(address), total=1, reason=""
        )
        return True
