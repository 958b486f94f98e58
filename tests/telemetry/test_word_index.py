"""The index in runs: each word is found whichever run it is in, and no run grows for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from relayd.telemetry import word_index
from relayd.telemetry.word_index import Prepared, matching


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (*word_index.SCHEMA, "CREATE TABLE thing (id INTEGER PRIMARY KEY)"):
        connection.execute(statement)
    yield connection
    connection.close()


def found(connection: sqlite3.Connection, *wanted: tuple[str, bool]) -> list[int]:
    conditions, parameters = matching(connection, wanted)
    where = " AND ".join(conditions) or "true"
    return [id for (id,) in connection.execute(f"SELECT id FROM thing WHERE {where} ORDER BY id", parameters)]


def test_words_are_found_in_every_run(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "MOST_WORDS", 4)
    for id in range(1, 11):
        connection.execute("INSERT INTO thing VALUES (?)", (id,))
        Prepared([("all", id), (f"each{id}", id), ("odd" if id % 2 else "even", id)]).insert(connection)
    assert connection.execute("SELECT max(words), count(*) FROM run").fetchone() == (6, 5)
    assert found(connection) == list(range(1, 11))
    assert found(connection, ("all", True)) == list(range(1, 11))
    assert found(connection, ("each7", True)) == [7]
    assert found(connection, ("each1", False)) == [1, 10]
    assert found(connection, ("each", False), ("even", True)) == [2, 4, 6, 8, 10]
    assert found(connection, ("eac", True)) == []


def test_nothing_is_written_for_no_words_and_nothing_is_found_in_an_empty_index(connection: sqlite3.Connection) -> None:
    Prepared([]).insert(connection)
    assert connection.execute("SELECT count(*) FROM run").fetchone() == (0,)
    connection.execute("INSERT INTO thing VALUES (1)")
    assert found(connection, ("x", False)) == []


def test_the_same_word_of_the_same_thing_counts_once(connection: sqlite3.Connection) -> None:
    Prepared([("x", 1), ("x", 1)]).insert(connection)
    assert connection.execute("SELECT count(*) FROM word").fetchone() == (1,)
