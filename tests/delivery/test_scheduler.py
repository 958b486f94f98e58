"""The scheduler's duties, on a real queue with a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from relayd.mail.reply import Reply
from relayd.queue.failure import QueueUnavailable
from relayd.queue.message import Job, NewMessage, Outcome, Result, State
from relayd.routing.next_hop import NextHop
from relayd.routing.options import BreakerOptions, RouteOptions
from tests.delivery.stage import (
    Stage,
    bounced,
    deferred,
    delivered,
    jobs_of,
    outcomes_of,
    router,
    settings,
    stage,
)

DAY = 86400.0


async def test_new_mail_goes_out_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        id = await it.send("b@dest.example")
        await it.attempts_made(1)
        assert await it.rows(id) == ()
        assert it.attempts.started[0].body is not None  # handed over in memory
        assert (await it.queue.audit()).difference == 0


async def test_one_job_for_the_recipients_of_one_destination(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        await it.send("b@one.example", "c@two.example", "d@one.example")
        await it.attempts_made(2)
        made = {job.destination: [each.address for each in job.message.recipients] for job in it.attempts.started}
        assert made == {"one.example": ["b@one.example", "d@one.example"], "two.example": ["c@two.example"]}


async def test_deferred_mail_is_tried_again_by_the_schedule(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        started = it.clock.now
        id = await it.send("b@dest.example")
        await it.attempts_made(1)
        (row,) = await it.rows(id)
        assert (row.state, row.attempts, row.next_attempt) == (State.TEMP_FAIL, 1, started + 120)
        (event,) = it.of_kind("delivery.deferred")
        assert event.fields["next_retry"] == started + 120
        await it.pass_time(119)
        await it.idle()
        assert len(it.attempts.started) == 1
        await it.pass_time(1)
        await it.attempts_made(2)
        (row,) = await it.rows(id)
        assert (row.attempts, row.next_attempt) == (2, it.clock.now + 300)
        it.attempts.answer = delivered
        await it.pass_time(300)
        await it.attempts_made(3)
        assert await it.rows(id) == ()
        assert (await it.queue.audit()).difference == 0


async def test_the_timer_itself_wakes_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        id = await it.send("b@dest.example")
        await it.attempts_made(1)
        (row,) = await it.rows(id)
        it.clock.now = row.next_attempt - 0.2
        it.scheduler.changed()  # it sees that a fifth of a second is left, and sleeps that long
        await it.until(lambda: it.scheduler.stats().running == 0)
        assert len(it.attempts.started) == 1
        it.clock.now = row.next_attempt
        await it.attempts_made(2)


async def test_it_never_sleeps_longer_than_a_minute(tmp_path: Path) -> None:
    async with stage(tmp_path, run=False) as it:
        it.attempts.answer = deferred
        new = it.new("b@dest.example", leased=True)
        await it.queue.enqueue(new)
        it.scheduler.take(jobs_of(new, it.clock.now + 3600)[0])
        await it.attempts_made(1)
        it.clock.now += 1
        found = await it.scheduler._leasing.look(it.clock.now, lambda attempts, now: now + 1, ())
        assert found.jobs == []
        assert 0 < found.delay <= 60


async def test_mail_that_was_never_tried_does_not_expire(tmp_path: Path) -> None:
    """Paused for ten days, twice the expiry: the first attempt is made, and may succeed."""
    async with stage(tmp_path) as it:
        await it.queue.pause("ann", "moving house")
        id = await it.send("b@dest.example")
        await it.pass_time(10 * DAY)
        await it.idle()
        assert it.attempts.started == []
        assert len(await it.rows(id)) == 1
        await it.queue.resume("ann")
        await it.attempts_made(1)
        assert await it.rows(id) == ()
        assert await it.generated() == []


async def test_mail_expires_by_an_attempt_that_fails_past_its_expiry(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        id = await it.send("b@dest.example", trusted=False)  # nobody is told of the delay
        made = 1
        await it.attempts_made(made)
        while rows := await it.rows(id):
            assert rows[0].next_attempt <= rows[0].expires
            it.clock.now = rows[0].next_attempt
            it.scheduler.changed()
            made += 1
            await it.attempts_made(made)
        assert it.clock.now == it.attempts.started[-1].message.recipients[0].expires
        assert [event.fields["to"] for event in it.of_kind("delivery.expired")] == ["b@dest.example"]
        assert made == 66
        audit = await it.queue.audit()
        assert audit.counters["expired"] == 1
        assert audit.difference == 0


async def test_an_attempt_that_was_not_made_neither_counts_nor_expires(tmp_path: Path) -> None:
    def busy(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
        return [
            replace(each, uncounted=True)
            for each in outcomes_of(job, Result.DEFERRED, Reply(451, "4.3.2", "no connection is free"))
        ]

    async with stage(tmp_path) as it:
        it.attempts.answer = busy
        await it.queue.pause("ann", "")
        id = await it.send("b@dest.example")
        await it.pass_time(6 * DAY)
        await it.queue.resume("ann")
        await it.attempts_made(1)
        (row,) = await it.rows(id)
        assert row.attempts == 0
        assert it.clock.now < row.next_attempt <= it.clock.now + 60


async def test_an_exception_of_an_attempt_defers(tmp_path: Path) -> None:
    def fail(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
        raise KeyError("bug")

    async with stage(tmp_path) as it:
        it.attempts.answer = fail
        id = await it.send("b@dest.example")
        await it.attempts_made(1)
        (row,) = await it.rows(id)
        assert (row.state, row.attempts) == (State.TEMP_FAIL, 1)
        (event,) = it.of_kind("delivery.failed")
        assert event.fields["queue_id"] == id
        it.attempts.answer = delivered
        await it.pass_time(120)
        await it.attempts_made(2)
        assert await it.rows(id) == ()


async def test_a_recipient_the_attempt_forgot_is_deferred(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = lambda job, next_hop: delivered(job, next_hop)[:1]
        id = await it.send("b@dest.example", "c@dest.example")
        await it.attempts_made(1)
        assert [each.state for each in await it.rows(id)] == [State.COMPLETED, State.TEMP_FAIL]


async def test_a_pause_is_heeded_at_once_and_gives_back_what_waits(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.close("dest.example")
        ids = [await it.send("b@dest.example") for _ in range(30)]
        await it.until(lambda: len(it.attempts.started) == 20)
        assert it.scheduler.stats().waiting == 10
        await it.queue.pause("ann", "enough")
        it.attempts.open("dest.example")
        await it.until(lambda: it.scheduler.stats().waiting == 0)
        await it.idle()
        assert len(it.attempts.started) == 20
        left = [row for id in ids for row in await it.rows(id)]
        assert [row.attempts for row in left] == [0] * 10
        assert not it.scheduler.admit("dest.example", "x", 1)
        await it.queue.resume("ann")
        await it.attempts_made(30)
        assert (await it.queue.audit()).difference == 0


async def test_a_suspended_destination_waits_and_others_do_not(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        await it.queue.suspend("slow.example", it.clock.now + 600, "ann", "")
        await it.until(lambda: not it.scheduler.admit("slow.example", "x", 1))
        await it.send("b@slow.example")
        await it.send("b@fast.example")
        await it.attempts_made(1)
        assert [job.destination for job in it.attempts.started] == ["fast.example"]
        await it.pass_time(601)
        await it.attempts_made(2)
        assert it.attempts.started[1].destination == "slow.example"
        assert [event.fields["id"] for event in it.of_kind("delivery.resumed")] == ["slow.example"]


async def test_a_route_whose_first_attempts_bounce_is_suspended(tmp_path: Path) -> None:
    using = settings(breaker=BreakerOptions(attempts=50))
    routing = router({"smart": RouteOptions(address="smtp.example")}, default="smart")
    async with stage(tmp_path, using=using, routing=routing) as it:
        it.attempts.answer = bounced
        for number in range(60):
            await it.send(f"user{number}@dest{number}.example")
        await it.idle()
        (event,) = it.of_kind("delivery.suspended")
        assert event.fields["id"] == "route:smart"
        assert event.fields["due"] == it.clock.now + 900
        assert 50 <= len(it.attempts.started) < 60 + 50  # reports count for first attempts, too
        made = len(it.attempts.started)
        await it.send("late@dest.example")
        await it.pass_time(60)
        await it.idle()
        assert len(it.attempts.started) == made
        it.attempts.answer = delivered
        await it.pass_time(841)
        await it.until(lambda: len(it.attempts.started) > made)


async def test_mail_moves_to_its_new_route_after_a_reload(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        id = await it.send("b@dest.example", "c@other.example")
        await it.attempts_made(2)
        routes = {"smart": RouteOptions(address="smtp.example")}
        it.scheduler.reload(settings(), router(routes, {"dest.example": "smart"}))
        await it.pass_time(120)
        await it.attempts_made(4)
        assert {each.key for each in it.attempts.hops[2:]} == {"other.example", "route:smart"}
        rows = {row.address: (row.destination, row.attempts) for row in await it.rows(id)}
        assert rows == {"b@dest.example": ("route:smart", 2), "c@other.example": ("other.example", 2)}


async def test_drain_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.close("dest.example")
        ids = [await it.send("b@dest.example") for _ in range(25)]
        await it.until(lambda: len(it.attempts.started) == 20)
        draining = asyncio.create_task(it.scheduler.drain(10))
        await it.until(lambda: it.scheduler.stats().draining)
        assert not it.scheduler.admit("dest.example", "x", 1)
        it.attempts.open("dest.example")
        await draining
        left = [row for id in ids for row in await it.rows(id)]
        assert len(it.attempts.started) == 20
        assert [row.attempts for row in left] == [0] * 5


async def test_drain_leaves_to_the_schedule_what_does_not_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        started = it.clock.now
        it.attempts.close("dest.example")
        id = await it.send("b@dest.example")
        await it.until(lambda: len(it.attempts.started) == 1)
        await it.scheduler.drain(0.01)
        (row,) = await it.rows(id)
        assert (row.attempts, row.next_attempt) == (1, started + 120)


async def test_a_restart_takes_up_what_was_left(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        id = await it.send("b@dest.example")
        await it.attempts_made(1)
        clock = it.clock
    clock.now += 120
    async with stage(tmp_path, clock=clock) as it:
        await it.attempts_made(1)
        assert it.attempts.started[0].message.id == id
        assert it.attempts.started[0].message.recipients[0].attempts == 2
        assert it.attempts.started[0].body is None


async def test_nothing_starts_below_the_hard_floor(tmp_path: Path) -> None:
    space = [False]
    async with stage(tmp_path, may_attempt=lambda: space[0]) as it:
        id = await it.send("b@dest.example")
        await it.pass_time(1)
        await it.idle()
        assert it.attempts.started == []
        space[0] = True
        it.scheduler.changed()
        await it.attempts_made(1)
        assert await it.rows(id) == ()


async def test_an_outcome_is_kept_until_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(tmp_path) as it:
        broken = Broken(it)
        monkeypatch.setattr(it.queue, "settle", broken.settle)
        it.scheduler._recorder.patience = 0.005
        id = await it.send("b@dest.example")
        await it.until(lambda: broken.refused > 2)
        assert it.scheduler.stalled
        assert not it.scheduler.admit("other.example", "x", 1)
        other = await it.send("b@other.example")  # goes to disk
        await it.pass_time(1)
        assert len(it.attempts.started) == 1
        broken.works = True
        await it.attempts_made(2)
        assert await it.rows(id) == ()
        assert await it.rows(other) == ()
        assert not it.scheduler.stalled
        assert (await it.queue.audit()).difference == 0


async def test_a_record_the_queue_chokes_on_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as it:
        choke = Broken(it, error=ValueError("bug"))
        monkeypatch.setattr(it.queue, "settle", choke.settle)
        it.scheduler._recorder.patience = 0.001
        id = choke.only = await it.send("b@dest.example")
        other = await it.send("b@other.example")
        await it.attempts_made(2)
        assert await it.rows(other) == ()
        assert choke.refused == 3
        (row,) = await it.rows(id)  # deferred instead: sent twice, not lost
        assert (row.state, row.next_attempt) == (State.TEMP_FAIL, it.clock.now + 120)


async def test_a_lease_is_given_back_until_the_queue_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[Job] = []

    async with stage(tmp_path) as it:
        release = it.queue.release_leases

        async def refuse(job: Job) -> None:
            if len(refusals) < 3:
                refusals.append(job)
                raise QueueUnavailable("disk on fire")
            await release(job)

        monkeypatch.setattr(it.queue, "release_leases", refuse)
        it.scheduler._recorder.patience = 0.001
        new = it.new("b@dest.example", leased=True)
        await it.queue.enqueue(new)
        await it.queue.pause("ann", "")
        it.scheduler.take(jobs_of(new, it.clock.now + 3600)[0])
        await it.until(lambda: len(refusals) == 3 and not it.scheduler.stalled)
        await it.idle()
        (row,) = await it.rows(new.id)
        assert (row.attempts, row.next_attempt) == (0, it.clock.now)


class Broken:
    """Settles nothing until `works`; or with `only`, nothing of that message but deferrals."""

    def __init__(self, it: Stage, error: Exception | None = None) -> None:
        self._settle = it.queue.settle
        self._error = error or QueueUnavailable("disk on fire")
        self.works = False
        self.only = 0
        self.refused = 0

    async def settle(self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage] = ()) -> bool:
        good = self.works
        if self.only:
            good = job.message.id != self.only or outcomes[0].result is Result.DEFERRED
        if not good:
            self.refused += 1
            raise self._error
        return await self._settle(job, outcomes, generated)


async def test_a_fault_between_attempt_and_record_strands_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise TypeError("a bug of ours")

    def one_each(job: Job, hop: NextHop) -> list[Outcome]:
        first, second = job.message.recipients
        done, later = delivered(job, hop), deferred(job, hop)
        return [each for each in done if each.number == first.number] + [
            each for each in later if each.number == second.number
        ]

    async with stage(tmp_path) as it:
        it.attempts.answer = one_each
        monkeypatch.setattr(it.scheduler._bounces, "are_due", broken)
        id = await it.send("b@dest.example", "c@dest.example")
        await it.attempts_made(1)
        await it.idle()
        states = {row.address: row.state for row in await it.rows(id)}
        assert states == {"b@dest.example": State.COMPLETED, "c@dest.example": State.TEMP_FAIL}
        assert "a bug of ours" in it.of_kind("delivery.failed")[0].fields["reason"]
        monkeypatch.undo()
        it.attempts.answer = delivered
        await it.pass_time(140)
        await it.attempts_made(2)
        assert await it.rows(id) == ()
