"""Who is told what became of a message: delivery status notifications (RFC 3464, RFC 3461, RFC 6533).

What is reported (RFC 3461 §5, §6):
- a failure (bounced, expired) unless NOTIFY said otherwise;
- a delay when NOTIFY=DELAY asked for it, or NOTIFY was not given and the sender is trusted;
- a success only when NOTIFY=SUCCESS asked for it: "relayed" when the next hop does not take the request further,
  "delivered" when the next hop is LMTP, where delivery ends; else the next hop reports it.

What one settling reports of one message is one notification, with a null return path, so no bounce answers a bounce:
mail with a null return path is never reported to its sender.  A notification of ours that cannot be delivered goes to
the postmaster, once; if that cannot be delivered either, or there is no postmaster, it is dropped (its recipient is
counted as bounced or expired all the same) and DOUBLE_BOUNCE says so.

A failure returns the whole message when RET=FULL asked for it, the sender is trusted, and it is at most 1 MB; else,
and in all other cases, the header, cut at 64 KB.  A notification is queued in the transaction that records the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from relayd.delivery.due import notice_due
from relayd.delivery.parts import BodySide, RouterSide
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.envelope import Notify
from relayd.mail.snowflake import Snowflakes
from relayd.queue.message import Body, Job, Message, NewMessage, NewRecipient, Origin, Outcome, Recipient, Result
from relayd.routing.next_hop import NextHop, Protocol as Spoken
from relayd.routing.schedule import Schedule

FULL_LIMIT = 1 << 20
"""Octets of the largest message that RET=FULL returns whole."""

HEADER_LIMIT = 64 << 10
"""Octets of a message's beginning in which its header is looked for; a longer header is cut."""


class LocalSide(Protocol):
    """`relayd.reception.local_names`'s LocalNames as bounces use it."""

    @property
    def domains(self) -> frozenset[str]:
        """Our own domains."""

    def targets(self, name: str) -> tuple[str, ...] | None:
        """What a local name stands for."""

    @property
    def postmaster(self) -> tuple[str, ...]:
        """Where mail to postmaster goes."""
