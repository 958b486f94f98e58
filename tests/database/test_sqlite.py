"""Group commit: who rides with whom, who fails alone, and what a failed commit does."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.database import handle
from relayd.database.interface import Connection, DatabaseBroken, DatabaseError, DatabaseFull
from relayd.database.migrations import Migration
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.database.writer import Policy
from relayd.events.event import Event, EventStream, Span

STEPS = (Migration(1, ("CREATE TABLE t (x INTEGER PRIMARY KEY, y)",)),)


@dataclass
class Faults:
    """What goes wrong next: statements that begin with the text fail with the code."""

    plan: list[tuple[str, int, bool]] = field(default_factory=list)
    opened: int = 0
    commits: int = 0
    checkpoints: int = 0
    connect_fails: int = 0

    def connect(self, path: Path, read_only: bool) -> sqlite3.Connection:
        """As handle.connect, with faults on the writing connection."""
        if read_only:
            return handle.connect(path, True)
        if self.opened and self.connect_fails:
            self.connect_fails -= 1
            raise _error(sqlite3.SQLITE_CANTOPEN)
        self.opened += 1
        return Faulty.wrap(handle.connect(path, False), self)


def _error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"failure {code}")
    error.sqlite_errorcode, error.sqlite_errorname = code, f"SQLITE_{code}"
    return error


class Faulty:
    """A connection whose statements fail as planned."""

    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    @classmethod
    def wrap(cls, connection: sqlite3.Connection, faults: Faults) -> sqlite3.Connection:
        """Typed as what it stands for."""
        return cls(connection, faults)  # type: ignore[return-value]

    def execute(self, sql: str, *arguments: Sequence[object]) -> sqlite3.Cursor:
        """Run, or fail before or after running."""
        if sql == "COMMIT":
            self._faults.commits += 1
        if sql.startswith("PRAGMA wal_checkpoint"):
            self._faults.checkpoints += 1
        for number, (start, code, after) in enumerate(self._faults.plan):
            if sql.startswith(start):
                del self._faults.plan[number]
                if after:
                    self._connection.execute(sql, *arguments)
                raise _error(code)
        return self._connection.execute(sql, *arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


@dataclass
class Open:
    """A database and what it told."""

    database: SqliteDatabase
    faults: Faults
    events: list[Event]
    broken: list[str]

    def kinds(self) -> list[str]:
        """Ids of the events so far."""
        return [event.kind.id for event in self.events]

    async def all(self) -> list[int]:
        """The rows."""
        return await self.database.read(lambda c: [x for (x,) in c.execute("SELECT x FROM t ORDER BY x")])


async def _open(path: Path, policy: Policy | None = None) -> Open:
    faults, events, broken = Faults(), [], []  # type: ignore[var-annotated]
    span = Span(EventStream(lambda: 0.0, [events.append]))
    database = await open_sqlite(path, STEPS, span, on_broken=broken.append, policy=policy, connect=faults.connect)
    return Open(database, faults, events, broken)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """An open database."""
    opened = await _open(tmp_path / "db")
    yield opened
    await opened.database.close()


def _ask(sql: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(sql).fetchone()[0]


def _insert(x: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?, NULL)", (x,))
        return x

    return work


async def test_promises_rest_on_these_settings(opened: Open) -> None:
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("wal_autocheckpoint", 0)):
        assert await opened.database.write(_ask(f"PRAGMA {pragma}")) == value
    with pytest.raises(DatabaseError, match="readonly"):
        await opened.database.read(_insert(1))


async def test_all_who_come_together_ride_in_one_commit(opened: Open) -> None:
    before = opened.faults.commits
    assert await asyncio.gather(*(opened.database.write(_insert(x)) for x in range(50))) == list(range(50))
    assert opened.faults.commits - before <= 2
    assert await opened.all() == list(range(50))


async def test_a_failing_work_loses_only_itself(opened: Open) -> None:
    class Mine(Exception):
        pass

    def fail(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (100, NULL)")
        raise Mine("mine")

    results = await asyncio.gather(
        opened.database.write(_insert(1)),
        opened.database.write(fail),
        opened.database.write(_insert(1)),
        opened.database.write(_insert(2)),
        return_exceptions=True,
    )
    assert results[0] == 1
    assert isinstance(results[1], Mine)
    assert isinstance(results[2], DatabaseError)  # UNIQUE
    assert results[3] == 2
    assert await opened.all() == [1, 2]
    assert opened.faults.opened == 1


async def test_a_batch_is_one_call_and_its_bad_item_fails_alone(opened: Open) -> None:
    calls: list[int] = []

    def batch(connection: Connection, items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        for item in items:
            connection.execute("INSERT INTO t VALUES (?, NULL)", (item,))
        return [item * 2 for item in items]

    assert await asyncio.gather(*(opened.database.write_each(batch, x) for x in range(5))) == [0, 2, 4, 6, 8]
    assert calls == [5]
    results = await asyncio.gather(*(opened.database.write_each(batch, x) for x in (10, 3, 11)), return_exceptions=True)
    assert (results[0], results[2]) == (20, 22)
    assert isinstance(results[1], DatabaseError)
    assert await opened.all() == [0, 1, 2, 3, 4, 10, 11]


async def test_a_cancelled_caller_does_not_stop_the_others(opened: Open) -> None:
    tasks = [asyncio.create_task(opened.database.write(_insert(x))) for x in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert tasks[0].result() == 0
    assert tasks[1].cancelled()
    assert tasks[2].result() == 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE])
async def test_after_a_failed_commit_all_of_the_group_fail_and_the_file_is_opened_anew(
    opened: Open, code: int, after: bool
) -> None:
    await opened.database.write(_insert(1))
    opened.faults.plan = [("COMMIT", code, after)]
    results = await asyncio.gather(*(opened.database.write(_insert(x)) for x in (2, 3)), return_exceptions=True)
    assert all(isinstance(result, DatabaseError) for result in results)
    assert results[0] is not results[1]
    assert opened.faults.opened == 2
    assert await opened.database.write(_insert(4)) == 4
    assert await opened.all() == ([1, 2, 3, 4] if after else [1, 4])
    assert opened.kinds()[-2:] == ["store.commit-failed", "store.reopened"]
    assert opened.broken == []


async def test_a_full_disk_is_told_and_leaves_the_handle(opened: Open) -> None:
    opened.faults.plan = [("COMMIT", sqlite3.SQLITE_FULL, False)]
    with pytest.raises(DatabaseFull):
        await opened.database.write(_insert(1))
    assert opened.faults.opened == 1
    await opened.database.write(_insert(2))
    assert await opened.all() == [2]


async def test_after_a_full_disk_the_wal_is_emptied_as_soon_as_there_is_room(opened: Open) -> None:
    opened.faults.plan = [
        ("COMMIT", sqlite3.SQLITE_FULL, False),
        ("PRAGMA wal_checkpoint(TRUNCATE)", sqlite3.SQLITE_FULL, False),
    ]
    with pytest.raises(DatabaseFull):
        await opened.database.write(_insert(1))
    for x in (2, 3, 4, 5):
        await opened.database.write(_insert(x))
    assert opened.faults.checkpoints == 2  # until one succeeded, then by length again
    assert opened.faults.opened == 1


async def test_a_transaction_that_sqlite_gave_up_fails_as_a_whole(opened: Open) -> None:
    def lose(connection: Connection) -> None:
        connection.execute("ROLLBACK")
        raise _error(sqlite3.SQLITE_IOERR)

    results = await asyncio.gather(
        opened.database.write(_insert(1)), opened.database.write(lose), return_exceptions=True
    )
    assert all(isinstance(result, DatabaseError) for result in results)
    await opened.database.write(_insert(2))
    assert await opened.all() == [2]


async def test_what_cannot_be_opened_anew_is_broken(opened: Open) -> None:
    opened.faults.plan = [("COMMIT", sqlite3.SQLITE_IOERR, False)]
    opened.faults.connect_fails = 1
    with pytest.raises(DatabaseError):
        await opened.database.write(_insert(1))
    with pytest.raises(DatabaseBroken):
        await opened.database.write(_insert(2))
    assert len(opened.broken) == 1
    assert opened.kinds()[-1] == "store.broken"


async def test_what_does_not_add_up_after_a_failure_is_broken(tmp_path: Path) -> None:
    findings = ["rows are missing"]
    opened = await _open(tmp_path / "db", Policy(audit=lambda _: findings[0]))
    await opened.database.write(_insert(1))
    opened.faults.plan = [("COMMIT", sqlite3.SQLITE_IOERR, False)]
    with pytest.raises(DatabaseError):
        await opened.database.write(_insert(2))
    with pytest.raises(DatabaseBroken, match="rows are missing"):
        await opened.database.write(_insert(3))
    assert opened.broken
    await opened.database.close()


async def test_no_room_to_verify_is_full_not_broken(opened: Open) -> None:
    opened.faults.plan = [
        ("COMMIT", sqlite3.SQLITE_IOERR, False),
        ("PRAGMA wal_checkpoint(TRUNCATE)", sqlite3.SQLITE_FULL, False),
        ("PRAGMA wal_checkpoint(TRUNCATE)", sqlite3.SQLITE_FULL, False),
    ]
    with pytest.raises(DatabaseError):
        await opened.database.write(_insert(1))
    with pytest.raises(DatabaseFull):
        await opened.database.write(_insert(2))
    assert await opened.database.write(_insert(3)) == 3
    assert opened.broken == []
    assert await opened.all() == [3]


async def test_a_checkpoint_that_fails_to_sync_is_as_bad_as_a_commit(tmp_path: Path) -> None:
    opened = await _open(tmp_path / "db", Policy(wal_limit=0))
    opened.faults.plan = [("PRAGMA wal_checkpoint(PASSIVE)", sqlite3.SQLITE_IOERR_FSYNC, False)]
    await opened.database.write(_insert(1))  # itself it is durable
    await opened.database.write(_insert(2))
    assert opened.faults.opened == 2
    assert await opened.all() == [1, 2]
    await opened.database.close()


async def test_the_wal_does_not_grow_for_ever(tmp_path: Path) -> None:
    opened = await _open(tmp_path / "db", Policy(wal_limit=1 << 20))

    def fill(connection: Connection) -> None:
        connection.execute("INSERT INTO t VALUES (NULL, zeroblob(200000))")

    for _ in range(40):
        await opened.database.write(fill)
    assert (tmp_path / "db-wal").stat().st_size < 4 << 20
    await opened.database.close()


async def test_the_wal_is_emptied_when_nothing_is_to_do(tmp_path: Path) -> None:
    opened = await _open(tmp_path / "db", Policy(idle=0.01))
    await opened.database.write(_insert(1))
    async with asyncio.timeout(10):
        while (tmp_path / "db-wal").stat().st_size:
            await asyncio.sleep(0.005)
    assert await opened.all() == [1]
    await opened.database.close()


async def test_a_reader_sees_one_state_and_does_not_stop_the_writer(opened: Open) -> None:
    await opened.database.write(_insert(1))
    loop = asyncio.get_running_loop()
    reading, written = asyncio.Event(), asyncio.Event()

    def slow(connection: Connection) -> tuple[int, int]:
        first = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        loop.call_soon_threadsafe(reading.set)
        asyncio.run_coroutine_threadsafe(written.wait(), loop).result(10)
        return first, connection.execute("SELECT count(*) FROM t").fetchone()[0]

    task = asyncio.create_task(opened.database.read(slow))
    await reading.wait()
    await opened.database.write(_insert(2))
    written.set()
    assert await task == (1, 1)
    assert await opened.all() == [1, 2]


async def test_what_was_handed_over_is_done_before_closing(tmp_path: Path) -> None:
    opened = await _open(tmp_path / "db")
    task = asyncio.create_task(opened.database.write(_insert(1)))
    await asyncio.sleep(0)
    await opened.database.close()
    assert await task == 1
    with pytest.raises(DatabaseError, match="closed"):
        await opened.database.write(_insert(2))
    await opened.database.close()
    assert os.listdir(tmp_path) == ["db"]  # the WAL is in the file


async def test_a_copy_is_whole(opened: Open, tmp_path: Path) -> None:
    await asyncio.gather(*(opened.database.write(_insert(x)) for x in range(20)))
    await opened.database.copy_to(tmp_path / "copy")
    connection = sqlite3.connect(tmp_path / "copy")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (20,)
    connection.close()
