"""What is remembered of strangers: `/api/greylist`, `/api/reputation`; not of the API that this one follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

from relayd.control.answers import Failure
from relayd.control.queries import TEXT, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.events import manage
from relayd.reputation.greylist import Greylist
from relayd.reputation.record import Records
from relayd.telemetry.render import rfc3339


class GreylistItem(TypedDict):
    """key: a network, or "spf:" or "dkim:" with a domain, that is let in until a time; or a network that waits.

    sender, recipient, since: of who waits; null of who is let in.
    """

    key: str
    is_waiting: bool
    until: str | None
    since: str | None
    sender: str | None
    recipient: str | None


class GreylistItems(TypedDict):
    """Who is let in, then who waits.  enabled: whether greylisting is on."""

    items: list[GreylistItem]
    total: int
    enabled: bool


class RecordItem(TypedDict):
    """One record.  ham, spam: messages, faded with time.  goodness: from -1 (all spam) to 1."""

    key: str
    ham: float
    spam: float
    goodness: float


class RecordItems(TypedDict):
    """Records, the worst first.  enabled: whether they are put to use."""

    items: list[RecordItem]
    total: int
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterQuery(PageQuery):
    """Which of them."""

    filter: str | None = parameter(TEXT, "Only keys, senders and recipients that hold this.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyQuery:
    """What is to be forgotten."""

    key: str | None = parameter(TEXT, "The key as the list shows it; absent: everything.")


class StrangerOperations:
    """The handlers.  clock: Unix time."""

    def __init__(self, greylist: Greylist, records: Records, clock: Callable[[], float]) -> None:
        self._greylist = greylist
        self._records = records
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        for name, list_, forget, answer, what in (
            ("greylist", self.list_greylist, self.forget_greylist, GreylistItems, "Who is let in, and who waits"),
            ("reputation", self.list_records, self.forget_records, RecordItems, "The records of senders"),
        ):
            yield Route(
                method="GET",
                path=f"/{name}",
                permission="ban-list",
                handler=list_,
                summary=what,
                area="bans",
                query=FilterQuery,
                answer=answer,
            )
            yield Route(
                method="DELETE",
                path=f"/{name}",
                permission="ban-delete",
                handler=forget,
                summary=f"Forget a key of the {name}, or all",
                area="bans",
                query=KeyQuery,
                answer=int,
            )

    async def list_greylist(self, call: Call) -> GreylistItems:
        """Networks and domains that are let in, then who was asked to come again."""
        found = [
            GreylistItem(
                key=each.key, is_waiting=False, until=rfc3339(each.until), since=None, sender=None, recipient=None
            )
            for each in self._greylist.all_known(self._clock())
        ]
        found += [
            GreylistItem(
                key=each.network,
                is_waiting=True,
                until=None,
                since=rfc3339(each.since),
                sender=each.sender,
                recipient=each.recipient,
            )
            for each in self._greylist.all_waiting()
        ]
        query: FilterQuery = call.query
        text = (query.filter or "").lower()
        found = [
            each
            for each in found
            if text in each["key"] or text in (each["sender"] or "") or text in (each["recipient"] or "")
        ]
        page = found[query.offset : query.offset + query.size if query.size is not None else None]
        return GreylistItems(items=page, total=len(found), enabled=self._greylist.options.enabled)

    async def forget_greylist(self, call: Call) -> int:
        """Forget a network or domain, and who waits from there; how many entries went."""
        return self._forget(call, "greylist", self._greylist.forget)

    async def list_records(self, call: Call) -> RecordItems:
        """What the mail of each sender was scored."""
        query: FilterQuery = call.query
        text = (query.filter or "").lower()
        found = sorted(
            (each for each in self._records.all(self._clock()) if text in each.key),
            key=lambda each: (each.goodness, each.key),
        )
        page = found[query.offset : query.offset + query.size if query.size is not None else None]
        items = [
            RecordItem(key=each.key, ham=round(each.ham, 2), spam=round(each.spam, 2), goodness=round(each.goodness, 3))
            for each in page
        ]
        return RecordItems(items=items, total=len(found), enabled=self._records.options.enabled)

    async def forget_records(self, call: Call) -> int:
        """Forget a record; how many went."""
        return self._forget(call, "reputation", self._records.forget)

    def _forget(self, call: Call, what: str, forget: Callable[[str], int]) -> int:
        query: KeyQuery = call.query
        key = query.key or ""
        total = forget(key)
        if key and not total:
            raise Failure("notFound", item=key)
        manage.ACTION(
            call.span,
            account_name=call.caller.name,
            type_=f"reset-{what}",
            details=key or "all",
            total=total,
            reason="",
        )
        return total
