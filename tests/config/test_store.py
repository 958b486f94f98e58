"""settings.db: durable, private, never touched when it is newer."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayd.config.store import SETTINGS, SettingsStore, open_store, read_stored, remove_stored
from relayd.database.interface import DatabaseError, NewerSchema
from relayd.events.event import EventStream, Span

SPAN = Span(EventStream(lambda: 0.0))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SettingsStore]:
    opened = await open_store(tmp_path, SPAN)
    yield opened
    await opened.close()


async def test_what_is_stored_is_there_again(store: SettingsStore, tmp_path: Path) -> None:
    await store.replace({"a": "1", "b": "2"})
    await store.replace({"b": "3", "c": "4"})
    assert read_stored(tmp_path) == {"b": "3", "c": "4"}  # while its daemon runs
    await store.close()
    assert read_stored(tmp_path) == {"b": "3", "c": "4"}
    again = await open_store(tmp_path, SPAN)
    assert again.values == {"b": "3", "c": "4"}
    await again.close()


async def test_only_its_owner_may_read_it(store: SettingsStore, tmp_path: Path) -> None:
    await store.replace({"a": "secret"})
    await store.copy_to(tmp_path / "copy.db")
    for name in (SETTINGS, f"{SETTINGS}-wal", "copy.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name


async def test_a_copy_is_whole(store: SettingsStore, tmp_path: Path) -> None:
    await store.replace({"a": "1"})
    (tmp_path / "copy").mkdir()
    await store.copy_to(tmp_path / "copy" / SETTINGS)
    await store.replace({"a": "2"})
    assert read_stored(tmp_path / "copy") == {"a": "1"}


def test_without_a_file_there_are_no_settings(tmp_path: Path) -> None:
    assert read_stored(tmp_path) == {}
    assert read_stored(tmp_path / "nowhere") == {}
    (tmp_path / SETTINGS).touch()
    assert read_stored(tmp_path) == {}
    assert [each.name for each in tmp_path.iterdir()] == [SETTINGS]


async def test_a_newer_schema_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / SETTINGS
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerSchema):
        read_stored(tmp_path)
    with pytest.raises(NewerSchema):
        remove_stored(tmp_path, ["a"])
    with pytest.raises(NewerSchema):
        await open_store(tmp_path, SPAN)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [SETTINGS]


async def test_what_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_bytes(b"what is this?" * 1000)
    with pytest.raises(DatabaseError):
        read_stored(tmp_path)
    with pytest.raises(DatabaseError):
        await open_store(tmp_path, SPAN)


async def test_keys_are_removed_without_a_daemon(store: SettingsStore, tmp_path: Path) -> None:
    await store.replace({"a": "1", "b": "2"})
    await store.close()
    await asyncio.to_thread(remove_stored, tmp_path, ["a", "x"])
    assert read_stored(tmp_path) == {"b": "2"}


async def test_after_a_failed_write_the_values_are_those_of_the_disk(
    store: SettingsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.replace({"a": "1"})
    write = store._database.write

    async def lost(work: object) -> None:
        await write(work)  # type: ignore[arg-type]
        raise DatabaseError("the answer was lost")

    monkeypatch.setattr(store._database, "write", lost)
    with pytest.raises(DatabaseError):
        await store.replace({"a": "2"})
    assert store.values == {"a": "2"}
    await store.close()
    monkeypatch.undo()
    with pytest.raises(DatabaseError):
        await store.replace({"a": "3"})
    assert store.values == {"a": "2"}
