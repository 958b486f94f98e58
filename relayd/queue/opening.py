"""Opening the queue of a data directory: lock, database, bodies, recovery, room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from relayd.blobs.spool import BlobError, Blobs, sync_directory
from relayd.database import handle
from relayd.database.interface import Connection, DatabaseError
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.database.writer import Policy
from relayd.events.event import Span
from relayd.queue import listing
from relayd.queue.actions import Actions
from relayd.queue.lock import DirectoryLock
from relayd.queue.options import DeletedOptions, LimitOptions, SpaceOptions
from relayd.queue.schema import MIGRATIONS
from relayd.queue.space import RESERVE, Space, free_bytes
from relayd.queue.store import Queue, Setting
from relayd.queue.upkeep import Recovery, Upkeep, recover

DATABASE = "queue.db"
SPOOL = "spool"
_WAL = 8 << 20  # it grows to twice that; when room is short all of it is copied into the database, within the reserve

_ROOM = 1 << 20
"""Octets that a start needs at most: SQLite's index of the WAL, the leases given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueue:
    """Everything of an open data directory.  The daemon runs `upkeep.run` and closes at the end."""

    queue: Queue
    actions: Actions
    space: Space
    upkeep: Upkeep
    recovery: Recovery
    database: SqliteDatabase
    blobs: Blobs
    lock: DirectoryLock

    def configure(self, given: QueueOptions) -> None:
        """Take other options (a reload); what was deleted keeps the time that it was given."""
        self.space.configure(given.space, given.limits)
        self.actions.keep = given.deleted.keep

    async def close(self) -> None:
        """Finish what is being written, close, unlock."""
        try:
            await self.queue.close()
            await self.database.close()
        finally:
            self.lock.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What the configuration says of the queue."""

    space: SpaceOptions = field(default_factory=SpaceOptions)
    limits: LimitOptions = field(default_factory=LimitOptions)
    deleted: DeletedOptions = field(default_factory=DeletedOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What comes from outside.  clock: Unix time.  on_broken: the database can be used no more, the daemon must end.

    measure: free octets of a directory.  connect: opens an SQLite file.
    """

    clock: Callable[[], float]
    span: Span
    on_broken: Callable[[str], None]
    measure: Callable[[Path], int] = free_bytes
    connect: handle.Connect = handle.connect


async def open_queue(directory: Path, given: QueueOptions, node: int, around: Surroundings) -> OpenQueue:
    """Open the data directory, made when missing.

    Raises DirectoryInUse, NewerSchema (nothing was touched), DatabaseError, BlobError, OSError.
    """
    options = given.space
    await asyncio.to_thread(_make_durable, directory)
    lock = DirectoryLock(directory)
    try:
        try:
            database, blobs, recovery = await _recovered(directory, options, node, around)
        except (DatabaseError, BlobError):
            if not await asyncio.to_thread(_make_room, directory, around.measure):
                raise
            database, blobs, recovery = await _recovered(directory, options, node, around)
        try:
            setting = Setting(node=node, inline_limit=options.inline_limit, lease=options.lease)
            queue = Queue(database, blobs, around.clock, around.span, setting)
            await queue.open()
        except BaseException:
            await database.close()
            raise
    except BaseException:
        lock.release()
        raise
    space = Space(
        directory,
        queue.totals,
        options=options,
        limits=given.limits,
        clock=around.clock,
        span=around.span,
        measure=around.measure,
    )
    queue.space = space
    await asyncio.to_thread(space.tend_reserve)
    return OpenQueue(
        queue=queue,
        actions=Actions(queue, around.clock, around.span, given.deleted.keep),
        space=space,
        upkeep=Upkeep(queue, space, node, around.clock, around.span),
        recovery=recovery,
        database=database,
        blobs=blobs,
        lock=lock,
    )


async def _recovered(
    directory: Path, options: SpaceOptions, node: int, around: Surroundings
) -> tuple[SqliteDatabase, Blobs, Recovery]:
    database = await open_sqlite(
        directory / DATABASE,
        MIGRATIONS,
        around.span,
        on_broken=around.on_broken,
        policy=Policy(wal_limit=min(_WAL, options.reserve // 4) or _WAL, audit=_finding),
        connect=around.connect,
    )
    try:
        blobs = await asyncio.to_thread(Blobs, directory / SPOOL, around.clock)
        return database, blobs, await recover(database, blobs, node, around.span)
    except BaseException:
        await database.close()
        raise


def _make_room(directory: Path, measure: Callable[[Path], int]) -> bool:
    """On a full disk, give the reserve up for the start; whether that was done."""
    try:
        if measure(directory) >= _ROOM:
            return False
        (directory / RESERVE).unlink()
    except OSError:
        return False
    return True


def _make_durable(directory: Path) -> None:
    """Make the data directory, and its name and those above it durable: what is synced below them hangs on them.

    It may have been made a moment ago, by the log or by us.  Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    device = directory.stat().st_dev
    for parent in directory.absolute().parents:
        if parent.stat().st_dev != device:
            return  # a mount point was there before us
        try:
            sync_directory(parent)
        except PermissionError:
            return  # what we may not read (/var/lib/private) was made by the service manager


def _finding(connection: Connection) -> str | None:
    """What is wrong with the rows after a failed write, None when nothing is."""
    difference = listing.audit(connection).difference
    return f"the queue's counters differ from its rows by {difference} recipients" if difference else None
