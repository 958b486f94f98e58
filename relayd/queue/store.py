"""The queue, as the rest of relayd sees it.

It holds no messages: what is due is leased in small batches, all else stays on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from relayd.blobs.source import BodySource
from relayd.blobs.spool import BlobError, BlobFull, Blobs
from relayd.database.interface import Connection, Database, DatabaseBroken, DatabaseError, DatabaseFull
from relayd.events import queue as events
from relayd.events.event import Span
from relayd.queue import bodies, enqueue, leases, lines, listing, pause, removal, rows, settle
from relayd.queue.enqueue import Prepared
from relayd.queue.failure import BodyMissing, QueueFull, QueueUnavailable
from relayd.queue.filter import Filter
from relayd.queue.listing import Audit, Counts
from relayd.queue.message import Job, Message, NewMessage, Outcome
from relayd.queue.pause import Pause, Suspension
from relayd.queue.prepare import prepare
from relayd.queue.removal import Changed
from relayd.queue.settle import Settled
from relayd.queue.space import Space, Totals
from relayd.queue.suspension import accounts_of

T = TypeVar("T")

_ALIKE = 16  # messages of the same octets that are looked for
_SPILLED = 100  # files of deleted mail that a full disk takes at once
_RETRY = 1.0  # seconds until an outcome that could not be recorded is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """node: of this process.  inline_limit: octets of a message up to which it stays in the database.

    lease: seconds that an attempt may take.  share: jobs a destination gets in one `lease_due` unless told.
    """

    node: int = 1
    inline_limit: int = 64 << 10
    lease: float = 7200.0
    share: int = 20


@dataclass(slots=True)
class _Lease:
    whole: bool
    in_file: bool


class Queue:
    """See the package's docstring.  `open` before use."""

    def __init__(
        self, database: Database, blobs: Blobs, clock: Callable[[], float], span: Span, setting: Setting | None = None
    ) -> None:
        self.database = database
        self.blobs = blobs
        self.totals = Totals()
        self.on_change: Callable[[], None] = lambda: None
        self.retry_delay: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._clock = clock
        self._span = span
        self._setting = setting or Setting()
        self._state = pause.State()
        self._leases: dict[tuple[int, str], _Lease] = {}
        self._turn = 0
        self.unrecorded = 0
        """Outcomes that the database did not take yet; while there are any, no new attempt may start."""
        self.space: Space | None = None
        """Set by who opens the queue; without it there is room for all."""
        self.spilled: set[int] = set()
        """Deleted messages whose file was given up on a full disk; their rows are to be purged."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Load what must be known.  Raises DatabaseError."""
        self._state.pause, self._state.suspensions = await self.database.read(pause.load)
        found = await self.counts()
        self.totals.messages, self.totals.bytes = found.messages, found.bytes

    async def close(self) -> None:
        """Wait for what runs in the background.  The database is closed by its owner."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # Reception

    async def enqueue(self, message: NewMessage, *others: NewMessage) -> None:
        """Promise `message`, and `others` with it or none: when this returns, all are durable.

        A body of `content: Path` must be closed, and is renamed; that of others may be the same file.  A caller that is
        cancelled has promised nothing; the messages are taken back.  Raises QueueFull, QueueUnavailable: not promised.
        """
        until = self._clock() + self._setting.lease
        messages: Sequence[NewMessage] = (message, *others)
        try:
            if others:
                messages = await self._apart(messages)
                prepared = [await self._prepare(each, until) for each in messages]
                await self.database.write(lambda connection: enqueue.insert(connection, prepared))
            else:
                prepared = [await self._prepare(message, until)]
                await self.database.write_each(enqueue.insert, prepared[0], weight=prepared[0].weight)
        except asyncio.CancelledError:
            self._spawn(self._disown(messages))
            raise
        except (DatabaseError, BlobError) as error:
            await self._disown(messages)
            raise _unavailable(error) from error
        for each in prepared:
            self._entered(each)

    async def discard(self, counts: Mapping[str, int]) -> None:
        """Count, durably, a message that was taken and is thrown away.  Raises QueueFull, QueueUnavailable."""
        try:
            await self.database.write(lambda connection: rows.count(connection, counts.items()))
        except DatabaseError as error:
            raise _unavailable(error) from error

    def _entered(self, prepared: Prepared) -> None:
        message = prepared.message
        self.totals.messages += 1
        self.totals.bytes += message.body.size
        if message.leased:
            in_file = prepared.file_from is not None
            first = message.recipients[0].destination
            whole = all(to.destination == first for to in message.recipients)
            for destination in {to.destination for to in message.recipients}:
                self._leases[message.id, destination] = _Lease(whole, in_file)
        elif message.held is None:
            self.on_change()

    async def _apart(self, messages: Sequence[NewMessage]) -> Sequence[NewMessage]:
        """The messages, none with the file of another: each removes its own.  Raises BlobError."""
        first, *others = messages
        content = first.body.content
        if isinstance(content, bytes):
            return messages
        paths = [await asyncio.to_thread(self.blobs.again, content, each.id) for each in others]
        return [
            first,
            *(replace(each, body=replace(each.body, content=path)) for each, path in zip(others, paths, strict=True)),
        ]

    async def _prepare(self, message: NewMessage, until: float) -> Prepared:
        setting = self._setting
        return await prepare(self.blobs, message, inline_limit=setting.inline_limit, node=setting.node, until=until)

    async def _disown(self, messages: Sequence[NewMessage]) -> None:
        def disown(connection: Connection) -> None:
            for message in messages:
                enqueue.disown(connection, message)

        try:
            await self.database.write(disown)
        except DatabaseError:
            return  # they may be delivered though nobody was promised that: see the package's docstring
        for message in messages:
            self.blobs.remove(message.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Delivery

    async def lease_due(
        self,
        now: float,
        *,
        per_destination: Mapping[str, int] | int,
        limit: int,
        saturated: Collection[str],
        retry_at: Callable[[int, float], float],
        only: Collection[str] | None = None,
    ) -> list[Job]:
        """Take up to `limit` jobs that are due, in turns over destinations and over senders within each.

        per_destination: jobs that each may get now; with a mapping, `Setting.share` for those not in it.  saturated:
        destinations that get none; only: the others that get some, None: all.  retry_at(attempts, now): when a
        recipient is due again whose attempt number `attempts` (this one included) is never settled; it runs on the
        writer's thread.  Held, corrupt, suspended and leased recipients are passed over; nothing is taken while the
        queue is paused or an outcome waits to be recorded.  Raises QueueUnavailable.
        """
        if not self._may_attempt or limit <= 0:
            return []
        self._turn += 1
        request = leases.Request(
            now=now,
            until=now + self._setting.lease,
            node=self._setting.node,
            limit=limit,
            per_destination=per_destination,
            default=self._setting.share,
            skipped=self._state.skipped(now, saturated),
            passed_over=accounts_of([each.destination for each in self.suspensions()]),
            only=None if only is None else frozenset(only),
            retry_at=retry_at,
            turn=self._turn,
        )
        taken, is_cut = await self.write(lambda connection: leases.take(connection, request))
        for each in taken:
            self._leases[each.job.message.id, each.job.destination] = _Lease(each.is_whole, each.in_file)
        if is_cut:
            self.on_change()
        return [each.job for each in taken]

    async def next_due(self, saturated: Collection[str]) -> float | None:
        """The earliest time at which `lease_due` may find something; None: not before something changes.

        May be too early, never too late.
        """
        if not self._may_attempt:
            return None
        skipped = self._state.skipped(self._clock(), saturated)
        try:
            wake = await self.database.read(lambda connection: lines.next_wake(connection, skipped))
        except DatabaseError as error:
            raise _unavailable(error) from error
        ends = [each.until for each in self.suspensions() if each.until is not None]
        times = [at for at in (wake, *ends) if at is not None]
        return min(times, default=None)

    async def settle(self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage] = ()) -> bool:
        """Record what became of the job's recipients, and queue the reports, in one transaction.

        True: the message is finished, nothing of it is queued any more.

        An outcome for a recipient that somebody else ended meanwhile changes nothing; when none changes anything,
        `generated` is not queued.  Does not give up: until it can write, no new job is leased.
        Raises QueueUnavailable only when the database is broken.
        """
        waiting = False
        try:
            while True:
                try:
                    return (await self._settle(job, outcomes, generated)).finished
                except DatabaseBroken as error:
                    raise QueueUnavailable(str(error)) from error
                except (DatabaseError, BlobError) as error:
                    if await self._make_room(error):
                        continue
                if not waiting:
                    waiting = True
                    self.unrecorded += 1
                await self.retry_delay(_RETRY)
        finally:
            if waiting:
                self.unrecorded -= 1
                self.on_change()

    async def end(self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage]) -> bool:
        """An operator's word on recipients that nobody works on: record it if it is still true of all, else do nothing.

        Whether it was recorded.  Raises QueueUnavailable.
        """
        while True:
            try:
                return bool((await self._settle(job, outcomes, generated, idle_only=True)).applied)
            except (DatabaseError, BlobError) as error:
                if not await self._make_room(error):
                    raise _unavailable(error) from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        """A lease, or an operator's word: on a full disk it gets the reserve, for mail that leaves is what makes room.

        Raises QueueFull, QueueUnavailable: nothing was changed.
        """
        while True:
            try:
                return await self.database.write(work)
            except DatabaseError as error:
                if not await self._make_room(error):
                    raise _unavailable(error) from error

    async def _make_room(self, error: Exception) -> bool:
        """Whether a write that failed should be tried again, for something was given up for it.

        The files of deleted mail go first, then the reserve.
        """
        if not isinstance(error, DatabaseFull | BlobFull) or self.space is None:
            return False
        return await self._spill() or self.space.release_reserve()

    async def _spill(self) -> bool:
        """Remove files of deleted messages, whose rows cannot be removed now; whether there were any."""
        try:
            found = await self.database.read(lambda connection: removal.files(connection, _SPILLED + len(self.spilled)))
        except DatabaseError:
            return False
        ids = [id for id in found if id not in self.spilled]
        self.spilled.update(ids)
        await self.blobs.remove_many(ids)
        return bool(ids)

    async def _settle(
        self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage], idle_only: bool = False
    ) -> Settled:
        key = (job.message.id, job.destination)
        lease = self._leases.get(key)
        until = self._clock() + self._setting.lease
        settlement = settle.Settlement(
            job=job,
            outcomes=outcomes,
            generated=[await self._prepare(message, until) for message in generated] if generated else (),
            node=self._setting.node,
            whole=lease is not None and lease.whole,
            idle_only=idle_only,
        )
        settled = await self.database.write_each(settle.settle, settlement, weight=settlement.weight)
        self._leases.pop(key, None)
        if settled.finished:
            self.totals.messages -= 1
            self.totals.bytes -= job.message.size
            if not settled.kept and (lease is None or lease.in_file):
                self.blobs.remove(job.message.id)
        if settled.applied and generated:
            self.totals.messages += len(generated)
            self.totals.bytes += sum(message.body.size for message in generated)
            self.on_change()
        return settled

    async def left(self, changed: Changed) -> None:
        """An operator's action took messages out of the queue: they count no more, and files of no message go."""
        self.totals.messages -= changed.queued
        self.totals.bytes -= changed.octets
        if changed.files:
            await self.blobs.remove_many(changed.files)

    def came_back(self, changed: Changed) -> None:
        """An operator's action let messages wait again: those that had left count again."""
        self.totals.messages += changed.queued
        self.totals.bytes += changed.octets
        self.on_change()

    async def release_leases(self, job: Job) -> None:
        """Give back a job whose attempt was never made; it is due now and the attempt does not count."""
        numbers = [each.number for each in job.message.recipients]
        node, now = self._setting.node, self._clock()
        try:
            await self.database.write(
                lambda connection: leases.give_back(connection, node, now, job.message.id, numbers)
            )
        except DatabaseError as error:
            raise _unavailable(error) from error
        self._leases.pop((job.message.id, job.destination), None)
        self.on_change()

    async def open_body(self, message_id: int) -> BodySource:
        """The octets of a message.  Close it after use.

        Raises BodyMissing (the message, if it is still there, is marked corrupt), QueueUnavailable.
        """
        try:
            return await bodies.find(self.database, self.blobs, message_id)
        except BodyMissing as error:
            if await self.database.write(lambda connection: bodies.mark_corrupt(connection, message_id)):
                events.BLOB_NOT_FOUND(self._span, queue_id=message_id, reason=str(error))
            raise
        except (DatabaseError, BlobError) as error:
            raise _unavailable(error) from error

    # Looking

    async def list(
        self, filter: Filter, offset: int = 0, limit: int | None = None, max_total: int = 0
    ) -> tuple[list[int], int]:
        """Ids that match, ascending, and how many match in all.  max_total: stop looking there; 0: never."""
        return await self.database.read(lambda connection: listing.page(connection, filter, offset, limit, max_total))

    async def get(self, id: int) -> Message | None:
        """The message with all its recipients."""
        found = await self.get_many([id])
        return found[0] if found else None

    async def get_many(self, ids: Sequence[int]) -> Sequence[Message]:
        """The messages of `ids` that exist, in that order."""
        return await self.database.read(lambda connection: listing.many(connection, ids))

    async def with_hash(self, blob_hash: str) -> Sequence[int]:
        """Ids of a few messages whose octets have this hash (`prepare.blob_hash`)."""
        return await self.database.read(lambda connection: bodies.with_hash(connection, blob_hash, _ALIKE))

    async def audit(self) -> Audit:
        """Compare the invariant's counters with the rows; states AUDIT_FAILED when they differ."""
        found = await self.database.read(listing.audit)
        if found.difference:
            details = ", ".join(f"{name} {value}" for name, value in found.counters.items())
            events.AUDIT_FAILED(self._span, details=f"{details}, queued {found.queued}", total=found.difference)
        return found

    async def counts(self) -> Counts:
        """What is in the queue, counted."""
        return await self.database.read(listing.counts)

    async def oldest(self, before: int, most: int) -> Sequence[tuple[str, int]]:
        """See listing.oldest."""
        return await self.database.read(lambda connection: listing.oldest(connection, before, most))

    # Pause

    @property
    def _may_attempt(self) -> bool:
        has_room = self.space is None or self.space.may_attempt
        return self._state.pause is None and not self.unrecorded and has_room

    @property
    def paused(self) -> Pause | None:
        """Who paused the queue, when and why; None: it runs."""
        return self._state.pause

    async def pause(self, by: str, reason: str) -> None:
        """Attempt nothing until resumed, over restarts too.  Paused already: who was first stays.

        Raises QueueUnavailable, as `resume`, `suspend` and `unsuspend` do.
        """
        if self._state.pause is not None:
            return
        note = Pause(since=self._clock(), by=by, reason=reason)
        await self.write(lambda connection: pause.keep(connection, note))
        self._state.pause = note
        events.PAUSED(self._span, account_name=by, reason=reason)
        self.on_change()

    async def resume(self, by: str) -> None:
        """Attempt again."""
        if self._state.pause is None:
            return
        await self.write(lambda connection: pause.drop(connection, pause.PAUSE))
        self._state.pause = None
        events.RESUMED(self._span, account_name=by)
        self.on_change()

    async def suspend(self, destination: str, until: float | None, by: str, reason: str) -> None:
        """Attempt nothing to `destination` before `until` (None: until `unsuspend`).

        destination: of rows, or another subject (`suspension`); mail for providers and from sources is leased all the
        same, unless it is saturated.
        """
        note = Suspension(destination=destination, until=until, since=self._clock(), by=by, reason=reason)
        await self.write(lambda connection: pause.keep(connection, note))
        self._state.suspensions[destination] = note
        self.on_change()

    async def unsuspend(self, destination: str) -> None:
        """Lift a suspension."""
        if destination in self._state.suspensions:
            await self.write(lambda connection: pause.lift(connection, [destination]))
            del self._state.suspensions[destination]
            self.on_change()

    async def lapse(self) -> None:
        """Lift the suspensions whose time is over.  Raises QueueUnavailable."""
        ended = self._state.ended(self._clock())
        if ended:
            await self.write(lambda connection: pause.lift(connection, ended))
            for name in ended:
                self._state.suspensions.pop(name, None)

    def suspensions(self) -> Sequence[Suspension]:
        """Those in force."""
        return self._state.in_force(self._clock())


def _unavailable(error: Exception) -> QueueUnavailable:
    if isinstance(error, DatabaseFull | BlobFull):
        return QueueFull(str(error))
    return QueueUnavailable(str(error))
