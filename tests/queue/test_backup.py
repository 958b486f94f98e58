"""A copy of a running relay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relayd.events.event import EventStream, Span
from relayd.queue import backup as module
from relayd.queue.backup import BackupError, backup
from relayd.queue.filter import Filter
from relayd.queue.message import Result
from tests.queue.conftest import Rig, outcomes

LARGE = b"x" * 90_000


async def _backup(rig: Rig, target: Path) -> module.Backup:
    return await backup(rig.o, target, rig.clock, Span(EventStream(rig.clock, [rig.events.append])))


async def test_the_copy_starts_paused_and_says_why(rig: Rig, tmp_path: Path) -> None:
    small, large = rig.new("one@a.example"), rig.new("two@b.example", content=LARGE)
    for new in (small, large):
        await rig.o.queue.enqueue(new)
    await rig.lease(limit=1)  # in flight here
    result = await _backup(rig, tmp_path / "copy")
    assert result.bodies == 1
    assert result.size > len(LARGE)
    assert "store.backup" in rig.kinds()

    copy = Rig(tmp_path / "copy", clock=rig.clock)
    await copy.open()
    pause = copy.o.queue.paused
    assert pause is not None
    assert pause.reason == "restored from a backup of 2027-01-15T08:00:00Z"
    assert copy.o.recovery.voided == 0  # the copy works on nothing
    assert copy.o.recovery.corrupt == ()
    assert await copy.lease() == []
    await copy.o.queue.resume("ann")
    rig.clock.now += 3600
    jobs = await copy.lease()
    assert {job.message.id for job in jobs} == {small.id, large.id}
    for job in jobs:
        source = await copy.o.queue.open_body(job.message.id)
        assert len(await source.read(1 << 20)) + len(await source.read(1 << 20)) == source.size
        source.close()
        await copy.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await copy.holds() == 0
    await copy.o.close()
    assert rig.o.blobs.has(large.id)  # removing the copy's file left the original's
    assert rig.o.queue.paused is None


async def test_mail_that_leaves_while_the_copy_is_made_is_in_it(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    (job,) = await rig.lease()
    original = rig.o.database.copy_to

    async def copy_to(path: Path) -> None:
        await original(path)
        await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
        await rig.o.queue.enqueue(rig.new(content=LARGE))

    monkeypatch.setattr(rig.o.database, "copy_to", copy_to)
    await _backup(rig, tmp_path / "copy")
    assert not rig.o.blobs.has(new.id)  # removed in the end
    copy = Rig(tmp_path / "copy", clock=rig.clock)
    await copy.open()
    assert (await copy.o.queue.list(Filter()))[0] == [new.id]
    assert copy.o.recovery.corrupt == ()
    assert copy.o.blobs.has(new.id)
    assert await copy.holds() == 1
    await copy.o.close()


async def test_mail_goes_on_while_the_copy_is_made(rig: Rig, tmp_path: Path) -> None:
    async def load() -> None:
        for _ in range(50):
            await rig.o.queue.enqueue(rig.new())

    await asyncio.gather(load(), _backup(rig, tmp_path / "copy"))
    assert await rig.holds() == 50
    copy = Rig(tmp_path / "copy", clock=rig.clock)
    await copy.open()
    await copy.holds()
    await copy.o.close()


async def test_a_directory_with_something_in_it_is_refused(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "precious").touch()
    with pytest.raises(BackupError, match="not an empty directory"):
        await _backup(rig, tmp_path / "copy")


async def test_bodies_are_copied_where_they_cannot_be_linked(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(18, "another file system")

    monkeypatch.setattr("os.link", link)
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    await _backup(rig, tmp_path / "copy")
    copy = Rig(tmp_path / "copy", clock=rig.clock)
    await copy.open()
    assert copy.o.blobs.path_of(new.id).read_bytes() == LARGE
    await copy.o.close()


async def test_a_copy_that_failed_does_not_start_as_one(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy_bodies", fail)
    with pytest.raises(BackupError, match="No space left"):
        await _backup(rig, tmp_path / "copy")
    assert not (tmp_path / "copy" / "queue.db").exists()
