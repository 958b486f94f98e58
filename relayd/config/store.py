"""The settings written through the API, at rest: `<data-dir>/settings.db`, one row a settings key.

Its own database with one owner, the daemon: the queue's may be busy or full without touching it, and the other way
round.  A missing file is no settings.  What is in it is held in memory too (it is bounded), so that listing settings
never waits for the disk; what a change makes of it is there only once it is durable.

The file holds secrets that must be known in plain (the password of a smarthost), so nobody else may read it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from relayd.blobs.spool import sync_directory
from relayd.database.handle import translate
from relayd.database.interface import Connection, DatabaseError
from relayd.database.migrations import Migration, refuse_newer
from relayd.database.sqlite import SqliteDatabase, edit_copy, open_sqlite
from relayd.events.event import Span

SETTINGS = "settings.db"

MAX_KEYS = 10_000
MAX_KEY = 255
"""Characters."""

MAX_VALUE = 64 << 10
"""Octets in UTF-8."""

MAX_TOTAL = 16 << 20
"""Octets of all values."""

MIGRATIONS = (Migration(1, ("CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",)),)


class SettingsStore:
    """An open settings.db.  Make it with `open_store`."""

    def __init__(self, database: SqliteDatabase, values: Mapping[str, str]) -> None:
        self._database = database
        self._values = dict(values)

    @property
    def values(self) -> Mapping[str, str]:
        """What is stored."""
        return self._values

    async def replace(self, values: Mapping[str, str]) -> None:
        """Store exactly `values`, in one transaction; durable when it returns.

        Raises DatabaseError: then it is not known whether that was done, and `values` is what the file says.
        """
        removed = [key for key in self._values if key not in values]
        written = [(key, value) for key, value in values.items() if self._values.get(key) != value]
        if not removed and not written:
            return

        def work(connection: Connection) -> None:
            connection.executemany("DELETE FROM settings WHERE key = ?", [(key,) for key in removed])
            connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", written)

        try:
            await self._database.write(work)
        except DatabaseError:
            with contextlib.suppress(DatabaseError):
                self._values = await self._database.read(_all)
            raise
        self._values = dict(values)

    async def copy_to(self, path: Path) -> None:
        """A consistent copy in the new file `path`, readable by its owner alone.  Raises DatabaseError, OSError."""
        _make_private(path)
        await self._database.copy_to(path)

    async def close(self) -> None:
        """Finish what is being written; `values` can still be read, nothing more is stored."""
        await self._database.close()


async def open_store(directory: Path, span: Span) -> SettingsStore:
    """The store of a data directory that this process has locked; made when missing.

    Raises NewerSchema (nothing was touched), DatabaseError, OSError.
    """
    path = directory / SETTINGS
    if not path.exists():
        _make_private(path)
        sync_directory(directory)
    # Once broken it stays so until the next start: changes are refused with the reason, mail goes on.
    database = await open_sqlite(path, MIGRATIONS, span, on_broken=lambda reason: None)
    try:
        return SettingsStore(database, await database.read(_all))
    except BaseException:
        await database.close()
        raise


def read_stored(directory: Path) -> dict[str, str]:
    """What is stored in a data directory, whether or not its daemon runs; nothing without a file.  Blocks.

    Raises NewerSchema, DatabaseError, OSError (PermissionError above all).
    """
    path = directory / SETTINGS
    if not path.exists() or not path.stat().st_size:
        return {}
    with path.open("rb"):  # says which permission is missing; SQLite does not
        pass
    refuse_newer(path, MIGRATIONS)
    with _reading(path) as connection:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return {}  # made, and not yet brought forward, by a daemon that starts now
        return _all(connection)


def remove_stored(directory: Path, keys: Collection[str]) -> None:
    """Remove keys from the store of a data directory that this process has locked.  Blocks.

    Raises NewerSchema (nothing was touched), DatabaseError.
    """
    path = directory / SETTINGS
    refuse_newer(path, MIGRATIONS)

    def work(connection: Connection) -> None:
        connection.executemany("DELETE FROM settings WHERE key = ?", [(key,) for key in keys])

    edit_copy(path, work)


def _all(connection: Connection) -> dict[str, str]:
    return {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM settings ORDER BY key")}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A reader that makes no file beside the database where nobody writes to it."""
    mode = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(error) from error


def _make_private(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its companions the same mode.  Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
