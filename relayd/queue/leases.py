"""Taking due recipients for delivery, and giving them back.

The attempt is recorded before it is made: `attempts`, the time of the next one and the lease are written in the
transaction that hands the job out, so a crash in flight can neither hammer the peer nor lose the recipient.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import json

from relayd.database.interface import Connection, Row
from relayd.queue import lines, rows
from relayd.queue.filter import as_json
from relayd.queue.message import Job, Message, Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `take` is asked for: see `Queue.lease_due`."""

    now: float
    until: float
    node: int
    limit: int
    per_destination: Mapping[str, int] | int
    default: int
    skipped: frozenset[str]
    passed_over: frozenset[str]
    only: frozenset[str] | None
    retry_at: Callable[[int, float], float]
    turn: int

    def share(self, destination: str) -> int:
        """How many jobs the destination may have."""
        if isinstance(self.per_destination, int):
            return self.per_destination
        return self.per_destination.get(destination, self.default)


@dataclass(frozen=True, slots=True)
class Taken:
    """A job, and whether it holds all recipients that the message still has rows of."""

    job: Job
    is_whole: bool
    in_file: bool


def take(connection: Connection, request: Request) -> tuple[list[Taken], bool]:
    """Lease what is due, in turns over destinations and over senders within each; and whether to ask again at once."""
    names = lines.waiting_destinations(connection, request.now, request.skipped, request.limit, request.only)
    turns = [lines.Turns(connection, name, request.now, request.share(name), request.passed_over) for name in names]
    active = deque(turns)
    taken: list[Taken] = []
    while active and len(taken) < request.limit:
        line = active.popleft()
        message_id = line.next_message()
        if message_id is not None:
            taken.append(_lease(connection, message_id, line.destination, request))
            active.append(line)
    for line in turns:
        line.finish(request.turn)
    return taken, any(line.is_cut for line in turns)


def _lease(connection: Connection, message_id: int, destination: str, request: Request) -> Taken:
    """Take all due recipients of the message at the destination."""
    due = connection.execute(
        f"SELECT {rows.RECIPIENT_COLUMNS} FROM recipients"
        " WHERE message_id = ? AND destination = ? AND waiting = 1 AND next_attempt <= ?"
        f" AND state < {rows.REMOVED}",
        (message_id, destination, request.now),
    ).fetchall()
    recipients = []
    updates = []
    times: dict[int, float] = {}
    for row in due:
        number, attempts = row[0], row[4] + 1
        if attempts not in times:  # one time for all of a job: they go together again
            times[attempts] = request.retry_at(attempts, request.now)
        at = times[attempts]
        updates.append((attempts, at, request.node, request.until, message_id, number))
        recipients.append(rows.recipient_from((*row[:4], attempts, at, *row[6:])))
    connection.executemany(
        "UPDATE recipients SET waiting = 0, attempts = ?, next_attempt = ?, lease_owner = ?, lease_until = ?"
        " WHERE message_id = ? AND number = ?",
        updates,
    )
    message, total, in_file = _message(connection, message_id, tuple(recipients))
    job = Job(message=message, destination=destination, until=request.until)
    return Taken(job, is_whole=total == len(due), in_file=in_file)


def _message(connection: Connection, id: int, recipients: tuple[Recipient, ...]) -> tuple[Message, int, bool]:
    row: Row = connection.execute(
        f"SELECT {rows.MESSAGE_COLUMNS}, (SELECT count(*) FROM recipients WHERE message_id = messages.id),"
        " (SELECT file_from IS NOT NULL FROM bodies WHERE message_id = messages.id) FROM messages WHERE id = ?",
        (id,),
    ).fetchone()
    return rows.message_from(row, recipients), int(row[-2]), bool(row[-1])


def give_back(connection: Connection, node: int, now: float, message_id: int, numbers: Sequence[int]) -> None:
    """Undo the lease of recipients whose attempt was never made: it does not count, and they are due `now`."""
    found = connection.execute(
        f"SELECT number FROM recipients WHERE message_id = ? AND lease_owner = ? AND number IN ({rows.marks(numbers)})",
        (message_id, node, *numbers),
    ).fetchall()
    connection.executemany(
        "UPDATE recipients SET attempts = max(attempts - 1, 0), next_attempt = min(next_attempt, ?)"
        " WHERE message_id = ? AND number = ?",
        [(now, message_id, number) for (number,) in found],
    )
    rejoin(connection, message_id, [number for (number,) in found])


def rejoin(connection: Connection, message_id: int, numbers: Sequence[int]) -> None:
    """End the lease of recipients and let the pending ones wait again, unless the message is held or corrupt."""
    blocked = connection.execute(
        "SELECT held_since IS NOT NULL OR corrupt FROM messages WHERE id = ?", (message_id,)
    ).fetchone()
    if blocked is None or not numbers:
        return
    waiting = 0 if blocked[0] else 1
    connection.executemany(
        f"UPDATE recipients SET waiting = iif({rows.PENDING}, ?, 0), lease_owner = NULL, lease_until = NULL"
        " WHERE message_id = ? AND number = ?",
        [(waiting, message_id, number) for number in numbers],
    )
    if waiting:
        join_message(connection, message_id)


def join_message(connection: Connection, message_id: int) -> None:
    """Put the waiting recipients of a message into their lines."""
    lines.join(
        connection,
        lines.earliest(
            connection.execute(
                "SELECT destination, sender_key, next_attempt FROM recipients WHERE message_id = ? AND waiting = 1",
                (message_id,),
            )
        ),
    )


def join_messages(connection: Connection, ids: Sequence[int]) -> None:
    """Put the waiting recipients of messages into their lines, all in a few statements."""
    (found,) = connection.execute(
        "SELECT json_group_array(json_array(destination, sender_key, at)) FROM ("
        "SELECT destination, sender_key, min(next_attempt) AS at FROM recipients"
        " WHERE waiting = 1 AND message_id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2)",
        (as_json(ids),),
    ).fetchone()
    lines.join(connection, lines.earliest(json.decode(found, type=list[tuple[str, str, float]])))


def void(connection: Connection, where: str, parameters: Sequence[float]) -> int:
    """End leases that nobody works on any more; their recipients are due at the time recorded.  Returns how many."""
    leased: dict[int, list[int]] = {}
    for message_id, number in connection.execute(
        f"SELECT message_id, number FROM recipients WHERE lease_owner IS NOT NULL AND {where}", parameters
    ):
        leased.setdefault(message_id, []).append(number)
    for message_id, numbers in leased.items():
        rejoin(connection, message_id, numbers)
    return sum(map(len, leased.values()))


def idle_numbers(connection: Connection, message_id: int) -> list[int]:
    """The pending recipients of a message that nobody works on."""
    return [
        number
        for (number,) in connection.execute(
            f"SELECT number FROM recipients WHERE message_id = ? AND lease_owner IS NULL AND {rows.PENDING}",
            (message_id,),
        )
    ]
