"""The crash table: what start-up and the hourly look put right."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from relayd.database.interface import NewerSchema
from relayd.queue.failure import BodyMissing
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Result
from tests.queue.conftest import Rig, outcomes

LARGE = b"x" * 90_000


async def test_q1_files_of_no_message_are_swept_at_start(rig: Rig) -> None:
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    rig.o.blobs.store(12345 << 21, b"committed, no rows")
    rig.o.blobs.create(77).close()  # was coming in
    await rig.reopen()
    assert rig.o.recovery.swept == 2
    assert not rig.o.blobs.has(12345 << 21)
    assert rig.o.blobs.has(new.id)
    assert list((rig.directory / "spool" / "incoming").iterdir()) == []


async def test_q1_hourly_only_when_an_hour_old(rig: Rig) -> None:
    blobs = rig.o.blobs
    kept = rig.new(content=LARGE)
    await rig.o.queue.enqueue(kept)
    old, young = 1 << 21, 2 << 21
    blobs.store(old, b"old")
    blobs.store(young, b"young")
    for id, age in ((old, 3700), (young, 3500), (kept.id, 9000)):
        os.utime(blobs.path_of(id), (rig.clock.now - age,) * 2)
    await rig.o.upkeep.hourly()
    assert (blobs.has(old), blobs.has(young), blobs.has(kept.id)) == (False, True, True)


async def test_q3_own_leases_are_void_at_start_and_other_nodes_run_out(rig: Rig) -> None:
    own, other = rig.new("one@a.example"), rig.new("two@b.example")
    for new in (own, other):
        await rig.o.queue.enqueue(new)
    await rig.lease(wait=10)
    await rig.o.database.write(
        lambda c: c.execute("UPDATE recipients SET lease_owner = 9 WHERE message_id = ?", (other.id,)) and None
    )
    await rig.reopen()
    rig.clock.now += 20
    assert [job.message.id for job in await rig.lease(wait=1e9)] == [own.id]
    await rig.o.upkeep.hourly()
    assert await rig.lease() == []
    rig.clock.now += rig.options.lease
    await rig.o.upkeep.hourly()
    assert [job.message.id for job in await rig.lease()] == [other.id]


async def test_q4_rows_without_a_body_are_kept_shown_and_never_delivered(rig: Rig) -> None:
    file, inline, good = rig.new(content=LARGE), rig.new(), rig.new(content=LARGE)
    for new in (file, inline, good):
        await rig.o.queue.enqueue(new)
    rig.o.blobs.path_of(file.id).rename(rig.directory / "aside")
    await rig.o.database.write(lambda c: c.execute("DELETE FROM bodies WHERE message_id = ?", (inline.id,)) and None)
    await rig.reopen()
    assert set(rig.o.recovery.corrupt) == {file.id, inline.id}
    assert rig.kinds().count("queue.blob-not-found") == 2
    assert [job.message.id for job in await rig.lease()] == [good.id]
    assert (await rig.o.queue.list(Filter(kind=Kind.CORRUPT)))[0] == [file.id, inline.id]
    assert await rig.holds() == 3
    (rig.directory / "aside").rename(rig.o.blobs.path_of(file.id))  # the operator found it
    await rig.reopen()
    assert rig.o.recovery.corrupt == (inline.id,)
    assert file.id in [job.message.id for job in await rig.lease()]


async def test_a_body_found_missing_while_running(rig: Rig) -> None:
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    (job,) = await rig.lease()
    rig.o.blobs.remove(new.id)
    for _ in range(2):
        with pytest.raises(BodyMissing):
            await rig.o.queue.open_body(new.id)
    assert rig.kinds().count("queue.blob-not-found") == 1
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED, next_attempt=rig.clock.now))
    assert await rig.lease() == []
    assert await rig.holds() == 1


async def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "data")
    await rig.open()
    await rig.o.close()
    path = rig.directory / "queue.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerSchema, match="schema 99"):
        await rig.open()
    assert path.read_bytes() == before
    with pytest.raises(NewerSchema):  # and the lock was let go
        await rig.open()


async def test_upkeep_runs_each_hour(rig: Rig) -> None:
    hours: list[float] = []

    async def hourly() -> None:
        hours.append(rig.clock.now)

    class Enough(Exception):
        pass

    async def sleep(_: float) -> None:
        rig.clock.now += 1000
        if rig.clock.now > 1_800_000_000 + 8000:
            raise Enough

    upkeep = rig.o.upkeep
    upkeep._sleep = sleep
    upkeep.hourly = hourly  # type: ignore[method-assign]
    with pytest.raises(Enough):
        await upkeep.run()
    assert [at - 1_800_000_000 for at in hours] == [4000, 8000]
