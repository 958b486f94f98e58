"""Between rows and values: what each column of `messages` and `recipients` means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from relayd.database.interface import Connection, Row
from relayd.mail.envelope import Notify
from relayd.mail.terms import NO_TERMS, Terms
from relayd.queue.message import Deletion, Hold, Message, NewMessage, Origin, Recipient, State
from relayd.routing.next_hop import MessageTls

_SHOWN = (State.SCHEDULED, State.COMPLETED, State.TEMP_FAIL, State.PERM_FAIL)
STATES = (*_SHOWN, State.SCHEDULED, State.PERM_FAIL, State.TEMP_FAIL, State.PERM_FAIL)
"""By the number that the column holds."""
SCHEDULED, COMPLETED, TEMP_FAIL, PERM_FAIL = range(4)
PENDING = "state IN (0, 2)"

REMOVED, CANCELLED = 4, 5
"""Added to SCHEDULED or TEMP_FAIL while a recipient is removed: with its message, or by itself.  It is pending no more,
and becomes what it was when that is undone."""

CANCELED = "Code: 0, Enhanced code: 0.0.0, Message: Delivery canceled."

_TRUSTED, _SMTPUTF8, _EIGHT_BIT, _UTF8_HEADER, _SIGNED = 1, 2, 4, 8, 16
_TLS = {MessageTls.USUAL: 0, MessageTls.REQUIRED: 32, MessageTls.OPTIONAL: 64}
_TLS_BITS = 96
_TLS_BY_BITS = {bits: tls for tls, bits in _TLS.items()}
_NOTIFY = {Notify.NEVER: 1, Notify.SUCCESS: 2, Notify.FAILURE: 4, Notify.DELAY: 8}
_NOTIFY_SETS: tuple[frozenset[Notify], ...] = tuple(
    frozenset(word for word, bit in _NOTIFY.items() if number & bit) for number in range(16)
)
_ORIGINS = {origin.value: origin for origin in Origin}

NEW_MESSAGE_COLUMNS = (
    "id, origin, return_path, created, size, sender_key, flags, ret, envid, account, listener, client, message_id, "
    "blob_hash, corrupt, held_since, held_by, held_reason, terms"
)
MESSAGE_COLUMNS = NEW_MESSAGE_COLUMNS + ", next_hop"
NEW_RECIPIENT_COLUMNS = (
    "message_id, number, address, destination, sender_key, state, attempts, next_attempt, next_notify, expires, "
    "notify, orcpt, status, waiting, lease_owner, lease_until"
)
RECIPIENT_COLUMNS = (
    "number, address, destination, state, attempts, next_attempt, next_notify, expires, notify, orcpt, status, "
    "maybe_delivered, class, rule"
)


def notify_bits(notify: frozenset[Notify] | None) -> int | None:
    """The column `notify`."""
    return None if notify is None else sum(_NOTIFY[word] for word in notify)


def message_row(message: NewMessage, blob_hash: str) -> tuple[Any, ...]:
    """The row of a new message, by NEW_MESSAGE_COLUMNS."""
    body = message.body
    flags = (
        _TRUSTED * message.trusted
        | _SMTPUTF8 * message.smtputf8
        | _EIGHT_BIT * body.eight_bit
        | _UTF8_HEADER * body.utf8_header
        | _SIGNED * body.signed
        | _TLS[message.tls]
    )
    held = message.held is not None
    return (
        message.id,
        message.origin.value,
        message.return_path,
        message.created,
        body.size,
        message.sender_key,
        flags,
        message.ret,
        message.envid,
        message.account,
        message.listener,
        message.client,
        message.message_id,
        blob_hash,
        0,
        message.created if held else None,
        "relayd" if held else None,
        message.held,
        None if message.terms is NO_TERMS else msgspec.json.encode(message.terms).decode(),
    )


def recipient_from(row: Row) -> Recipient:
    """The value of a row by RECIPIENT_COLUMNS."""
    number, address, destination, state, attempts, next_attempt, next_notify, expires, notify, orcpt, status = row[:11]
    maybe_delivered, class_, rule = row[11:]
    return Recipient(
        number=number,
        address=address,
        destination=destination,
        state=STATES[state],
        attempts=attempts,
        next_attempt=next_attempt,
        next_notify=next_notify,
        expires=expires,
        notify=None if notify is None else _NOTIFY_SETS[notify],
        orcpt=orcpt,
        status=CANCELED if state > REMOVED and state & 1 else status,
        maybe_delivered=maybe_delivered,
        class_=class_ or "",
        rule=rule or "",
    )


def message_from(row: Row, recipients: tuple[Recipient, ...], deletion: Deletion | None = None) -> Message:
    """The value of a row by MESSAGE_COLUMNS."""
    flags, held_since = row[6], row[15]
    return Message(
        id=row[0],
        origin=_ORIGINS[row[1]],
        return_path=row[2],
        created=row[3],
        size=row[4],
        recipients=recipients,
        sender_key=row[5],
        trusted=bool(flags & _TRUSTED),
        smtputf8=bool(flags & _SMTPUTF8),
        ret=row[7],
        envid=row[8],
        account=row[9],
        listener=row[10],
        client=row[11],
        message_id=row[12],
        blob_hash=row[13],
        eight_bit=bool(flags & _EIGHT_BIT),
        utf8_header=bool(flags & _UTF8_HEADER),
        signed=bool(flags & _SIGNED),
        tls=_TLS_BY_BITS[flags & _TLS_BITS],
        hold=None if held_since is None else Hold(since=held_since, by=row[16] or "", reason=row[17] or ""),
        corrupt=bool(row[14]),
        next_hop=row[19],
        deletion=deletion,
        terms=NO_TERMS if row[18] is None else _TERMS.decode(row[18]),
    )


_TERMS = msgspec.json.Decoder(Terms)
_CHUNKS = (64, 16, 4, 1)
T = TypeVar("T")


def insert_rows(connection: Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """INSERT many rows in few statements: each one gives the interpreter lock away, and gets it back late under load.

    into: "table (columns)"; the statements have one of four sizes, so that they stay prepared.
    """
    if not rows:
        return
    one = "(" + ", ".join("?" * len(rows[0])) + ")"
    for part in parts(rows):
        values = ", ".join([one] * len(part))
        connection.execute(f"INSERT INTO {into} VALUES {values}", [value for row in part for value in row])


def parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """`values` in pieces of the few sizes for which statements are kept prepared."""
    at = 0
    for size in _CHUNKS:
        while len(values) - at >= size:
            yield values[at : at + size]
            at += size


def marks(values: Sequence[Any]) -> str:
    """Placeholders for `values` in an IN list."""
    return ", ".join("?" * len(values))


def count(connection: Connection, changes: Iterable[tuple[str, int]]) -> None:
    """Add to the counters of the invariant."""
    rows = [(value, name) for name, value in changes if value]
    if len(rows) == 1:
        connection.execute("UPDATE counters SET value = value + ? WHERE name = ?", rows[0])
    elif rows:
        connection.executemany("UPDATE counters SET value = value + ? WHERE name = ?", rows)
