"""What is put right at start-up and looked after while the daemon runs (the crash table is in the package)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from relayd.blobs.spool import BlobError, Blobs
from relayd.database.interface import Connection, Database, DatabaseError
from relayd.events import queue as events
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.queue import bodies, leases, removal, usage
from relayd.queue.filter import as_json
from relayd.queue.space import Space
from relayd.queue.store import Queue

_HOUR = 3600.0
_TICK = 2.0
_ROWS = 1000
_PARTS = 5
_BREATH = 0.2
_PATIENCE = 60.0  # seconds until a purge that failed is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What start-up found.  voided: leases.  swept: files of no message.  corrupt: messages without a body.

    purged: deleted messages without a body.
    """

    voided: int
    swept: int
    corrupt: tuple[int, ...]
    purged: int


async def recover(database: Database, blobs: Blobs, node: int, span: Span) -> Recovery:
    """Bring the rows and files to what the crash table says; the data directory is locked by the caller.

    Raises DatabaseError, BlobError.
    """
    voided = await database.write(lambda connection: leases.void(connection, "lease_owner = ?", (node,)))
    files = await asyncio.to_thread(lambda: list(blobs.files()))
    known = await database.read(_ids_with_file)
    there = {id for _, id in files if id is not None}
    swept = await asyncio.to_thread(blobs.remove_paths, (path for path, id in files if id is None or id not in known))
    if swept:
        store_events.SWEPT(span, total=swept)
    without = await database.read(lambda connection: _without_body(connection, known - there))
    gone = await database.read(lambda connection: _deleted(connection, without))
    if gone:  # given up on a full disk, or by a purge that the end of the process cut off
        await database.write(lambda connection: removal.purge(connection, sorted(gone)))
        without -= gone
    found = await database.read(_corrupt)
    restored = [id for id in found if id not in without]
    if without - found or restored:
        await database.write(lambda connection: _mark(connection, sorted(without - found), restored))
    for id in sorted(without):
        reason = "its file is missing" if id in known else "its row of the body is missing"
        events.BLOB_NOT_FOUND(span, queue_id=id, reason=reason)
    return Recovery(voided=voided, swept=swept, corrupt=tuple(sorted(without)), purged=len(gone))


def _ids_with_file(connection: Connection) -> set[int]:
    return {id for (id,) in connection.execute("SELECT message_id FROM bodies WHERE file_from IS NOT NULL")}


def _without_body(connection: Connection, missing_files: set[int]) -> set[int]:
    rowless = connection.execute(
        "SELECT id FROM messages WHERE NOT EXISTS (SELECT 1 FROM bodies WHERE message_id = id)"
    )
    kept = {id for id in missing_files if connection.execute("SELECT 1 FROM messages WHERE id = ?", (id,)).fetchone()}
    return kept | {id for (id,) in rowless}


def _deleted(connection: Connection, ids: set[int]) -> set[int]:
    kept = "SELECT id FROM messages WHERE removal IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
    return {id for (id,) in connection.execute(kept, (as_json(sorted(ids)),))}


def _corrupt(connection: Connection) -> set[int]:
    return {id for (id,) in connection.execute("SELECT id FROM messages WHERE corrupt = 1")}


def _purge(ids: list[int], connection: Connection) -> removal.Changed:
    still = sorted(_deleted(connection, set(ids)))  # one may have been brought back meanwhile
    return removal.purge(connection, still)


def _mark(connection: Connection, corrupt: list[int], restored: list[int]) -> None:
    """Take messages without a body out of delivery; let those in whose body is back."""
    for id in corrupt:
        bodies.mark_corrupt(connection, id)
    for id in restored:
        connection.execute("UPDATE messages SET corrupt = 0 WHERE id = ?", (id,))
        leases.rejoin(connection, id, leases.idle_numbers(connection, id))


class Upkeep:
    """Looks after the queue while it runs.  `run` is a task of the daemon's.

    sleep: awaited between looks.  clock: Unix time.
    """

    def __init__(
        self,
        queue: Queue,
        space: Space,
        node: int,
        clock: Callable[[], float],
        span: Span,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._queue = queue
        self._space = space
        self._node = node
        self._clock = clock
        self._span = span
        self._sleep = sleep
        self._could_attempt = True
        self._purge_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        hourly_at = self._clock() + _HOUR
        while True:
            await self._sleep(_TICK)
            await self.tick()
            now = self._clock()
            if not hourly_at - _HOUR <= now < hourly_at:  # also when the clock was set back
                hourly_at = now + _HOUR
                await self.hourly()

    async def tick(self) -> None:
        """Notice room that came or went."""
        may = self._space.may_attempt
        if may and not self._could_attempt:
            self._queue.on_change()
        self._could_attempt = may
        if not self._space.has_reserve and not self._queue.unrecorded:
            await asyncio.to_thread(self._space.tend_reserve)
        now = self._clock()
        if not self._purge_at - _PATIENCE <= now < self._purge_at:
            try:
                await self.purge()
            except DatabaseError as error:
                self._purge_at = now + _PATIENCE
                store_events.COMMIT_FAILED(self._span, reason=f"purging deleted mail: {error}")

    async def purge(self) -> None:
        """Remove deleted messages for good whose time is over, or, the oldest first, while space is short.

        A few transactions at a time; the next tick goes on.
        """
        for _ in range(_PARTS):
            is_low, now = self._space.is_low, self._clock()
            spilled = sorted(self._queue.spilled)[:_ROWS]

            def find(
                connection: Connection, is_low: bool = is_low, now: float = now, spilled: list[int] = spilled
            ) -> list[int]:
                if spilled:
                    return sorted(_deleted(connection, set(spilled)))
                return removal.oldest(connection, _ROWS) if is_low else removal.due(connection, now, _ROWS)

            ids = await self._queue.database.read(find)
            if ids:
                # not with the queue's own `write`, which would give up the reserve for it
                changed = await self._queue.database.write(partial(_purge, ids))
                await self._queue.left(changed)
                self._space.look_again()
                reason = "for want of space" if is_low or spilled else "its time is over"
                events.PURGED(self._span, total=len(changed.ids), reason=reason)
            self._queue.spilled.difference_update(spilled)
            if not ids and not spilled:
                return
            await self._sleep(_BREATH)

    async def hourly(self) -> None:
        """Sweep files of no message, take over what other nodes left, check the invariant."""
        try:
            swept = await self.sweep()
            if swept:
                store_events.SWEPT(self._span, total=swept)
            now, node = self._clock(), self._node
            voided = await self._queue.database.write(
                lambda connection: leases.void(connection, "lease_owner <> ? AND lease_until <= ?", (node, now))
            )
            if voided:
                self._queue.on_change()
            await self._queue.database.write(lambda connection: removal.forget(connection, now))
            while await self._queue.database.write(lambda connection: usage.forget_before(connection, now, _ROWS)):
                await self._sleep(_BREATH)
            await self._queue.audit()
        except (DatabaseError, BlobError) as error:
            # nothing is lost by it: the next hour tries again
            store_events.COMMIT_FAILED(self._span, reason=f"upkeep: {error}")

    async def sweep(self) -> int:
        """Remove files that are older than an hour and of no message; how many."""
        blobs = self._queue.blobs
        old = await asyncio.to_thread(lambda: list(blobs.files(_HOUR)))
        if not old:
            return 0
        known = await self._queue.database.read(_ids_with_file)
        return await asyncio.to_thread(blobs.remove_paths, (path for path, id in old if id is None or id not in known))
