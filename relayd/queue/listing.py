"""Looking at the queue without changing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from msgspec import json

from relayd.database.interface import Connection
from relayd.queue import rows
from relayd.queue.filter import Filter, Kind, as_json, is_everything, where
from relayd.queue.message import Deletion, Message, Recipient
from relayd.queue.schema import COUNTERS_IN, COUNTERS_OUT

_PART = 500
_INDEXED = (Kind.HELD, Kind.DELETED)
"""What an index finds."""


def page(
    connection: Connection, filter: Filter, offset: int, limit: int | None, max_total: int
) -> tuple[list[int], int]:
    """Ids in ascending order and how many there are in all; see Queue.list."""
    clause, parameters = where(filter)
    ends = [each for each in (None if limit is None else offset + limit, max_total or None) if each is not None]
    if is_everything(filter):
        total = _capped_total(connection, max_total) if max_total else _total(connection)
        length = max(0, min(ends) - offset) if ends else -1
        return _ids(connection, f"{clause} ORDER BY id LIMIT ? OFFSET ?", (length, offset)), total
    # Conditions on recipients cost one pass over them: ask once for both the page and the number.
    if max_total and filter.ids is None and filter.kind not in _INDEXED:
        found = _first(connection, filter, max_total)
    else:
        # by the index of what is deleted, which may be few of many: not in the order of ids through all
        order = "+id" if filter.kind is Kind.DELETED else "id"
        found = _ids(connection, f"{clause} ORDER BY {order} LIMIT ?", (*parameters, max_total or -1))
    return found[offset : min(ends) if ends else None], len(found)


def _total(connection: Connection) -> int:
    query = "SELECT (SELECT count(*) FROM messages) - (SELECT count(*) FROM messages WHERE removal IS NOT NULL)"
    return int(connection.execute(query).fetchone()[0])


def _capped_total(connection: Connection, most: int) -> int:
    query = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE removal IS NULL LIMIT ?)"
    return int(connection.execute(query, (most,)).fetchone()[0])


def _first(connection: Connection, filter: Filter, most: int) -> list[int]:
    """The first ids that match, at most `most`: looked for in ranges of messages, each twice as long as the last.

    Where many match, a short look finds enough of them; where few do, all ranges together cost what one pass costs.
    """
    found: list[int] = []
    first, width = filter.first_id or 0, max(_PART, 2 * most)
    while True:
        row = connection.execute(
            "SELECT id FROM messages WHERE id >= ? ORDER BY id LIMIT 1 OFFSET ?", (first, width)
        ).fetchone()
        is_last = row is None or (filter.last_id is not None and row[0] >= filter.last_id)
        part = replace(filter, first_id=first, last_id=filter.last_id if is_last else row[0] - 1)
        clause, parameters = where(part)
        found += _ids(connection, f"{clause} ORDER BY id LIMIT ?", (*parameters, most - len(found)))
        if is_last or len(found) >= most:
            return found
        first, width = row[0], 2 * width


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
    found: dict[str, int] = {}
    id = -1
    while len(found) < most:
        # On from the last one, in the order of ids: what is asked for are a few of the oldest, and to sort them all by
        # destination would take seconds of a long queue.
        row = connection.execute(
            "SELECT destination, message_id FROM recipients WHERE message_id >= ? AND message_id < ? AND waiting = 1"
            " AND destination NOT IN (SELECT value FROM json_each(?)) ORDER BY message_id, number LIMIT 1",
            (id, before, json.encode(list(found)).decode()),
        ).fetchone()
        if row is None:
            break
        destination, id = row
        found[destination] = id
    return list(found.items())
