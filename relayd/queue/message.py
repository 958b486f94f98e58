"""The values that go into the queue and come out of it.

A message is `head` + the rest of its content from `offset` on: trace fields (and an edited header) can so be put in
front of a large body that is already a file, without copying it.

They are msgspec structs: several are made for every message, and a frozen dataclass of twenty fields takes four
microseconds where a struct takes half of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mail.terms import NO_TERMS, Terms
from relayd.queue.usage import Charge
from relayd.routing.next_hop import MessageTls


class Origin(Enum):
    """Where a message came from; the value is what the database and the counters hold."""

    RELAYED = "relayed"
    """Accepted from a stranger."""
    SUBMITTED = "submitted"
    """Accepted from a trusted session."""
    DSN = "dsn"
    """Written by relayd: a delivery status notification."""
    ALERT = "alert"
    """Written by relayd: anything else."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The octets of a message.

    content: bytes held in the database, or the path of a spooled file that `blobs` already wrote and closed.
    size: octets as delivered, head included.  eight_bit: an octet over 127 in the content or head.
    utf8_header: one in the header (then SMTPUTF8 is needed to send it on).  signed: carries a DKIM signature.
    """

    head: bytes
    content: bytes | Path
    offset: int = 0
    size: int
    eight_bit: bool = False
    utf8_header: bool = False
    signed: bool = False


class NewRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient to be queued.  Times are Unix seconds; next_notify None: no delay notice is due."""

    address: str
    destination: str
    next_attempt: float
    next_notify: float | None
    expires: float
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be promised.

    id: its snowflake.  sender_key: whose turn it takes within a destination (the account, else the return path's
    address).  counts: what the invariant's counters gain with it, e.g. {"accepted": 2} or {"generated": 1, "replaced":
    1, "expanded": 3}.  held: a reason when it must not go out before an operator releases it.  tls: what it says of TLS
    (RFC 8689).  charges: in whose name it counts, and how much.  leased: the delivery side takes it at once, in memory;
    its recipients' next_attempt is then when they are due again.
    """

    id: int
    origin: Origin
    return_path: str
    recipients: tuple[NewRecipient, ...]
    body: Body
    created: float
    sender_key: str = ""
    trusted: bool = False
    smtputf8: bool = False
    tls: MessageTls = MessageTls.USUAL
    ret: str | None = None
    envid: str | None = None
    account: str | None = None
    listener: str = ""
    client: str = ""
    message_id: str = ""
    held: str | None = None
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    charges: tuple[Charge, ...] = ()
    leased: bool = False
    terms: Terms = NO_TERMS


class State(Enum):
    """Of one recipient; the names are those of the control API's status."""

    SCHEDULED = "scheduled"
    COMPLETED = "completed"
    TEMP_FAIL = "temp_fail"
    PERM_FAIL = "perm_fail"

    @property
    def is_pending(self) -> bool:
        """Still to be delivered."""
        return self in (State.SCHEDULED, State.TEMP_FAIL)


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A queued recipient.  number: its place in the message, its identity.  attempts: made so far, the one in flight
    included.  status: the text of the last outcome (control-api status text), "" before the first.  maybe_delivered:
    when last the peer was lost after the final dot, so that a copy may have arrived; None: never.  class_, rule: what
    the last failure means and the rule that says so; "" without one.
    """

    number: int
    address: str
    destination: str
    state: State
    attempts: int
    next_attempt: float
    next_notify: float | None
    expires: float
    notify: frozenset[Notify] | None
    orcpt: str | None
    status: str = ""
    maybe_delivered: float | None = None
    class_: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Who held a message, when (Unix seconds) and why."""

    since: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Who deleted a message, when and why, and until when that can be undone (times in Unix seconds)."""

    since: float
    by: str
    reason: str
    until: float


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A queued message without its octets.  recipients: all of them, or (in a Job) those of the job.

    next_hop: where an operator sent it, a route's id or "mx"; None: where the configuration says.  deletion: it is not
    queued any more, and kept for a while.
    """

    id: int
    origin: Origin
    return_path: str
    created: float
    size: int
    recipients: tuple[Recipient, ...]
    sender_key: str
    trusted: bool
    smtputf8: bool
    ret: str | None
    envid: str | None
    account: str | None
    listener: str
    client: str
    message_id: str
    blob_hash: str
    eight_bit: bool
    utf8_header: bool
    signed: bool
    tls: MessageTls = MessageTls.USUAL
    hold: Hold | None = None
    corrupt: bool = False
    next_hop: str | None = None
    deletion: Deletion | None = None
    terms: Terms = NO_TERMS


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work for the delivery side: recipients of one message that share a destination, leased until `until`.

    body: given when the octets are still in memory, else None and read through `Queue.open_body`.
    """

    message: Message
    destination: str
    until: float
    body: Body | None = None


class Result(Enum):
    """What became of one recipient in one attempt."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    RELAYED = "relayed"
    """Delivered to a host that does not take DSN requests further (RFC 3461 §5.2.2): counts as delivered."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one recipient and what is to be remembered of it.

    reply: of the peer, or with `ours` one of our own making (connection lost: 4.4.2).  host: the peer's name, "" when
    none was reached.  status: the control API's status text.  next_attempt, next_notify: for DEFERRED, Unix seconds
    (the schedule's); None keeps what the row has.  maybe_delivered: the connection was lost after the final dot;
    maybe_at: when that was, of a deferral, in Unix seconds.
    destination: set when a DEFERRED recipient now belongs to another destination.
    uncounted: the attempt was never made (its host was busy, the route suspended): `attempts` goes back by one.
    class_, rule, hard: what a failure means and the rule that says so (`routing.bounce_class`); "" when not asked.
    """

    number: int
    address: str
    result: Result
    reply: Reply
    host: str = ""
    status: str = ""
    next_attempt: float | None = None
    next_notify: float | None = None
    maybe_delivered: bool = False
    maybe_at: float | None = None
    ours: bool = False
    destination: str | None = None
    uncounted: bool = False
    class_: str = ""
    rule: str = ""
    hard: bool = False
