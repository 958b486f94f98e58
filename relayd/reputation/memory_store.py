"""What is remembered of strangers outlives a restart: `<data-dir>/reputation.db`, written in batches behind the tables.

Deciding never waits for the disk.  The file may be deleted, full or broken without touching mail: what is remembered is
then kept in memory alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from relayd.database.interface import Connection, Database, DatabaseError
from relayd.database.migrations import Migration
from relayd.database.sqlite import open_sqlite
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.reputation.kept import Kept

FILE = "reputation.db"
PAUSE = 2.0
"""Seconds between two batches."""
BATCH = 1000
"""Rows of one transaction."""

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE remembered (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
            " PRIMARY KEY (kind, key)) WITHOUT ROWID",
        ),
    ),
)


class MemoryStore:
    """Keeps `tables`, whose values are numbers or lists of them.  `run` is a task of the daemon's."""

    def __init__(
        self,
        tables: Sequence[Kept[Any]],
        path: Path,
        span: Span,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tables = tables
        self._path = path
        self._span = span
        self._sleep = sleep
        self._database: Database | None = None
        self._waiting: dict[tuple[str, str], Any] = {}
        self._more = asyncio.Event()

    async def open(self) -> None:
        """Read what is kept and keep what comes.  A file that cannot be opened is an event."""
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._database = await open_sqlite(self._path, MIGRATIONS, self._span, on_broken=lambda reason: None)
            for table in self._tables:
                for key, value in await self._database.read(partial(_rows, table.name, table.most)):
                    table.restore(key, value)
        except (DatabaseError, OSError) as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))
        for table in self._tables:
            table.on_change = partial(self._changed, table.name)

    def _changed(self, kind: str, key: str, value: Any) -> None:
        self._waiting[kind, key] = value
        self._more.set()

    async def run(self) -> None:
        """Write what changes, until cancelled."""
        while True:
            await self._more.wait()
            await self._sleep(PAUSE)
            await self.write()

    async def write(self) -> None:
        """Write what waits."""
        self._more.clear()
        changes, self._waiting = list(self._waiting.items()), {}
        if self._database is None:
            return
        try:
            for begin in range(0, len(changes), BATCH):
                await self._database.write(partial(_keep, changes[begin : begin + BATCH]))
        except DatabaseError as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))

    async def close(self) -> None:
        """Write what is left."""
        await self.write()
        if self._database is not None:
            await self._database.close()


def _rows(kind: str, most: int, connection: Connection) -> list[tuple[str, Any]]:
    rows = connection.execute("SELECT key, value FROM remembered WHERE kind = ? LIMIT ?", (kind, most))
    return [(key, msgspec.json.decode(value)) for key, value in rows]


def _keep(changes: Sequence[tuple[tuple[str, str], Any]], connection: Connection) -> None:
    gone = [place for place, value in changes if value is None]
    kept = [(*place, msgspec.json.encode(value).decode()) for place, value in changes if value is not None]
    connection.executemany("DELETE FROM remembered WHERE kind = ? AND key = ?", gone)
    connection.executemany("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", kept)
