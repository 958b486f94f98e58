"""Nobody waits behind another: slots between destinations, turns between senders."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from relayd.queue.message import Job, NewMessage
from relayd.routing.options import ConcurrencyOptions
from tests.delivery.stage import Stage, jobs_of, settings, stage

SMALL = ConcurrencyOptions(total=50, per_destination=5, waiting=400, waiting_per_destination=40)


async def test_concurrency_of_a_destination_is_bounded(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(concurrency=SMALL)) as it:
        it.attempts.close("slow.example")
        for _ in range(12):
            await it.send("b@slow.example")
        await it.until(lambda: len(it.attempts.started) == 5)
        (lane,) = it.scheduler.stats().destinations
        assert (lane.running, lane.waiting) == (5, 7)
        it.attempts.open("slow.example")
        await it.attempts_made(12)
        assert it.attempts.peak["slow.example"] == 5


async def test_slow_destinations_leave_slots_for_others(tmp_path: Path) -> None:
    """Twenty tarpits with more mail than all slots together: the next destination starts at once."""
    async with stage(tmp_path, using=settings(concurrency=SMALL)) as it:
        for number in range(20):
            it.attempts.close(f"slow{number}.example")
            for _ in range(10):
                await it.send(f"b@slow{number}.example")
        await it.until(lambda: len(it.attempts.started) >= 20)
        before = len(it.attempts.started)
        for number in range(5):
            await it.send(f"b@fast{number}.example")
        fast = {f"fast{number}.example" for number in range(5)}
        await it.until(lambda: fast <= {job.destination for job in it.attempts.started[before:]})


async def test_senders_take_turns_in_memory(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(concurrency=SMALL)) as it:
        it.attempts.close("dest.example")
        for _ in range(15):
            await it.send("b@dest.example", sender_key="mass")
        await it.send("b@dest.example", sender_key="one")
        await it.send("b@dest.example", sender_key="two")
        it.attempts.open("dest.example")
        await it.attempts_made(17)
        assert set(it.attempts.senders()[5:8]) == {"mass", "one", "two"}


async def test_the_overflow_waits_on_disk_and_all_of_it_goes_out(tmp_path: Path) -> None:
    async with stage(tmp_path, using=settings(concurrency=SMALL)) as it:
        it.attempts.close("dest.example")
        for _ in range(120):
            await it.send("b@dest.example")
        assert it.scheduler.stats().waiting <= 40
        it.attempts.open("dest.example")
        await it.attempts_made(120)
        await it.until(lambda: it.queue.totals.messages == 0)
        assert sum(job.body is None for job in it.attempts.started) > 50
        assert len({job.message.id for job in it.attempts.started}) == 120
        assert (await it.queue.audit()).difference == 0


async def test_bodies_over_the_bound_are_left_on_disk(tmp_path: Path) -> None:
    tight = dataclasses.replace(SMALL, waiting_octets=300)
    async with stage(tmp_path, using=settings(concurrency=tight)) as it:
        it.attempts.close("dest.example")
        for _ in range(15):
            await it.send("b@dest.example")
        stats = it.scheduler.stats()
        assert (stats.waiting, stats.waiting_octets <= 300) == (10, True)
        it.attempts.open("dest.example")
        await it.attempts_made(15)
        assert it.scheduler.stats().waiting_octets == 0
        assert sum(job.body is None for job in it.attempts.started) >= 5


async def test_a_message_on_disk_gets_its_turn_before_the_mass_in_memory(tmp_path: Path) -> None:
    """The other sender's message was deferred once: it is on disk while memory is full of the mass."""
    async with stage(tmp_path, using=settings(concurrency=SMALL)) as it:
        it.attempts.close("dest.example")
        for _ in range(100):
            await it.send("b@dest.example", sender_key="mass")
        await it.until(lambda: it.scheduler.stats().waiting > 0)
        await it.queue.enqueue(it.new("b@dest.example", sender_key="other"))
        await it.pass_time(2)  # one look for the sake of those on disk
        await it.until(lambda: it.scheduler.stats().destinations[0].senders == 2)
        made = len(it.attempts.started)
        it.attempts.open("dest.example")
        await it.until(lambda: "other" in it.attempts.senders())
        assert it.attempts.senders().index("other") <= made + 6


async def _pile(it: Stage, messages: int, recipients: int) -> None:
    """Queue a mass of due mail of one sender, on disk."""
    work = [
        it.new(*[f"user{number}@dest.example" for number in range(recipients)], sender_key="mass")
        for _ in range(messages)
    ]
    for start in range(0, messages, 1000):
        await asyncio.gather(*(it.queue.enqueue(new) for new in work[start : start + 1000]))


@pytest.mark.parametrize("messages", [2_000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_one_message_starts_soon_behind_a_mass(tmp_path: Path, messages: int, where: str) -> None:
    """A mass of one sender is being delivered, slowly; another's message starts within 5 seconds of the clock."""
    async with stage(tmp_path) as it:
        it.attempts.close("dest.example")
        await _pile(it, messages, 1)
        await it.until(lambda: len(it.attempts.started) == 20, seconds=60)
        began = it.clock.now
        if where == "memory":
            await it.send("b@dest.example", sender_key="other")
        else:
            await it.queue.enqueue(it.new("b@dest.example", sender_key="other"))
        while "other" not in it.attempts.senders():
            # A second passes, the scheduler looks at the queue, and each of the twenty attempts that run ends.
            looks = it.looks
            await it.pass_time(1.0)
            await it.until(lambda looks=looks: it.looks > looks)  # type: ignore[misc]
            gate = it.attempts.gates["dest.example"]
            it.attempts.close("dest.example")
            made = len(it.attempts.started)
            gate.set()
            await it.until(lambda made=made: len(it.attempts.started) >= made + 20)  # type: ignore[misc]
            await it.until(lambda: it.scheduler.stats().unrecorded == 0)
            assert it.clock.now - began < 5
        it.attempts.open("dest.example")
        await it.queue.pause("test", "the rest is not of interest")


async def test_a_second_batch_of_the_same_message_waits_a_little(tmp_path: Path) -> None:
    """Recipients of one message and destination that are due at different times are not in two attempts at once."""
    async with stage(tmp_path) as it:
        it.attempts.close("dest.example")
        new: NewMessage = it.new("b@dest.example", "c@dest.example", leased=True)
        held = replace(new.recipients[1], next_attempt=it.clock.now)
        new = replace(new, leased=False, recipients=(replace(new.recipients[0], next_attempt=it.clock.now), held))
        later = replace(new.recipients[1], next_attempt=it.clock.now + 60)
        new = replace(new, recipients=(new.recipients[0], later))
        await it.queue.enqueue(new)
        await it.until(lambda: len(it.attempts.started) == 1)
        await it.pass_time(60)
        await it.until(lambda: it.queue.unrecorded == 0)
        first: Job = it.attempts.started[0]
        assert [each.address for each in first.message.recipients] == ["b@dest.example"]
        it.attempts.open("dest.example")
        await it.idle()
        await it.pass_time(61)
        await it.attempts_made(2)
        assert await it.rows(new.id) == ()
        assert jobs_of(new, 0.0)
