"""The day's counts of messages under a daily cap (`routing/shaping/daily`), kept among the queue's notes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from relayd.database.interface import Connection, DatabaseError
from relayd.queue.failure import QueueUnavailable
from relayd.queue.store import Queue
from relayd.routing.shaping.daily import Count

NOTE = "daily:"


class DailyCounts:
    """Reads and writes them; those of other days go when the first of a new day is written."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._day = 0

    async def load(self) -> dict[str, Count]:
        """The counts by subject.  Raises QueueUnavailable, as `keep` does."""
        try:
            return await self._queue.database.read(_load)
        except DatabaseError as error:
            raise QueueUnavailable(str(error)) from error

    async def keep(self, counts: Mapping[str, Count]) -> None:
        """When this returns the counts are durable."""
        newest = max((count.day for count in counts.values()), default=0)
        sweep, self._day = newest > self._day, max(newest, self._day)
        await self._queue.write(lambda connection: _keep(connection, counts, sweep))


def _load(connection: Connection) -> dict[str, Count]:
    found = {}
    for name, value in connection.execute("SELECT name, value FROM notes WHERE name >= ? AND name < ?", _RANGE):
        found[name[len(NOTE) :]] = Count(**json.loads(value))
    return found


_RANGE = (NOTE, NOTE[:-1] + ";")  # ";" follows ":"


def _keep(connection: Connection, counts: Mapping[str, Count], sweep: bool) -> None:
    if sweep:
        newest = max(count.day for count in counts.values())
        old = [(NOTE + key,) for key, count in _load(connection).items() if count.day < newest - 1]
        connection.executemany("DELETE FROM notes WHERE name = ?", old)
    connection.executemany(
        "INSERT OR REPLACE INTO notes VALUES (?, ?)",
        [(NOTE + key, json.dumps({"day": count.day, "used": count.used})) for key, count in counts.items()],
    )
