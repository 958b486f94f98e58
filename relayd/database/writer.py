"""The one thread that writes: groups, savepoints, commits, checkpoints, and what is done when one fails.

The event loop hands over lists of requests; each list that waits when a group ends rides in the next one.  The answers
of a group go back in one call of the loop.

A group of small changes may instead be begun on the event loop (`begin`): a few dozen statements on cached pages take
less time than giving the interpreter to the thread and back for each of them.  What waits for the disk - the commit,
checkpoints, and everything after a failure - always happens on the thread.  `_mutex` says whose turn the connection is.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from relayd.database import handle
from relayd.database.interface import Connection, DatabaseBroken, DatabaseError, DatabaseFull

Batch = Callable[[Connection, Sequence[Any]], Sequence[Any]]

_MAX_GROUP = 512  # bounds the time to an answer, not the throughput


class Request:
    """A unit of work that waits: `batch` is called with the arguments of all that name the same one."""

    __slots__ = ("argument", "batch", "error", "future", "result", "weight")

    def __init__(self, batch: Batch, argument: Any, future: asyncio.Future[Any], weight: int | None) -> None:
        self.batch = batch
        self.argument = argument
        self.future = future
        self.weight = weight
        self.result: Any = None
        self.error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A group whose changes are made and not yet committed."""

    group: list[Request]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """wal_limit: octets of WAL past which the writer checkpoints.  idle: seconds without work until the WAL is emptied.

    audit: checks the meaning of the rows after a reopening; the text of what is wrong, or None.
    """

    wal_limit: int = 8 << 20
    idle: float = 5.0
    audit: Callable[[Connection], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What the writer tells; called on the writer's thread."""

    answered: Callable[[list[Request]], None]
    commit_failed: Callable[[str], None]
    reopened: Callable[[], None]
    broken: Callable[[str], None]


class Writer(Thread):
    """Owns the writing connection from `start` to `stop`."""

    def __init__(self, path: Path, connect: handle.Connect, policy: Policy, reports: Reports) -> None:
        super().__init__(name="relayd-writer", daemon=True)
        self._path = path
        self._watch = handle.WalWatch(path, policy.wal_limit)
        self._connect = connect
        self._policy = policy
        self._reports = reports
        self._queue: SimpleQueue[list[Request] | Begun | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._mutex = Lock()
        self._broken: str | None = None
        self._dirty = False
        self._full = False

    def open(self) -> sqlite3.Connection:
        """Open the connection (before `start`, for the caller's migrations).  Raises sqlite3.Error."""
        self._connection = self._connect(self._path, False)
        return self._connection

    def hand_over(self, requests: list[Request]) -> None:
        """Have `requests` done; from any thread."""
        self._queue.put(requests)

    def begin(self, group: list[Request]) -> bool:
        """Make the changes of `group` here, in the caller's thread, and have the thread commit them.

        The caller sees to it that nothing else is handed over before the answer.  False: nothing was done (the thread
        is busy with the connection, or one of the changes fails), and the group is to be handed over.
        """
        if not self._mutex.acquire(blocking=False):
            return False
        try:
            connection = self._connection
            if connection is None or connection.in_transaction:
                return False
            try:
                connection.execute("BEGIN IMMEDIATE")
                for batch, members in _by_batch(group).items():
                    results = batch(connection, [member.argument for member in members])
                    for member, result in zip(members, results, strict=True):
                        member.result = result
            except Exception:
                # The thread runs the group again, each member for itself, and finds out which one is to blame.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                return False
        finally:
            self._mutex.release()
        self._queue.put(Begun(group))
        return True

    def stop(self) -> None:
        """Do what was handed over, then end."""
        self._queue.put(None)

    def run(self) -> None:
        """The thread."""
        while True:
            try:
                first = self._queue.get(timeout=self._policy.idle if self._dirty else None)
            except Empty:
                self._tidy(truncate=True)
                continue
            if first is None:
                break
            if isinstance(first, Begun):
                self._answer(first.group, self._commit_begun)
                continue
            group, stopping = self._gather(first)
            self._answer(group, self._commit)
            if stopping:
                break
        self._close()

    def _gather(self, group: list[Request]) -> tuple[list[Request], bool]:
        while len(group) < _MAX_GROUP:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                return group, True
            assert not isinstance(more, Begun)  # see `begin`
            group.extend(more)
        return group, False

    def _answer(self, group: list[Request], commit: Callable[[list[Request]], None]) -> None:
        with self._mutex:
            try:
                commit(group)
            except sqlite3.Error as error:
                self._fail(group, error)
            except DatabaseError as error:
                self._fail_all(group, error)
        self._reports.answered(group)
        if self._connection is not None:
            self._tidy(truncate=self._full)

    def _commit(self, group: list[Request]) -> None:
        """Run the group in one transaction.  Raises sqlite3.Error when the transaction as a whole failed."""
        connection = self._usable()
        connection.execute("BEGIN IMMEDIATE")
        for batch, members in _by_batch(group).items():
            self._run(connection, batch, members)
        self._dirty = True
        connection.execute("COMMIT")

    def _commit_begun(self, group: list[Request]) -> None:
        """Commit what `begin` changed.  Raises sqlite3.Error."""
        self._dirty = True
        self._usable().execute("COMMIT")

    def _run(self, connection: sqlite3.Connection, batch: Batch, members: list[Request]) -> None:
        connection.execute("SAVEPOINT work")
        try:
            results = batch(connection, [member.argument for member in members])
        except Exception as error:
            if not connection.in_transaction:  # SQLite gave the whole transaction up
                if isinstance(error, sqlite3.Error):
                    raise
                raise DatabaseError(f"the transaction ended early: {error}") from error
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
            if len(members) == 1:
                members[0].error = translated(error)
                return
            for member in members:
                self._run(connection, batch, [member])
            return
        connection.execute("RELEASE work")
        for member, result in zip(members, results, strict=True):
            member.result = result

    def _usable(self) -> sqlite3.Connection:
        """The connection; after a failure, one opened anew and verified.  Raises DatabaseError when there is none."""
        if self._broken is not None:
            raise DatabaseBroken(self._broken)
        if self._connection is not None:
            return self._connection
        try:
            connection = self._connect(self._path, False)
            try:
                handle.verify(connection, self._path, self._policy.audit)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError, DatabaseBroken) as error:
            translation = translated(error)
            if isinstance(translation, DatabaseFull):
                raise translation from error  # no room to check in: the next request tries again
            self._broken = str(error)
            self._reports.broken(self._broken)
            raise DatabaseBroken(self._broken) from error
        self._connection = connection
        self._watch = handle.WalWatch(self._path, self._policy.wal_limit)
        self._reports.reopened()
        return connection

    def _fail(self, group: list[Request], error: sqlite3.Error) -> None:
        """The transaction as a whole failed: nothing of the group is promised."""
        translation = handle.translate(error)
        self._reports.commit_failed(str(error))
        self._fail_all(group, translation)
        connection = self._connection
        if connection is None:
            return
        if isinstance(translation, DatabaseFull):
            # The frames did not all fit, so the one that commits was not written: the rows are as before.
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                # The WAL may be what fills the disk: it is emptied now, or when somebody has made room.
                self._full = True
                return
            except sqlite3.Error:
                pass  # then it is opened anew
        self._drop()
        try:
            self._usable()
        except DatabaseError:
            return  # said by _usable; the next group asks again

    def _fail_all(self, group: list[Request], error: DatabaseError) -> None:
        for request in group:
            request.error, request.result = type(error)(*error.args), None  # each raises its own

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                return  # nothing more is asked of it

    def _tidy(self, *, truncate: bool) -> None:
        """Checkpoint when the WAL is long, or when there is nothing else to do."""
        with self._mutex:
            if self._connection is None or not self._connection.in_transaction:  # else a group was begun: not now
                self._checkpoint(truncate=truncate)

    def _checkpoint(self, *, truncate: bool) -> None:
        connection = self._connection
        if connection is None:
            self._dirty = False
            return
        try:
            if truncate:
                self._dirty = False
                if handle.checkpoint(connection, truncate=True):
                    self._full = False
            elif not self._watch.is_due(connection):
                return
            else:
                handle.checkpoint(connection, truncate=False)
            self._watch.done(connection)
        except (sqlite3.Error, OSError) as error:
            translation = translated(error)
            if isinstance(translation, DatabaseFull) or "locked" in str(error):
                return  # the WAL keeps what it holds; tried again later
            self._fail([], error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError(str(error)))

    def _close(self) -> None:
        while True:  # what came after the stop
            try:
                late = self._queue.get_nowait()
            except Empty:
                break
            if isinstance(late, list):
                self._fail_all(late, DatabaseError("the database is closed"))
                self._reports.answered(late)
        self._drop()


def _by_batch(group: list[Request]) -> dict[Batch, list[Request]]:
    batches: dict[Batch, list[Request]] = {}
    for request in group:
        batches.setdefault(request.batch, []).append(request)
    return batches


def translated(error: Exception) -> Exception:
    """Our exception for a foreign one; any other as it is."""
    if isinstance(error, sqlite3.Error):
        return handle.translate(error)
    if isinstance(error, OSError):
        return DatabaseError(str(error))
    return error
