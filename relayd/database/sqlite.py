"""The SQLite driver: the face that the event loop sees of one writer thread and a few readers."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from relayd.database import handle
from relayd.database.interface import Connection, DatabaseError
from relayd.database.migrations import Migration, migrate, refuse_newer
from relayd.database.writer import Policy, Reports, Request, Writer
from relayd.events import store as events
from relayd.events.event import Span

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - the item of a batch

_READERS = 3


_LIGHT = 200
"""Rows that a group may change to be begun on the event loop: about two milliseconds."""


def _is_light(requests: Sequence[Request]) -> bool:
    rows = 0
    for request in requests:
        if request.weight is None:
            return False
        rows += request.weight
    return rows <= _LIGHT


def _run_works(connection: Connection, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in works]


class SqliteDatabase:
    """One file; see `Database` for what its methods promise.  Open it with `open_sqlite`."""

    def __init__(
        self,
        path: Path,
        span: Span,
        *,
        on_broken: Callable[[str], None],
        policy: Policy,
        connect: handle.Connect = handle.connect,
    ) -> None:
        self.path = path
        self._span = span
        self._connect = connect
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Request] = []
        self._outstanding = 0
        self._closed = False
        self._writer = Writer(
            path,
            connect,
            policy,
            Reports(
                answered=functools.partial(self._tell, self._resolve),
                commit_failed=functools.partial(self._tell, self._commit_failed),
                reopened=functools.partial(self._tell, self._reopened),
                broken=functools.partial(self._tell, self._broken),
            ),
        )
        self._readers: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="relayd-reader")

    def prepare(self, steps: Sequence[Migration]) -> int | None:
        """Open the file, bring its schema forward, start the writer; the new schema number if it changed.  Blocks."""
        refuse_newer(self.path, steps)
        try:
            version = migrate(self._writer.open(), steps)
        except sqlite3.Error as error:
            raise handle.translate(error) from error
        self._writer.start()
        return version

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See Database.write."""
        # One item of the batch of all single works: they share a savepoint only as long as none of them raises.
        result: T = await self._submit(_run_works, work)
        return result

    async def write_each(
        self, batch: Callable[[Connection, Sequence[I]], Sequence[T]], item: I, *, weight: int | None = None
    ) -> T:
        """See Database.write_each."""
        result: T = await self._submit(batch, item, weight)
        return result

    def _submit(
        self, batch: Callable[[Connection, Sequence[Any]], Sequence[Any]], item: Any, weight: int | None = None
    ) -> asyncio.Future[Any]:
        if self._closed:
            raise DatabaseError("the database is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._waiting:
            # Handed over when this turn of the loop ends: all sessions that are ready now ride in one group.
            self._loop.call_soon(self._hand_over)
        self._waiting.append(Request(batch, item, future, weight))
        return future

    def _hand_over(self) -> None:
        """Give what waits to the writer: begun here when it is light and the writer is free, else as it is.

        Light work that comes while the writer commits waits for it here, so that it makes one group, and is begun then.
        """
        requests = self._waiting
        if not requests:
            return
        light = not self._closed and _is_light(requests)
        if light and self._outstanding:
            return  # _resolve comes back to it
        self._waiting = []
        self._outstanding += len(requests)
        if not (light and self._writer.begin(requests)):
            self._writer.hand_over(requests)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See Database.read."""
        if self._closed:
            raise DatabaseError("the database is closed")
        return await self._loop.run_in_executor(self._threads, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._reader()
            connection.execute("BEGIN")
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise handle.translate(error) from error
            raise
        self._readers.append(connection)
        return result

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()  # atomic; each thread holds at most one
        except IndexError:
            return self._connect(self.path, True)

    async def copy_to(self, path: Path) -> None:
        """A consistent copy in a new file, synced; writes go on meanwhile.  Raises DatabaseError."""
        await self._loop.run_in_executor(self._threads, self._copy_to, path)

    def _copy_to(self, path: Path) -> None:
        try:
            source = self._connect(self.path, True)
            try:
                target = sqlite3.connect(path, isolation_level=None)
                try:
                    source.backup(target)  # all pages in one step: one snapshot
                finally:
                    target.close()
            finally:
                source.close()
        except sqlite3.Error as error:
            raise handle.translate(error) from error

    async def close(self) -> None:
        """See Database.close."""
        if self._closed:
            return
        self._closed = True
        self._hand_over()
        await self._loop.run_in_executor(self._threads, self._finish)
        self._threads.shutdown(wait=True)

    def _finish(self) -> None:
        while self._readers:  # before the writer's: the last one to close empties the WAL
            self._readers.pop().close()
        self._writer.stop()
        if self._writer.ident is not None:
            self._writer.join()

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return  # the loop is gone, and with it everybody who waited

    def _resolve(self, requests: list[Request]) -> None:
        self._outstanding -= len(requests)
        if self._waiting:
            self._loop.call_soon(self._hand_over)  # after those who are answered now have said what comes next
        for request in requests:
            if request.future.done():
                continue  # cancelled
            if request.error is not None:
                request.future.set_exception(request.error)
            else:
                request.future.set_result(request.result)

    def _commit_failed(self, reason: str) -> None:
        events.COMMIT_FAILED(self._span, reason=reason)

    def _reopened(self) -> None:
        events.REOPENED(self._span, path=str(self.path))

    def _broken(self, reason: str) -> None:
        events.BROKEN(self._span, path=str(self.path), reason=reason)
        self._on_broken(reason)


def edit_copy(path: Path, work: Callable[[Connection], T]) -> T:
    """Change a copy that nobody uses, in one transaction, and leave it in one synced file.  Blocks.

    Raises DatabaseError.
    """
    try:
        connection = handle.connect(path, False)
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
            handle.checkpoint(connection, truncate=True)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise handle.translate(error) from error
    return result


async def open_sqlite(
    path: Path,
    steps: Sequence[Migration],
    span: Span,
    *,
    on_broken: Callable[[str], None],
    policy: Policy | None = None,
    connect: handle.Connect = handle.connect,
) -> SqliteDatabase:
    """The database at `path`, created or brought forward by `steps` when need be.

    on_broken: told (in the loop) that it can be used no more.  Raises NewerSchema with the file untouched,
    DatabaseError when it cannot be opened.
    """
    database = SqliteDatabase(path, span, on_broken=on_broken, policy=policy or Policy(), connect=connect)
    try:
        version = await asyncio.to_thread(database.prepare, steps)
    except BaseException:
        await database.close()
        raise
    if version is not None:
        events.MIGRATED(span, version=version)
    events.OPEN(span, path=str(path), version=steps[-1].version)
    return database
