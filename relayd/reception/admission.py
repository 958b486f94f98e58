"""What reception asks of the delivery side: room in memory for new mail, and whether a recipient exists.

Both are protocols, so that reception and delivery share a ring without importing one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from relayd.mail.reply import Reply
from relayd.queue.message import Job
from relayd.routing.rule import Rules


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The times of a new message, all Unix seconds.

    leased_until: until when a message that is handed over in memory is leased.  due_again: when its recipients are due
    if the attempt in flight is never settled (the attempt is recorded before it is made).  first_attempt: when a
    message is due that is not handed over.  next_notify: when a delay notice is due, None for never.
    """

    leased_until: float
    due_again: float
    first_attempt: float
    next_notify: float | None
    expires: float


class Admission(Protocol):
    """The delivery side as reception sees it."""

    @property
    def rules(self) -> Rules:
        """The rules that look at more than the recipient; falsy, and then not to be asked, when there is none."""
        ...

    def destination(self, address: str, rules: Sequence[str] = ()) -> str:
        """The key of the next hop for an address (`NextHop.key`); cheap, it is asked for each recipient.

        rules: those that matched the message.
        """
        ...

    def admit(self, destination: str, sender_key: str, recipients: int) -> bool:
        """Whether a message for `destination` may be enqueued leased and handed over in memory.

        Reserves nothing: the message may yet fail to be queued, and then `take` is never called.
        """
        ...

    def take(self, job: Job) -> None:
        """Start on a job whose message is durably queued and leased."""
        ...

    def plan(self, now: float) -> Plan:
        """The times of a message that is queued at `now` (Unix seconds)."""
        ...


class Prober(Protocol):
    """Asks a next hop whether it takes mail for an address."""

    async def probe(self, address: str) -> Reply | None:
        """The next hop's reply to RCPT for `address`; None: it could not be asked (no connection, MAIL refused)."""
        ...
