"""A series of SQLite files for rows that may be lost: each holds a stretch of time, the newest is written.

Telemetry is kept this way: what is too old or too much goes with its whole file, at the cost of an unlink, and the
indexes of each file stay small however much is kept.  Files may be deleted under a running daemon, and a full disk or a
damaged file costs rows of the series alone.  Commits are not synced one by one (`synchronous=NORMAL`).

One thread writes (`Series.write`, `Series.change_all`).  Any thread reads, file after file from the newest, and is cut
off when its time is up.  While a file is written it is in WAL mode; closed, it has a rollback journal and stands alone.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayd.database.handle import translate
from relayd.database.interface import DatabaseBroken, DatabaseError

_PARTS = 16
_SMALLEST_PART = 1 << 20
_AGES = 8
_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: a few milliseconds."""

_BESIDE = ("", "-wal", "-shm", "-journal")

MOST_OCTETS = 32 << 20
"""Of the rows of one answer, as they are stored: as objects they are several times as large."""

Work = Callable[[sqlite3.Connection], None]
Row = tuple[Any, ...]


class ReadCut(DatabaseError):
    """A search took longer, or found more, than it may."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """keep: seconds for which rows are kept; max_size: octets of all files of the series."""

    keep: float
    max_size: int

    @property
    def part_size(self) -> int:
        """Octets of one file."""
        return max(self.max_size // _PARTS, _SMALLEST_PART)

    @property
    def part_age(self) -> float:
        """Seconds of one file."""
        return self.keep / _AGES


@dataclass(frozen=True, slots=True)
class Segment:
    """One file.  began: Unix time from which on it was written."""

    path: Path
    began: int


class Series:
    """The files `<name>-<Unix time>.db` in `directory`.  schema: the statements that make a file's tables.

    version: of the schema; files of another one are neither read nor written, and go when they are too old.
    """

    def __init__(
        self, directory: Path, name: str, version: int, schema: Sequence[str], bounds: Bounds, *, patience: float = 5.0
    ) -> None:
        self.directory = directory
        self.name = name
        self.bounds = bounds
        self._version = version
        self._schema = tuple(schema)
        self._patience = patience
        self._pattern = re.compile(re.escape(name) + r"-(\d{10})\.db")
        self._current: Segment | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    # Writing: one thread.

    def write(self, work: Work, now: float) -> None:
        """Run `work` in one transaction on the newest file.  Raises DatabaseError; nothing was written then."""
        try:
            self._run(self._writable(now), work)
        except (sqlite3.Error, OSError) as error:
            broken, self._current = self._current, None
            self._close()
            translated = translate(error) if isinstance(error, sqlite3.Error) else DatabaseError(str(error))
            if isinstance(translated, DatabaseBroken) and broken is not None:
                remove(broken.path)  # the next write begins another
            raise translated from error

    def change_all(self, work: Work) -> int:
        """Run `work` in a transaction on each file, and have what it overwrote gone from the disk.

        The number of files.  Raises DatabaseError: the files before the one that failed are changed.
        """
        current, changed = self._current, 0
        self._close()
        self._current = None
        for segment in self.segments():
            try:
                connection = self._open(segment.path)
                try:
                    if _version_of(connection) != self._version:
                        continue
                    connection.execute("PRAGMA secure_delete = ON")
                    self._run(connection, work)
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    changed += 1
                finally:
                    if segment != current:
                        _settle(connection)
                    connection.close()
            except sqlite3.Error as error:
                raise translate(error) from error
        return changed

    def tidy(self, now: float) -> None:
        """Remove what is too old or too much, once it is written at all.  Raises DatabaseError."""
        if self._current is None:
            return  # whether the directory is ours is not known yet
        try:
            self._retire(now)
        except OSError as error:
            raise DatabaseError(str(error)) from error

    def close(self) -> None:
        """Close the file that is written."""
        self._close()
        self._current = None

    @staticmethod
    def _run(connection: sqlite3.Connection, work: Work) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _writable(self, now: float) -> sqlite3.Connection:
        """The connection to the newest file, another one when that is full, old, or no longer there."""
        current = self._current
        if current is not None:
            state = _stat(current.path)
            if state is None or state.st_ino != self._inode:
                self._close()  # removed under us
                current = self._current = None
            elif state.st_size >= self.bounds.part_size or not 0 <= now - current.began < self.bounds.part_age:
                self._finish()
                current = self._current = None
        if current is None:
            self._begin(now)
        assert self._connection is not None
        return self._connection

    def _begin(self, now: float) -> None:
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._retire(now)
        newest = next(iter(self.segments()), None)
        if newest is not None and self._is_open_ended(newest, now):
            connection = self._reopened(newest)
            if connection is not None:
                self._take(newest, connection)
                return
        began = max(int(now), newest.began + 1 if newest is not None else 0)
        path = self.directory / f"{self.name}-{began:010d}.db"
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o640))
        connection = self._open(path)
        for statement in self._schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {self._version}")
        self._take(Segment(path, began), connection)

    def _reopened(self, newest: Segment) -> sqlite3.Connection | None:
        """The connection to a file that was left; None when it is of another schema, or damaged."""
        try:
            connection = self._open(newest.path)
        except sqlite3.DatabaseError as error:
            if isinstance(translate(error), DatabaseBroken):
                return None
            raise
        if _version_of(connection) == self._version:
            return connection
        connection.close()
        return None

    def _is_open_ended(self, newest: Segment, now: float) -> bool:
        state = _stat(newest.path)
        young = 0 <= now - newest.began < self.bounds.part_age
        return young and state is not None and state.st_size < self.bounds.part_size

    def _take(self, segment: Segment, connection: sqlite3.Connection) -> None:
        self._current, self._connection = segment, connection
        self._inode = segment.path.stat().st_ino

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path.absolute().as_uri() + "?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA wal_autocheckpoint = 2000")
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection

    def _finish(self) -> None:
        """Close the file for good: without a WAL a reader needs nothing beside it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _settle(connection)
            connection.close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _retire(self, now: float) -> None:
        """Remove whole files, oldest first; never the one that is written."""
        segments = self.segments()
        sizes = {
            each: sum(state.st_size for end in _BESIDE if (state := _stat(_beside(each.path, end))))
            for each in segments
        }
        total = sum(sizes.values()) + (0 if self._current is not None else self.bounds.part_size)
        ends = now
        doomed = []
        for segment in segments:  # newest first
            if ends < now - self.bounds.keep:
                doomed.append(segment)
            ends = segment.began
        for segment in reversed(segments):
            if segment in doomed or (total > self.bounds.max_size and segment != self._current):
                total -= sizes[segment]
                remove(segment.path)

    # Reading: any thread.

    def segments(self) -> list[Segment]:
        """The files there are, the newest first."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        found = [
            Segment(self.directory / name, int(match[1])) for name in names if (match := self._pattern.fullmatch(name))
        ]
        return sorted(found, key=lambda each: each.began, reverse=True)

    @contextmanager
    def reading(self) -> Iterator[Iterator[sqlite3.Connection]]:
        """Each file as a read-only connection, from the newest, for as long as a search may take.

        A file that cannot be read is passed over.  What SQLite says inside becomes DatabaseError; ReadCut when the time
        is up.
        """
        until = time.monotonic() + self._patience
        connections = self._connections(until)
        try:
            yield connections
        except sqlite3.Error as error:
            if time.monotonic() >= until:
                raise self._cut() from error
            raise translate(error) from error
        except OSError as error:
            raise DatabaseError(str(error)) from error
        finally:
            connections.close()  # here: a connection can be closed by the thread alone that opened it

    def _connections(self, until: float) -> Generator[sqlite3.Connection, None, None]:
        for segment in self.segments():
            if time.monotonic() >= until:
                raise self._cut()
            try:
                connection = sqlite3.connect(
                    segment.path.absolute().as_uri() + "?mode=ro", uri=True, isolation_level=None, timeout=1.0
                )
            except sqlite3.Error:
                continue  # removed meanwhile
            try:
                try:
                    is_ours = _version_of(connection) == self._version
                except sqlite3.DatabaseError:
                    continue  # damaged, or just made: it has nothing for us
                if is_ours:
                    connection.set_progress_handler(lambda: time.monotonic() >= until, _STEPS)
                    connection.row_factory = self._in_time(until)
                    yield connection
            finally:
                connection.close()

    def _cut(self) -> ReadCut:
        return ReadCut(f"the search took longer than {self._patience:g} s")

    def _in_time(self, until: float) -> Callable[[sqlite3.Cursor, Row], Row]:
        """Gives rows as they are while there is time: what is done with them takes some, too."""

        def give(cursor: sqlite3.Cursor, row: Row) -> Row:
            if time.monotonic() >= until:
                raise self._cut()
            return row

        return give


def portioned(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows whose second column is what they hold, as text.  Raises ReadCut once that is more than fits into memory."""
    octets = 0
    for row in rows:
        octets += len(row[1])
        if octets > MOST_OCTETS:
            raise ReadCut(f"what was found is more than {MOST_OCTETS >> 20} MB")
        yield row


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _settle(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # somebody reads: the WAL stays beside it
        connection.execute("PRAGMA journal_mode = DELETE")


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def remove(path: Path) -> None:
    """Remove a file of a series and what SQLite put beside it."""
    for end in _BESIDE:
        _beside(path, end).unlink(missing_ok=True)
