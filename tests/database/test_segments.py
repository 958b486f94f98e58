"""Series of files: what is written can be read, whole files go when they are old or too many, and damage is theirs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from relayd.database.interface import DatabaseError
from relayd.database.segments import Bounds, ReadCut, Series, portioned

DAY = 86400.0
SCHEMA = ("CREATE TABLE row (value INTEGER, ballast TEXT)",)


def series(directory: Path, keep: float = 8 * DAY, max_size: int = 64 << 20, patience: float = 5.0) -> Series:
    return Series(directory, "rows", 1, SCHEMA, Bounds(keep, max_size), patience=patience)


def put(rows: Series, value: int, now: float, octets: int = 0) -> None:
    run(rows, "INSERT INTO row VALUES (?, ?)", now, (value, "x" * octets))


def run(rows: Series, sql: str, now: float, parameters: tuple[object, ...] = ()) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute(sql, parameters)

    rows.write(work, now)


def values(rows: Series) -> list[int]:
    """Newest file first."""
    with rows.reading() as connections:
        return [value for each in connections for (value,) in each.execute("SELECT value FROM row ORDER BY value DESC")]


def test_what_is_written_can_be_read_at_once_and_after_a_new_start(tmp_path: Path) -> None:
    rows = series(tmp_path)
    put(rows, 1, 1000.0)
    assert values(rows) == [1]
    rows.close()
    again = series(tmp_path)
    put(again, 2, 1001.0)
    assert values(again) == [2, 1]
    assert len(again.segments()) == 1
    again.close()


def test_a_file_holds_an_eighth_of_the_time_and_goes_when_its_last_row_is_too_old(tmp_path: Path) -> None:
    rows = series(tmp_path)
    for day in range(20):
        put(rows, day, 1_000_000 + day * DAY)
    assert len(rows.segments()) == 10
    assert values(rows) == list(range(19, 9, -1))
    rows.close()


def test_a_full_series_loses_its_oldest_files(tmp_path: Path) -> None:
    rows = series(tmp_path, max_size=8 << 20)
    for number in range(24):
        put(rows, number, 1000.0 + number, octets=600_000)
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 8 << 20
    kept = values(rows)
    assert kept[0] == 23
    assert kept == list(range(23, 23 - len(kept), -1))
    assert len(kept) >= 6
    rows.close()


def test_files_that_are_not_written_have_nothing_beside_them(tmp_path: Path) -> None:
    rows = series(tmp_path)
    for day in range(3):
        put(rows, day, 1_000_000 + day * DAY)
    rows.close()
    assert values(rows) == [2, 1, 0]
    rows.close()
    assert [each.suffix for each in sorted(tmp_path.iterdir())][:2] == [".db", ".db"]


def test_files_may_be_deleted_while_they_are_written(tmp_path: Path) -> None:
    rows = series(tmp_path)
    put(rows, 1, 1000.0)
    for each in list(tmp_path.iterdir()):
        each.unlink()
    put(rows, 2, 1001.0)
    assert values(rows) == [2]
    rows.close()


def test_a_damaged_file_is_passed_over_by_readers_and_replaced_by_the_writer(tmp_path: Path) -> None:
    rows = series(tmp_path)
    put(rows, 1, 1_000_000.0)
    put(rows, 2, 1_000_000 + DAY)
    rows.close()
    oldest, newest = reversed(rows.segments())
    oldest.path.write_bytes(b"no database at all" * 1000)
    assert values(rows) == [2]
    newest.path.write_bytes(b"no database at all" * 1000)
    put(rows, 4, 1_000_002 + DAY)
    assert values(rows) == [4]
    rows.close()


def test_a_write_that_fails_leaves_nothing_and_the_next_one_succeeds(tmp_path: Path) -> None:
    rows = series(tmp_path)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO row VALUES (1, '')")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(DatabaseError, match="nowhere"):
        rows.write(half, 1000.0)
    put(rows, 2, 1001.0)
    assert values(rows) == [2]
    rows.close()


def test_a_directory_that_cannot_be_made_is_an_error_of_the_series(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError):
        put(series(tmp_path / "file"), 1, 1000.0)


def test_a_reader_is_cut_off(tmp_path: Path) -> None:
    rows = series(tmp_path, patience=0.05)
    put(rows, 1, 1000.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(ReadCut), rows.reading() as connections:
        for connection in connections:
            connection.execute(endless).fetchall()
    rows.close()


def test_a_reader_is_cut_off_for_what_it_does_with_the_rows_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    rows = series(tmp_path)
    for value in range(3):
        put(rows, value, 1000.0)
    monkeypatch.setattr("relayd.database.segments.time", SimpleNamespace(monotonic=lambda: now[0]))
    taken = []
    with pytest.raises(ReadCut), rows.reading() as connections:
        for connection in connections:
            for (value,) in connection.execute("SELECT value FROM row"):
                taken.append(value)
                now[0] += 3.0
    assert taken == [0, 1]
    rows.close()


def test_an_answer_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayd.database.segments.MOST_OCTETS", 20)
    assert len(list(portioned([(1, "x" * 10), (2, "y" * 10)]))) == 2
    with pytest.raises(ReadCut, match="more than"):
        list(portioned([(1, "x" * 10), (2, "y" * 11)]))


def test_what_was_opened_to_read_is_closed_there_however_the_search_ends(tmp_path: Path) -> None:
    rows = series(tmp_path)
    put(rows, 1, 1000.0)
    opened = []
    with pytest.raises(DatabaseError) as failed, rows.reading() as connections:
        for connection in connections:
            opened.append(connection)
            connection.execute("SELECT nothing FROM nowhere")
    assert failed.value.__traceback__ is not None  # keeps what the search held, for another thread to let go of
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
    rows.close()


def test_what_is_overwritten_is_gone_from_every_file(tmp_path: Path) -> None:
    rows = series(tmp_path)
    for day in range(3):
        run(rows, "INSERT INTO row VALUES (1, 'remember me')", 1_000_000 + day * DAY)

    def forget(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE row SET ballast = 'forgotten'")

    assert rows.change_all(forget) == 3
    assert all(b"remember" not in each.read_bytes() for each in tmp_path.iterdir())
    put(rows, 9, 1_000_001 + 2 * DAY)
    assert len(values(rows)) == 4
    rows.close()


def test_files_of_another_schema_are_left_alone(tmp_path: Path) -> None:
    rows = series(tmp_path)
    put(rows, 1, 1000.0)
    rows.close()
    newer = Series(tmp_path, "rows", 2, SCHEMA, Bounds(8 * DAY, 64 << 20))
    assert values(newer) == []
    put(newer, 2, 1000.0)
    assert values(newer) == [2]
    assert values(rows) == [1]
    newer.close()
