"""Turns: who is served next when many wait."""

from __future__ import annotations

from collections import Counter

from relayd.queue.message import Result
from tests.queue.conftest import Rig, outcomes


async def _fill(rig: Rig, sender: str, destination: str, count: int, due: float | None = None) -> None:
    for number in range(count):
        await rig.o.queue.enqueue(rig.new(f"to{number}@{destination}", sender=sender, due=due))


async def test_senders_take_turns_within_a_destination(rig: Rig) -> None:
    await _fill(rig, "busy@x", "a.example", 30)
    rig.clock.now += 1
    await _fill(rig, "quiet@x", "a.example", 1)
    jobs = await rig.lease(limit=4, per_destination=4)
    assert Counter(job.message.sender_key for job in jobs) == {"busy@x": 3, "quiet@x": 1}


async def test_a_late_comer_is_not_behind_all_who_came_before(rig: Rig) -> None:
    for number in range(10):
        await _fill(rig, f"busy{number}@x", "a.example", 3)
    await rig.lease(limit=10, per_destination=5)  # five of the ten have had a turn
    rig.clock.now += 1
    await _fill(rig, "quiet@x", "a.example", 1)
    jobs = await rig.lease(limit=10, per_destination=10)
    senders = [job.message.sender_key for job in jobs]
    assert set(senders[:5]) == {f"busy{number}@x" for number in range(5, 10)}  # they wait longer
    assert set(senders[5:]) == {f"busy{number}@x" for number in range(5)}
    (job,) = await rig.lease(limit=1)
    assert job.message.sender_key == "quiet@x"


async def test_turns_go_round_even_when_the_clock_stands_still(rig: Rig) -> None:
    await _fill(rig, "a@x", "a.example", 3)
    await _fill(rig, "b@x", "a.example", 3)
    await _fill(rig, "c@x", "b.example", 3)
    taken = [(await rig.lease(limit=1))[0] for _ in range(9)]
    assert [job.destination for job in taken[:4]].count("b.example") == 2
    senders = [job.message.sender_key for job in taken if job.destination == "a.example"]
    assert senders[0] != senders[1]
    assert await rig.lease() == []


async def test_destinations_take_turns(rig: Rig) -> None:
    for name in "abcd":
        await _fill(rig, f"{name}@x", f"{name}.example", 5)
    jobs = await rig.lease(limit=8)
    assert Counter(job.destination for job in jobs) == {f"{name}.example": 2 for name in "abcd"}
    jobs = await rig.lease(limit=100, per_destination=2)
    assert Counter(job.destination for job in jobs) == {f"{name}.example": 2 for name in "abcd"}


async def test_a_saturated_destination_is_stepped_over(rig: Rig) -> None:
    await _fill(rig, "a@x", "a.example", 5)
    rig.clock.now += 1
    await _fill(rig, "a@x", "b.example", 1)
    jobs = await rig.lease(saturated=("a.example",), limit=1)
    assert [job.destination for job in jobs] == ["b.example"]
    assert await rig.o.queue.next_due(("a.example",)) is None
    due = await rig.o.queue.next_due(())
    assert due is not None
    assert due <= rig.clock.now


async def test_each_destination_may_have_its_own_share(rig: Rig) -> None:
    await _fill(rig, "a@x", "a.example", 5)
    await _fill(rig, "a@x", "b.example", 30)
    jobs = await rig.o.queue.lease_due(
        rig.clock.now, per_destination={"a.example": 1}, limit=100, saturated=(), retry_at=lambda attempts, now: now + 1
    )
    assert Counter(job.destination for job in jobs) == {"a.example": 1, "b.example": 20}


async def test_the_next_due_time_is_found(rig: Rig) -> None:
    assert await rig.o.queue.next_due(()) is None
    await _fill(rig, "a@x", "a.example", 1, due=rig.clock.now + 500)
    await _fill(rig, "b@x", "a.example", 1, due=rig.clock.now + 300)
    await _fill(rig, "b@x", "b.example", 1, due=rig.clock.now + 400)
    assert await rig.o.queue.next_due(()) == rig.clock.now + 300
    assert await rig.o.queue.next_due({"a.example"}) == rig.clock.now + 400
    rig.clock.now += 350
    (job,) = await rig.lease(limit=1)
    assert await rig.o.queue.next_due(()) == rig.clock.now + 50
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED, next_attempt=rig.clock.now + 10))
    assert await rig.o.queue.next_due(()) == rig.clock.now + 10


async def test_a_wake_that_came_too_early_is_put_right(rig: Rig) -> None:
    await _fill(rig, "a@x", "a.example", 2, due=rig.clock.now)
    jobs = await rig.lease()
    for job in jobs:
        await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.o.queue.next_due(()) is None
    assert await rig.lease() == []


async def test_recipients_of_one_destination_make_one_job(rig: Rig) -> None:
    addresses = [f"u{number}@a.example" for number in range(300)]
    await rig.o.queue.enqueue(rig.new(*addresses))
    (job,) = await rig.lease(limit=10)
    assert [to.address for to in job.message.recipients] == addresses
    parts = outcomes(job, Result.DELIVERED)[:299]
    await rig.o.queue.settle(job, [*parts, outcomes(job, Result.DEFERRED, next_attempt=rig.clock.now)[299]])
    assert await rig.holds() == 1
    (job,) = await rig.lease()
    assert [to.number for to in job.message.recipients] == [299]
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.holds() == 0
