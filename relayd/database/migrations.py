"""Bringing a schema forward: numbered steps, all that are missing in one transaction, never back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.database.interface import DatabaseError, NewerSchema


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: the schema's number once it is done, and its statements."""

    version: int
    statements: tuple[str, ...]


def stored_version(path: Path) -> int:
    """The schema number of the database at `path`, 0 when there is none.  Opens it read-only.

    Without a WAL beside it nothing is made there either: a reader would leave an index of one that is not there.
    Raises DatabaseError when it cannot be read.
    """
    if not path.exists() or path.stat().st_size == 0:
        return 0
    has_wal = path.with_name(path.name + "-wal").exists()
    try:
        mode = "mode=ro" if has_wal else "mode=ro&immutable=1"
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        try:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}") from error


def refuse_newer(path: Path, steps: Sequence[Migration]) -> None:
    """Raise NewerSchema when the file is ahead of `steps`; it is not written to."""
    stored, known = stored_version(path), steps[-1].version
    if stored > known:
        raise NewerSchema(f"{path} has schema {stored}, this relayd knows {known}: install the newer relayd again")


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration]) -> int | None:
    """Run the steps that the database has not had, in one transaction; the new number, or None when none was due.

    `connection` is in autocommit mode.  Raises sqlite3.Error with nothing changed.
    """
    stored = int(connection.execute("PRAGMA user_version").fetchone()[0])
    due = [step for step in steps if step.version > stored]
    if not due:
        return None
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in due:
            for statement in step.statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {due[-1].version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return due[-1].version
