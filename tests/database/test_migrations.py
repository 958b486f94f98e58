"""Schemas go forward, all or nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from relayd.database.interface import DatabaseError, NewerSchema
from relayd.database.migrations import Migration, migrate, refuse_newer, stored_version

ONE = Migration(1, ("CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"))
TWO = Migration(2, ("ALTER TABLE a ADD COLUMN y", "UPDATE a SET y = x + 1"))
BAD = Migration(3, ("CREATE TABLE b (x)", "this is no SQL"))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def test_missing_steps_are_run_once(tmp_path: Path) -> None:
    path = tmp_path / "db"
    assert stored_version(path) == 0
    connection = _open(path)
    assert migrate(connection, [ONE]) == 1
    assert migrate(connection, [ONE]) is None
    assert migrate(connection, [ONE, TWO]) == 2
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, 2)]
    assert stored_version(path) == 2
    connection.close()


def test_a_step_that_fails_takes_the_others_back(tmp_path: Path) -> None:
    connection = _open(tmp_path / "db")
    migrate(connection, [ONE])
    with pytest.raises(sqlite3.Error):
        migrate(connection, [ONE, TWO, BAD])
    assert connection.execute("SELECT * FROM a").fetchall() == [(1,)]
    assert stored_version(tmp_path / "db") == 1
    connection.close()


def test_a_newer_schema_is_found_even_when_it_is_only_in_the_wal(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = _open(path)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    migrate(connection, [ONE, TWO])
    with pytest.raises(NewerSchema, match="schema 2, this relayd knows 1"):
        refuse_newer(path, [ONE])
    refuse_newer(path, [ONE, TWO])
    connection.close()


def test_what_is_no_database_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseError):
        stored_version(tmp_path / "db")
