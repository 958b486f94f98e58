"""What the scheduler asks of its neighbours, as protocols: the queue, the router, and who makes the attempts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from relayd.blobs.source import BodySource
from relayd.delivery.permit import Permit
from relayd.queue.message import Job, NewMessage, Outcome
from relayd.routing.next_hop import NextHop
from relayd.routing.rule import Rules


class QueueSide(Protocol):
    """`relayd.queue`'s Queue as the scheduler uses it."""

    on_change: Callable[[], None]

    @property
    def paused(self) -> Any:
        """Not None while the queue is paused."""

    @property
    def unrecorded(self) -> int:
        """Outcomes that the database did not take yet."""

    def suspensions(self) -> Iterable[Any]:
        """What is suspended now; each has a `destination`, its key (`queue.suspension`), `by`, `reason` and `until`."""

    async def lapse(self) -> None:
        """Forget the suspensions whose time is over."""

    async def lease_due(
        self,
        now: float,
        *,
        per_destination: Mapping[str, int] | int,
        limit: int,
        saturated: Collection[str],
        retry_at: Callable[[int, float], float],
        only: Collection[str] | None = None,
    ) -> list[Job]:
        """Jobs that are due, leased; fair between destinations and senders.  only: for these destinations."""

    async def next_due(self, saturated: Collection[str]) -> float | None:
        """The earliest time at which a row is due that is not leased."""

    async def settle(self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage] = ()) -> bool:
        """Record outcomes, and queue what was written because of them, in one transaction; True: nothing is left."""

    async def release_leases(self, job: Job) -> None:
        """Give a job back that was not started."""

    async def suspend(self, destination: str, until: float | None, by: str, reason: str) -> None:
        """Start no attempt to a destination until `until`."""

    async def unsuspend(self, destination: str) -> None:
        """Start them again."""


class RouterSide(Protocol):
    """`relayd.routing.route`'s Router as the scheduler uses it."""

    @property
    def rules(self) -> Rules:
        """The rules that look at more than the recipient."""

    def destination(self, address: str) -> str:
        """The key of an address's next hop."""

    def destination_by(self, address: str, next_hop: str | None, rules: Sequence[str] = ()) -> str:
        """The same for a message that an operator sent by `next_hop`, or that `rules` matched."""

    def next_hop(self, destination: str) -> NextHop:
        """The next hop of a key."""

    def reroute(
        self, address: str, destination: str, next_hop: str | None = None, rules: Sequence[str] = ()
    ) -> str | None:
        """The key of the address's next hop when it is no longer `destination`; next_hop: an operator's word."""

    def is_known(self, destination: str) -> bool:
        """Whether the key still names something."""


class Attempter(Protocol):
    """`relayd.delivery.attempt`'s Attempts as the scheduler uses it."""

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        """Make one attempt.  permit: what it may do where limits hold."""

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        """The MX hosts of best preference; none where the next hop is reached otherwise, None: they cannot be had."""


class BodySide(Protocol):
    """`relayd.queue`'s Queue as bounces use it."""

    async def open_body(self, message_id: int) -> BodySource:
        """The octets of a message."""
