"""Writing new messages: the rows of all that wait for the same commit go in together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from relayd.database.interface import Connection
from relayd.queue import lines, rows, usage
from relayd.queue.message import NewMessage

_MESSAGES = f"messages ({rows.NEW_MESSAGE_COLUMNS})"
_RECIPIENTS = f"recipients ({rows.NEW_RECIPIENT_COLUMNS})"


class Prepared(msgspec.Struct, frozen=True):
    """A new message whose body, if it is a file, is durable.

    octets, file_from: the row of `bodies`.  node, until: the lease, when it is leased.
    """

    message: NewMessage
    blob_hash: str
    octets: bytes
    file_from: int | None
    node: int
    until: float

    @property
    def weight(self) -> int:
        """For `Database.write_each`: rows, and pages of the body."""
        return 3 + len(self.message.recipients) + (len(self.octets) >> 12)


def insert(connection: Connection, prepared: Sequence[Prepared]) -> list[None]:
    """Insert messages, bodies, recipients; count them."""
    messages: list[Sequence[Any]] = []
    bodies: list[Sequence[Any]] = []
    recipients: list[Sequence[Any]] = []
    waiting: list[tuple[str, str, float]] = []
    counts: dict[str, int] = {}
    charges: list[usage.Charge] = []
    for each in prepared:
        new = each.message
        messages.append(rows.message_row(new, each.blob_hash))
        bodies.append((new.id, each.file_from, each.octets))
        is_waiting = not new.leased and new.held is None
        _recipient_rows(each, recipients, is_waiting)
        if is_waiting:
            waiting.extend((to.destination, new.sender_key, to.next_attempt) for to in new.recipients)
        for name, value in new.counts.items():
            counts[name] = counts.get(name, 0) + value
        charges.extend(new.charges)
    rows.insert_rows(connection, _MESSAGES, messages)
    rows.insert_rows(connection, "bodies", bodies)
    rows.insert_rows(connection, _RECIPIENTS, recipients)
    rows.count(connection, counts.items())
    if charges:
        usage.charge(connection, charges)
    if waiting:
        lines.join(connection, lines.earliest(waiting))
    return [None] * len(prepared)


def _recipient_rows(each: Prepared, into: list[Sequence[Any]], is_waiting: bool) -> None:
    new = each.message
    node, until, attempts = (each.node, each.until, 1) if new.leased else (None, None, 0)
    for number, to in enumerate(new.recipients):
        into.append(
            (
                new.id,
                number,
                to.address,
                to.destination,
                new.sender_key,
                rows.SCHEDULED,
                attempts,
                to.next_attempt,
                to.next_notify,
                to.expires,
                rows.notify_bits(to.notify),
                to.orcpt,
                "",
                1 if is_waiting else 0,
                node,
                until,
            )
        )


def disown(connection: Connection, message: NewMessage) -> None:
    """Take back a message whose commit failed, should its rows be there all the same; uncount it."""
    found = connection.execute("SELECT 1 FROM messages WHERE id = ?", (message.id,)).fetchone()
    if found is None:
        return
    for table, column in (("recipients", "message_id"), ("bodies", "message_id"), ("messages", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (message.id,))
    rows.count(connection, [(name, -value) for name, value in message.counts.items()])
    usage.charge(connection, message.charges, sign=-1)
