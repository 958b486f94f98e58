"""Bodies as files: durable in the right order, swept when they belong to nobody."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from relayd.blobs.spool import BlobError, BlobFull, BlobMissing, Blobs

NOW = 1_800_000_000.0


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty spool."""
    return Blobs(tmp_path / "spool", lambda: NOW)


def _id(number: int) -> int:
    return number << 21


async def test_a_body_is_written_and_committed(blobs: Blobs) -> None:
    spool = blobs.create(_id(1))
    await spool.append(b"one ")
    spool.write(b"two")
    assert spool.size == 7
    spool.close()
    await blobs.commit(spool.path, _id(1))
    assert not spool.path.exists()
    with blobs.open(_id(1)) as file:
        assert file.read() == b"one two"
    await blobs.commit(blobs.path_of(_id(1)), _id(1))  # again: nothing
    spool.discard()
    assert blobs.has(_id(1))


async def test_file_then_name_then_directory_are_synced(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = blobs.create(_id(1))
    spool.write(b"x")
    spool.close()
    target = blobs.path_of(_id(1))
    calls: list[tuple[str, bool]] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        calls.append((os.readlink(f"/proc/self/fd/{handle}"), target.exists()))
        fsync(handle)

    monkeypatch.setattr("os.fsync", record)
    await blobs.commit(spool.path, _id(1))
    assert calls == [(str(spool.path), False), (str(target.parent), True)]


def test_permission_is_the_owners_alone(blobs: Blobs) -> None:
    assert blobs.path_of(_id(1)).parent.stat().st_mode & 0o077 == 0


def test_a_discarded_body_is_gone(blobs: Blobs) -> None:
    spool = blobs.create(_id(1))
    spool.write(b"x")
    spool.discard()
    assert list(blobs.files()) == []


def test_a_missing_body_says_so(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        blobs.open(_id(9))
    blobs.remove(_id(9))


def test_a_full_disk_is_told_from_other_failures(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, expected in ((errno.ENOSPC, BlobFull), (errno.EDQUOT, BlobFull), (errno.EIO, BlobError)):

        def fail(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(BlobError) as caught:
            blobs.store(_id(1), b"x")
        assert type(caught.value) is expected
        assert list(blobs.files()) == []


def test_sweep_spares_what_is_known_and_what_is_young(blobs: Blobs) -> None:
    for number in (1, 2, 3):
        blobs.store(_id(number), b"x")
    coming = blobs.create(_id(4))
    for path, age in ((blobs.path_of(_id(1)), 10), (blobs.path_of(_id(2)), 100), (blobs.path_of(_id(3)), 100)):
        os.utime(path, (NOW - age,) * 2)
    os.utime(coming.path, (NOW - 10,) * 2)
    assert blobs.sweep({_id(2)}, older_than=50) == 1
    assert [blobs.has(_id(number)) for number in (1, 2, 3)] == [True, True, False]
    assert blobs.sweep({_id(2)}) == 2
    assert [blobs.has(_id(number)) for number in (1, 2)] == [False, True]
    coming.close()


async def test_while_kept_nothing_is_removed(blobs: Blobs) -> None:
    blobs.store(_id(1), b"x")
    blobs.store(_id(2), b"x")
    async with blobs.kept():
        blobs.remove(_id(1))
        assert blobs.sweep(set()) == 0
        assert blobs.has(_id(1))
    assert not blobs.has(_id(1))
    assert blobs.has(_id(2))


async def test_only_one_keeps_at_a_time(blobs: Blobs) -> None:
    blobs.store(_id(1), b"x")
    order: list[str] = []

    async def second() -> None:
        async with blobs.kept():
            order.append("second")

    async with blobs.kept():
        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        blobs.remove(_id(1))
        order.append("first")
    await task
    assert order == ["first", "second"]
    assert not blobs.has(_id(1))


def test_ids_are_spread_over_the_directories(blobs: Blobs) -> None:
    parents = {blobs.path_of(_id(1000 + number)).parent for number in range(64)}
    assert len(parents) == 64
