"""Bans outlive a restart: `<data-dir>/bans.db`, written behind the back of `Bans`, which answers from memory.

Deciding never waits for the disk: a ban counts at once and is durable a moment later.  The file may be deleted, full or
broken without touching mail; bans are then kept in memory alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from pathlib import Path

from relayd.database.interface import Connection, Database, DatabaseError
from relayd.database.migrations import Migration
from relayd.database.sqlite import open_sqlite
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.options import Network
from relayd.reputation.bans import REMEMBERED_FOR, Ban, Bans

FILE = "bans.db"

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE bans (network TEXT PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL,"
            " reason TEXT NOT NULL, times INTEGER NOT NULL) WITHOUT ROWID",
        ),
    ),
    Migration(2, ("ALTER TABLE bans ADD COLUMN evidence TEXT NOT NULL DEFAULT ''",)),
)


class BanStore:
    """Keeps the bans of `bans`.  `run` writes what changes until it is cancelled; `close` writes the rest."""

    def __init__(self, bans: Bans, path: Path, span: Span) -> None:
        self._bans = bans
        self._path = path
        self._span = span
        self._database: Database | None = None
        self._waiting: dict[Network, Ban | None] = {}
        self._more = asyncio.Event()

    async def open(self, now: float) -> None:
        """Read what is kept and keep what comes.  A file that cannot be opened is an event."""
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._database = await open_sqlite(self._path, MIGRATIONS, self._span, on_broken=lambda reason: None)
            for ban in await self._database.write(lambda connection: _remembered(connection, now)):
                self._bans.restore(ban)
        except (DatabaseError, OSError) as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))
        self._bans.on_change = self._changed

    def _changed(self, network: Network, ban: Ban | None) -> None:
        self._waiting[network] = ban
        self._more.set()

    async def run(self) -> None:
        """Write what changes."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self._write()

    async def _write(self) -> None:
        changes, self._waiting = self._waiting, {}
        if self._database is None or not changes:
            return
        try:
            await self._database.write(lambda connection: _keep(connection, changes))
        except DatabaseError as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))

    async def close(self) -> None:
        """Write what is left."""
        await self._write()
        if self._database is not None:
            await self._database.close()


def _remembered(connection: Connection, now: float) -> list[Ban]:
    """The bans that still count for something; the others go."""
    connection.execute("DELETE FROM bans WHERE until < ?", (now - REMEMBERED_FOR,))
    rows = connection.execute("SELECT network, since, until, reason, times, evidence FROM bans ORDER BY since")
    return [
        Ban(
            network=ipaddress.ip_network(network),
            since=since,
            until=until,
            reason=reason,
            times=times,
            evidence=evidence,
        )
        for network, since, until, reason, times, evidence in rows
    ]


def _keep(connection: Connection, changes: dict[Network, Ban | None]) -> None:
    gone = [(str(network),) for network, ban in changes.items() if ban is None]
    kept = [
        (str(each.network), each.since, each.until, each.reason, each.times, each.evidence)
        for each in changes.values()
        if each
    ]
    connection.executemany("DELETE FROM bans WHERE network = ?", gone)
    connection.executemany("INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?)", kept)
