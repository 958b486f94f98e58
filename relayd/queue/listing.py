"""Looking at the queue without changing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import json

from relayd.database.interface import Connection
from relayd.queue import rows
from relayd.queue.filter import Filter, as_json, is_everything, where
from relayd.queue.message import Deletion, Message, Recipient
from relayd.queue.schema import COUNTERS_IN, COUNTERS_OUT

_PART = 500


def page(
    connection: Connection, filter: Filter, offset: int, limit: int | None, max_total: int
) -> tuple[list[int], int]:
    """Ids in ascending order and how many there are in all; see Queue.list."""
    clause, parameters = where(filter)
    ends = [each for each in (None if limit is None else offset + limit, max_total or None) if each is not None]
    if is_everything(filter):
        (total,) = connection.execute(
            "SELECT (SELECT count(*) FROM messages) - (SELECT count(*) FROM messages WHERE removal IS NOT NULL)"
        ).fetchone()
        length = max(0, min(ends) - offset) if ends else -1
        ids = _ids(connection, f"{clause} ORDER BY id LIMIT ? OFFSET ?", (length, offset))
        return ids, min(total, max_total) if max_total else total
    # Conditions on recipients cost one pass over them: ask once for both the page and the number.
    found = _ids(connection, f"{clause} ORDER BY id LIMIT ?", (*parameters, max_total or -1))
    return found[offset : min(ends) if ends else None], len(found)


def _ids(connection: Connection, clause: str, parameters: Iterable[object]) -> list[int]:
    """Ids in one row: each row that is fetched gives the interpreter lock away, and gets it back late under load."""
    query = f"SELECT json_group_array(id) FROM (SELECT id FROM messages{clause})"
    return json.decode(connection.execute(query, tuple(parameters)).fetchone()[0], type=list[int])


def many(connection: Connection, ids: Sequence[int]) -> list[Message]:
    """The messages of these ids that exist, in the order asked for."""
    found: dict[int, Message] = {}
    for start in range(0, len(ids), _PART):
        part = ids[start : start + _PART]
        recipients: dict[int, list[Recipient]] = {}
        for message_id, *row in connection.execute(
            f"SELECT message_id, {rows.RECIPIENT_COLUMNS} FROM recipients"
            f" WHERE message_id IN ({rows.marks(part)}) ORDER BY message_id, number",
            part,
        ):
            recipients.setdefault(message_id, []).append(rows.recipient_from(row))
        messages = connection.execute(
            f"SELECT {rows.MESSAGE_COLUMNS}, removal FROM messages WHERE id IN ({rows.marks(part)})", part
        ).fetchall()
        deletions = _deletions(connection, {row[-1] for row in messages} - {None})
        for row in messages:
            found[row[0]] = rows.message_from(row, tuple(recipients.get(row[0], ())), deletions.get(row[-1]))
    return [found[id] for id in ids if id in found]


def _deletions(connection: Connection, removals: set[int]) -> dict[int | None, Deletion]:
    if not removals:
        return {}
    return {
        id: Deletion(since=since, by=by, reason=reason, until=until)
        for id, since, by, reason, until in connection.execute(
            "SELECT id, since, by, reason, until FROM removals WHERE id IN (SELECT value FROM json_each(?))",
            (as_json(sorted(removals)),),
        )
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The invariant.  counters: by name.  queued: pending recipients that rows show.  difference: 0 when it holds."""

    counters: dict[str, int]
    queued: int
    difference: int


def audit(connection: Connection) -> Audit:
    """Compare the counters with the rows."""
    counters = {name: int(value) for name, value in connection.execute("SELECT name, value FROM counters")}
    (queued,) = connection.execute(f"SELECT count(*) FROM recipients WHERE {rows.PENDING}").fetchone()
    gained = sum(counters.get(name, 0) for name in COUNTERS_IN)
    lost = sum(counters.get(name, 0) for name in COUNTERS_OUT)
    return Audit(counters=counters, queued=queued, difference=gained - lost - queued)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is in the queue.  bytes: of all messages.  recipients: pending ones, of which `deferred` failed before.

    deleted: messages that are not in it any more, and kept for a while.
    """

    messages: int
    bytes: int
    recipients: int
    deferred: int
    held: int
    corrupt: int
    deleted: int


def counts(connection: Connection) -> Counts:
    """Count the rows."""
    messages, octets, held, corrupt = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), count(held_since), coalesce(sum(corrupt), 0) FROM messages"
        " WHERE removal IS NULL"
    ).fetchone()
    (deleted,) = connection.execute("SELECT count(*) FROM messages WHERE removal IS NOT NULL").fetchone()
    recipients, deferred = connection.execute(
        f"SELECT count(*), coalesce(sum(state = {rows.TEMP_FAIL}), 0) FROM recipients WHERE {rows.PENDING}"
    ).fetchone()
    return Counts(
        messages=messages,
        bytes=octets,
        recipients=recipients,
        deferred=deferred,
        held=held,
        corrupt=corrupt,
        deleted=deleted,
    )


def oldest(connection: Connection, before: int, most: int) -> list[tuple[str, int]]:
    """Destinations for which a message with an id below `before` waits, and the id of its oldest; those first."""
    return [
        (destination, id)
        for destination, id in connection.execute(
            "SELECT destination, min(message_id) AS oldest FROM recipients WHERE waiting = 1"
            " GROUP BY destination HAVING oldest < ? ORDER BY oldest LIMIT ?",
            (before, most),
        )
    ]
