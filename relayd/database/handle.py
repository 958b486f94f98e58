"""Opening, checking and checkpointing an SQLite file, and what its errors mean.

The only place besides `writer` and `sqlite` that knows sqlite3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from relayd.database.interface import Connection, DatabaseBroken, DatabaseError, DatabaseFull

Connect = Callable[[Path, bool], sqlite3.Connection]
"""Opens a file; the second argument says read-only.  Tests put connections that fail in its place."""

_CHECK_WHOLE = 64 << 20  # a quick_check reads the whole file: bound the time that a reopening takes
_STATEMENTS = 256

_PATIENCE = 0.2
"""Seconds that a write waits for a lock: nobody else writes, and an emptying of the WAL need not wait for a long reader
(a backup) while mail waits behind it."""


def connect(path: Path, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode with the settings that the promises rest on.  Raises sqlite3.Error."""
    uri = path.absolute().as_uri() + ("?mode=ro" if read_only else "?mode=rwc")
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
        timeout=10.0 if read_only else _PATIENCE,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -4096")
        return connection
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA secure_delete = FAST")  # Debian's default writes every freed page once more
    connection.execute("PRAGMA synchronous = FULL")  # every commit is synced before it is answered for
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer does it between groups
    return connection


def translate(error: sqlite3.Error) -> DatabaseError:
    """Our exception for one of sqlite3's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DatabaseFull(str(error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DatabaseBroken(str(error))
    return DatabaseError(f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})")


def checkpoint(connection: sqlite3.Connection, *, truncate: bool) -> bool:
    """Copy the WAL into the file and sync it; with `truncate`, empty the WAL too.  True when all of it was copied."""
    mode = "TRUNCATE" if truncate else "PASSIVE"
    busy, frames, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return not busy and frames == copied


class WalWatch:
    """Says when a checkpoint is due: the WAL file is over `limit` octets and much was written since the last one.

    The file keeps its length when it is written again from its start, and how full it is cannot be asked: opening
    the files beside it would, when closed, let go of SQLite's own locks (fcntl).  So rows changed are counted too.
    """

    _CHANGES = 2000

    def __init__(self, path: Path, limit: int) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._limit = limit
        self._changes = 0
        self._size = 0

    def is_due(self, connection: sqlite3.Connection) -> bool:
        """Whether to checkpoint now.  Raises OSError."""
        try:
            size = self._wal.stat().st_size
        except FileNotFoundError:
            return False
        if size <= self._limit:
            return False
        return connection.total_changes - self._changes >= self._CHANGES or size >= self._size + self._limit

    def done(self, connection: sqlite3.Connection) -> None:
        """A checkpoint was made."""
        self._changes = connection.total_changes
        self._size = self._wal.stat().st_size if self._wal.exists() else 0


def verify(connection: sqlite3.Connection, path: Path, audit: Callable[[Connection], str | None] | None) -> None:
    """After a failed write: write and sync again all that can be read, and check it.

    Raises DatabaseBroken, or sqlite3.Error (SQLITE_FULL among them) when it could not be found out.
    """
    # A failed fsync may have dropped pages that are now marked clean: only what a checkpoint copies and syncs anew
    # is known to be on the disk.
    checkpoint(connection, truncate=True)
    if path.stat().st_size <= _CHECK_WHOLE:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise DatabaseBroken(f"{path}: {answer}")
    finding = audit(connection) if audit is not None else None
    if finding is not None:
        raise DatabaseBroken(f"{path}: {finding}")
