"""Who is next: lines of due recipients that take turns.

A line is a (destination, sender) with recipients that wait; a destination has its lines.  Both carry `wake`, the time
from which they wait for a turn: the earliest `next_attempt` in them, but never before they were last served.  So
whoever was served goes behind all that were already waiting, however many due recipients he has left: turns go round,
first among destinations, then among the senders of one.  `wake` may be too early (recipients have been leased, held or
removed since), never too late; it is put right when its turn comes.

What is removed (`removal`) stays in its line until it is due: taking it out would touch the whole index for a few
messages.  Who comes upon it takes it out, many at once.

A destination that must not be served costs one row to step over, not a scan of its recipients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from msgspec import json

from relayd.database.interface import Connection
from relayd.queue import rows

_JOIN_LINE = """INSERT INTO lines (destination, sender_key, wake, served, turn) VALUES (?, ?, ?, 0, 0)
    ON CONFLICT DO UPDATE SET wake = max(excluded.wake, served) WHERE max(excluded.wake, served) < wake"""
_JOIN_DESTINATION = """INSERT INTO destinations (name, wake, served, turn) VALUES (?, ?, 0, 0)
    ON CONFLICT DO UPDATE SET wake = max(excluded.wake, served) WHERE max(excluded.wake, served) < wake"""
_FIRST_DUE = """SELECT message_id, state FROM recipients WHERE waiting = 1 AND destination = ? AND sender_key = ?
    AND next_attempt <= ? ORDER BY next_attempt LIMIT 1"""
_LEAVE = f"""UPDATE recipients SET waiting = 0 WHERE (message_id, number) IN (SELECT message_id, number FROM recipients
    WHERE waiting = 1 AND destination = ? AND sender_key = ? AND next_attempt <= ? AND state >= {rows.REMOVED}
    ORDER BY next_attempt LIMIT 1000)"""
_NEVER = 1e15
_PATIENCE = 5  # of those, in one round of a destination
_EARLIEST = "SELECT min(next_attempt) FROM recipients WHERE waiting = 1 AND destination = ? AND sender_key = ?"


def join(connection: Connection, due: Mapping[tuple[str, str], float]) -> None:
    """Tell that recipients of these (destination, sender) wait since or until the given time."""
    if not due:
        return
    by_destination: dict[str, float] = {}
    for (destination, _), at in due.items():
        by_destination[destination] = min(at, by_destination.get(destination, at))
    connection.executemany(_JOIN_LINE, [(destination, sender, at) for (destination, sender), at in due.items()])
    connection.executemany(_JOIN_DESTINATION, list(by_destination.items()))


def earliest(entries: Iterable[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    """The argument of `join` from (destination, sender, next_attempt) of single recipients."""
    due: dict[tuple[str, str], float] = {}
    for destination, sender, at in entries:
        key = (destination, sender)
        due[key] = min(at, due.get(key, at))
    return due


def waiting_destinations(
    connection: Connection, now: float, skipped: frozenset[str], limit: int, only: frozenset[str] | None = None
) -> list[str]:
    """Destinations whose turn it is, in order, without `skipped`, and of `only` where that is given."""
    found: list[str] = []
    if only is None:
        names = connection.execute("SELECT name FROM destinations WHERE wake <= ? ORDER BY wake, turn", (now,))
    else:
        names = connection.execute(
            "SELECT name FROM destinations WHERE name IN (SELECT value FROM json_each(?)) AND wake <= ?"
            " ORDER BY wake, turn",
            (json.encode(sorted(only)).decode(), now),
        )
    for (name,) in names:
        if name not in skipped:
            found.append(name)
            if len(found) >= limit:
                break
    return found


def next_wake(connection: Connection, skipped: frozenset[str]) -> float | None:
    """The earliest time at which a destination outside `skipped` may have something due."""
    for name, wake in connection.execute("SELECT name, wake FROM destinations ORDER BY wake, turn"):
        if name not in skipped:
            return float(wake) if wake < _NEVER else None
    return None


def rejoin_senders(connection: Connection, senders: Iterable[str]) -> None:
    """Senders are passed over no more: their destinations wait for a turn again."""
    for sender in senders:
        connection.execute(
            "UPDATE destinations SET wake = (SELECT min(wake) FROM lines WHERE destination = name)"
            " WHERE name IN (SELECT destination FROM lines WHERE sender_key = ?)",
            (sender,),
        )


class Turns:
    """The lines of one destination during one round of leasing.  passed_over: senders who get no turn."""

    def __init__(
        self,
        connection: Connection,
        destination: str,
        now: float,
        limit: int,
        passed_over: frozenset[str] = frozenset(),
    ) -> None:
        self.destination = destination
        self._passed_over = json.encode(sorted(passed_over)).decode()
        self._connection = connection
        self._now = now
        self._left = limit
        self._patience = _PATIENCE
        self._touched: set[str] = set()
        self._senders = deque(
            sender
            for (sender,) in connection.execute(
                "SELECT sender_key FROM lines WHERE destination = ? AND wake <= ?"
                " AND sender_key NOT IN (SELECT value FROM json_each(?)) ORDER BY wake, turn LIMIT ?",
                (destination, now, self._passed_over, limit),
            )
        )

    def next_message(self) -> int | None:
        """The message that is next; None when nothing more is due or the limit is reached.

        The caller takes its due recipients out of the line before he asks again.
        """
        while self._senders and self._left:
            sender = self._senders.popleft()
            self._touched.add(sender)
            key = (self.destination, sender, self._now)
            while (row := self._connection.execute(_FIRST_DUE, key).fetchone()) is not None:
                if row[1] < rows.REMOVED:
                    self._senders.append(sender)
                    self._left -= 1
                    return int(row[0])
                if self.is_cut:
                    return None
                self._patience -= 1
                self._connection.execute(_LEAVE, key)
        return None

    @property
    def is_cut(self) -> bool:
        """Whether there was so much removed mail in the lines that this round ended before all had their turn."""
        return self._patience <= 0

    def finish(self, turn: int) -> None:
        """Put the served lines and the destination where they belong now; `turn` orders equal times."""
        execute, now = self._connection.execute, self._now
        for sender in self._touched:
            (at,) = execute(_EARLIEST, (self.destination, sender)).fetchone()
            if at is None:
                execute("DELETE FROM lines WHERE destination = ? AND sender_key = ?", (self.destination, sender))
                continue
            execute(
                "UPDATE lines SET wake = ?, served = ?, turn = ? WHERE destination = ? AND sender_key = ?",
                (max(at, now), now, turn, self.destination, sender),
            )
        wake, lines = execute(
            "SELECT min(wake) FILTER (WHERE sender_key NOT IN (SELECT value FROM json_each(?))), count(*)"
            " FROM lines WHERE destination = ?",
            (self._passed_over, self.destination),
        ).fetchone()
        if not lines:
            execute("DELETE FROM destinations WHERE name = ?", (self.destination,))
            return
        if wake is None:
            wake = _NEVER  # all who wait there are passed over: `rejoin_senders` when that ends
        execute(
            "UPDATE destinations SET wake = ?, served = ?, turn = ? WHERE name = ?",
            (max(wake, now), now, turn, self.destination),
        )
