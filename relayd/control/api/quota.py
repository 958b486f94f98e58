"""What an account, domain or tenant sent, and what it may: `GET /api/quota/{name}`, an operation of our own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypedDict

from relayd.control.answers import Failure
from relayd.control.routes import Call, Route
from relayd.directory.principals import Principals
from relayd.reception.submission import Quota
from relayd.telemetry.render import rfc3339

AREA = "principals"

QuotaSide = Callable[[str], Awaitable[Quota | None]]
"""`relayd.reception.receive.Reception.quota`."""


class Sent(TypedDict):
    """What was sent in a period."""

    messages: int
    recipients: int
    bytes: int


class LimitItem(TypedDict):
    """A limit: `most` of `measure` in a `period`, of which `used`; all of it is there again at `resets`.

    name: whose limit it is, "account:jane", "domain:example.org", "tenant:acme".
    """

    name: str
    measure: str
    period: str
    most: int
    used: int
    resets: str


class QuotaAnswer(TypedDict):
    """sent: by period: hour, day and month, by the clock (UTC)."""

    name: str
    sent: dict[str, Sent]
    limits: list[LimitItem]


class QuotaOperations:
    """The handlers."""

    def __init__(self, quota: QuotaSide, principals: Principals) -> None:
        self._quota = quota
        self._principals = principals

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/quota/{name}",
            permission="quota-get",
            handler=self.show,
            summary="What an account, domain or tenant sent, and what it may",
            area=AREA,
            answer=QuotaAnswer,
        )

    async def show(self, call: Call) -> QuotaAnswer:
        """A caller of a tenant sees that tenant's alone."""
        name = call.path["name"]
        tenant = call.caller.tenant
        if tenant:
            entry = await self._principals.get(name)
            if entry is None or tenant not in (entry.tenant, entry.name):
                raise Failure("notFound", item=name)
        found = await self._quota(name)
        if found is None:
            raise Failure("notFound", item=name)
        return QuotaAnswer(
            name=found.key,
            sent={
                period: Sent(messages=amounts[0], recipients=amounts[1], bytes=amounts[2])
                for period, amounts in found.sent.items()
            },
            limits=[
                LimitItem(
                    name=each.name,
                    measure=each.allowance.measure,
                    period=each.allowance.period,
                    most=each.allowance.most,
                    used=each.used,
                    resets=rfc3339(each.ends),
                )
                for each in found.limits
            ],
        )
