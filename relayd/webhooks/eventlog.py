"""The append-only log of events for webhooks, and how far each webhook is in it: `<data-dir>/webhooks.db`.

An event is for all webhooks whose patterns its type fits (target ""), or for one endpoint alone (its id).  A commit
survives a SIGKILL; after a power cut the last ones may be missing (`synchronous=NORMAL`), and events are then not sent,
or sent again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayd.database import handle
from relayd.database.interface import Connection
from relayd.database.migrations import Migration
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.events.event import Span
from relayd.webhooks.request import LoggedEvent

FILE = "webhooks.db"

EVENTS, OCTETS = 100, 256 << 10
"""Events of one post, and octets of their data (one event alone may have more)."""

_PRUNED = 2000
"""Events that one transaction removes at most."""

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE events (id INTEGER PRIMARY KEY, at REAL NOT NULL, type TEXT NOT NULL, target TEXT NOT NULL,"
            " data BLOB NOT NULL)",
            "CREATE INDEX events_target ON events (target, id) WHERE target <> ''",
            "CREATE TABLE positions (webhook TEXT PRIMARY KEY, position INTEGER NOT NULL, since REAL NOT NULL,"
            " taken INTEGER NOT NULL, last_taken REAL) WITHOUT ROWID",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a webhook is.  position: the id of the last event that was taken (or passed over).

    since: when it was set by hand, or first: until `discard-after` past that nothing is dropped.  taken: events in all.
    last_taken: when; None: never.
    """

    position: int
    since: float
    taken: int = 0
    last_taken: float | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are a webhook's: those of `types`, or with `target` those for it alone."""

    target: str = ""
    types: frozenset[str] = frozenset()

    def has(self, type: str, target: str) -> bool:
        """Whether an event is among them."""
        return target == self.target if self.target or target else type in self.types

    @property
    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """For a statement."""
        if self.target:
            return "target <> '' AND target = ?", (self.target,)  # the index is of these alone
        return "target = '' AND type IN (SELECT value FROM json_each(?))", (json.dumps(sorted(self.types)),)


Rows = Callable[[], Sequence[tuple[int, float, str, str, bytes]]]


class EventLog:
    """The log, open.  Every method raises DatabaseError."""

    def __init__(self, database: SqliteDatabase, newest: int, positions: dict[str, Position], octets: int) -> None:
        self._database = database
        self.newest = newest
        self.positions = positions
        self.octets = octets

    async def append(self, rows: Rows) -> None:
        """Log events; they are rendered on the writer's thread."""

        def work(connection: Connection) -> tuple[int, int]:
            made = rows()
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", made)
            return made[-1][0], sum(len(row[4]) for row in made)

        self.newest, octets = await self._database.write(work)
        self.octets += octets

    async def read(self, selection: Selection, after: int) -> list[LoggedEvent]:
        """What is to be posted next to who is at `after`."""
        condition, values = selection.condition

        def work(connection: Connection) -> list[LoggedEvent]:
            found: list[LoggedEvent] = []
            octets = 0
            for id, at, type, data in connection.execute(
                f"SELECT id, at, type, data FROM events WHERE id > ? AND {condition} ORDER BY id LIMIT ?",
                (after, *values, EVENTS),
            ):
                octets += len(data)
                if found and octets > OCTETS:
                    break
                found.append(LoggedEvent(id, at, type, data))
            return found

        return await self._database.read(work)

    async def count(self, selection: Selection, after: int, until: float | None = None) -> tuple[int, int]:
        """How many events wait for who is at `after`, made up to the time `until`, and the last id of them (or 0)."""
        condition, values = selection.condition
        limit = "" if until is None else " AND at <= ?"

        def work(connection: Connection) -> tuple[int, int]:
            row = connection.execute(
                f"SELECT count(*), coalesce(max(id), 0) FROM events WHERE id > ? AND {condition}{limit}",
                (after, *values, *(() if until is None else (until,))),
            ).fetchone()
            return int(row[0]), int(row[1])

        return await self._database.read(work)

    async def id_before(self, at: float) -> int:
        """The id of the last event made before the time `at`, 0 when there is none."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT max(id) FROM events WHERE at < ?", (at,)).fetchone()
        )
        return int(row[0] or 0)

    async def targets(self) -> list[str]:
        """The endpoints of their own that have events in the log."""
        found = await self._database.read(
            lambda connection: connection.execute("SELECT DISTINCT target FROM events WHERE target <> ''").fetchall()
        )
        return [str(target) for (target,) in found]

    async def move(self, webhook: str, to: Position) -> None:
        """Note how far a webhook is."""
        row = (webhook, to.position, to.since, to.taken, to.last_taken)
        self.positions[webhook] = to
        await self._database.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", row)
        )

    async def forget(self, webhooks: Collection[str]) -> None:
        """Forget the positions of webhooks that are there no more."""
        for each in webhooks:
            self.positions.pop(each, None)
        await self._database.write(
            lambda connection: connection.executemany(
                "DELETE FROM positions WHERE webhook = ?", [(each,) for each in webhooks]
            )
        )

    async def prune(self, before: float, most: int) -> list[tuple[int, str, str]]:
        """Remove some of the events made before the time `before`, and of the oldest while there are more than `most`
        octets; id, type and target of each.  Nothing: there is nothing more to remove.
        """
        excess = self.octets - most

        def find(connection: Connection) -> tuple[list[tuple[int, str, str]], int]:
            found, octets = [], 0
            for id, at, type, target, size in connection.execute(
                "SELECT id, at, type, target, length(data) FROM events ORDER BY id LIMIT ?", (_PRUNED,)
            ):
                if at >= before and octets >= excess:
                    break
                found.append((id, type, target))
                octets += size
            return found, octets

        found, octets = await self._database.read(find)
        if found:
            last = found[-1][0]
            await self._database.write(
                lambda connection: connection.execute("DELETE FROM events WHERE id <= ?", (last,))
            )
            self.octets -= octets
        return found

    async def close(self) -> None:
        """Finish what is being written."""
        await self._database.close()


async def open_event_log(directory: Path, span: Span) -> EventLog:
    """The log of a data directory that this process has locked.  Raises NewerSchema, DatabaseError."""
    database = await open_sqlite(directory / FILE, MIGRATIONS, span, on_broken=lambda reason: None, connect=_connect)
    try:
        return await database.read(lambda connection: _opened(database, connection))
    except BaseException:
        await database.close()
        raise


def _opened(database: SqliteDatabase, connection: Connection) -> EventLog:
    newest, octets = connection.execute(
        "SELECT coalesce(max(id), 0), coalesce(sum(length(data)), 0) FROM events"
    ).fetchone()
    positions = {
        str(webhook): Position(position=position, since=since, taken=taken, last_taken=last_taken)
        for webhook, position, since, taken, last_taken in connection.execute("SELECT * FROM positions")
    }
    newest = max([newest, *(each.position for each in positions.values())])
    return EventLog(database, int(newest), positions, int(octets))


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    connection = handle.connect(path, read_only)
    if not read_only:
        connection.execute("PRAGMA synchronous = NORMAL")
    return connection
