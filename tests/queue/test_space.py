"""Room: when mail is put off and when nothing new is attempted."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.queue.options import LimitOptions, SpaceOptions
from tests.queue.conftest import Rig

MB = 1 << 20
GB = 1 << 30


async def test_below_min_free_mail_is_put_off_and_told_when_it_is_over(rig: Rig) -> None:
    space = rig.o.space
    rig.free = GB
    rig.clock.now += 2
    assert space.check() is None
    assert space.is_ready
    refusal = space.check(10)  # the announced size counts
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (452, "4.3.1")
    rig.free = GB - 1
    assert space.check() is None  # an answer is good for a second
    rig.clock.now += 1
    assert space.check() is not None
    assert not space.is_ready
    assert space.may_attempt
    assert rig.kinds().count("queue.space-low") == 1
    rig.free = 2 * GB
    rig.clock.now += 1
    assert space.is_ready
    assert rig.kinds().count("queue.space-ok") == 1


async def test_below_the_hard_floor_nothing_new_is_attempted(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    changed: list[int] = []
    rig.o.queue.on_change = lambda: changed.append(1)
    rig.free = GB // 8 - 1
    rig.clock.now += 2
    assert not rig.o.space.may_attempt
    await rig.o.upkeep.tick()
    assert await rig.lease() == []
    assert await rig.o.queue.next_due(()) is None
    rig.free = GB // 8
    rig.clock.now += 2
    assert not changed
    await rig.o.upkeep.tick()
    assert changed
    assert len(await rig.lease()) == 1


async def test_a_disk_that_cannot_be_asked_has_no_room(rig: Rig) -> None:
    def measure(_: Path) -> int:
        raise OSError("gone")

    rig.o.space._measure = measure
    rig.clock.now += 2
    assert rig.o.space.check() is not None
    assert not rig.o.space.may_attempt


async def test_a_clock_set_back_does_not_freeze_the_answer(rig: Rig) -> None:
    assert rig.o.space.is_ready
    rig.free = 0
    rig.clock.now -= 10_000
    assert not rig.o.space.is_ready


@pytest.mark.parametrize("limits", [LimitOptions(messages=2), LimitOptions(bytes=100)])
async def test_the_queue_takes_no_more_than_its_limits(rig: Rig, limits: LimitOptions) -> None:
    rig.o.space.configure(SpaceOptions(), limits)
    await rig.o.queue.enqueue(rig.new())
    assert rig.o.space.is_ready
    await rig.o.queue.enqueue(rig.new())
    await rig.o.queue.enqueue(rig.new())
    for _ in range(2):
        refusal = rig.o.space.check()
        assert refusal is not None
        assert refusal.code == 452
    assert not rig.o.space.is_ready
    assert rig.kinds().count("limit.quota-exceeded") + rig.kinds().count("queue.quota-exceeded") == 1
    rig.o.space.configure(SpaceOptions(), LimitOptions(bytes=1000))
    assert rig.o.space.check(100) is None
    assert rig.o.space.check(1000) is not None


async def test_the_reserve_is_real_room(rig: Rig) -> None:
    reserve = rig.directory / "reserve"
    assert reserve.stat().st_blocks * 512 >= rig.options.reserve
    assert rig.o.space.release_reserve()
    assert not rig.o.space.release_reserve()
    rig.free = GB
    rig.clock.now += 2
    assert not rig.o.space.tend_reserve()  # it must not eat what is kept free
    rig.free = 2 * GB
    rig.clock.now += 2
    assert rig.o.space.tend_reserve()
    assert reserve.exists()
