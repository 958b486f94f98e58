"""What is delivered when: new mail at once, deferred mail when it is due, each in its turn.

New mail is handed over in memory (`admit`, `take`), already leased by the write that promised it.  What finds no room
in memory, and what was deferred, is leased from the queue when it is due: one task sleeps until the earliest time that
the queue knows of, at most a minute (a clock that jumps is so noticed), and is woken when rows may have become due or
a lane has room.  Every job runs in a task of its own: the attempt holds a slot of its lane, recording the outcome does
not, so that many outcomes ride one commit while the next attempts run.

Guarantees: a slow destination holds no more than its share of slots (`lanes`, `routing.window`); within a destination
senders take turns (`routing.turns`); mail expires only by an attempt that failed past its expiry (`due`); an outcome
is kept until it is recorded, and while one cannot be, nothing new starts (`recording`).  A job of which nothing was
tried gives its lease back uncounted; one that is cancelled in flight is left to the time recorded before the attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from relayd.delivery.bounce import Bounces
from relayd.delivery.due import INTERNAL, conclude, failed, next_of, postponed, retried, unreachable, was_made
from relayd.delivery.lane import LaneStats
from relayd.delivery.lanes import Lanes
from relayd.delivery.leasing import IDLE, Leasing
from relayd.delivery.parts import Attempter, QueueSide, RouterSide
from relayd.delivery.permit import Permit
from relayd.delivery.recording import MOST, Recorder
from relayd.delivery.shaping import CountStore, Shaping
from relayd.delivery.slots import Slot
from relayd.delivery.statements import state
from relayd.delivery.throttle import Throttle
from relayd.events import delivery as events
from relayd.events.event import EventStream, Span
from relayd.mail.reply import Reply
from relayd.options import format_duration
from relayd.queue.message import Job, NewMessage, Outcome, Result
from relayd.reception.admission import Plan
from relayd.routing.breaker import Breaker
from relayd.routing.next_hop import NextHop
from relayd.routing.options import BreakerOptions, ConcurrencyOptions
from relayd.routing.rule import Rules
from relayd.routing.schedule import Schedule
from relayd.routing.shaping.meter import Meter
from relayd.routing.shaping.responses import Action
from relayd.routing.shaping.rules import NO_SHAPING, ShapingRules

LEASE = 3600.0
"""Seconds for which a job is leased: longer than it may wait in memory and be attempted (RFC 5321 §4.5.3.2)."""

LEASE_LEFT = 1200.0
"""Seconds of its lease that a job must have left to be started: the timeouts of one host."""

RECORDING = 5.0
"""Seconds that `drain` gives to recording, when attempts had to be cancelled."""

NO_SPACE = 5.0
"""Seconds after which space is looked at again."""

MOVED = Reply(451, "4.4.4", "The route has changed")
LATE = Reply(451, "4.4.5", "The message waited too long for its turn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The scheduler for people.  unrecorded: outcomes on their way to the database.  stalled: outcomes cannot be
    recorded now.  destinations: those that have work in memory.
    """

    running: int
    waiting: int
    waiting_octets: int
    unrecorded: int
    paused: bool
    stalled: bool
    draining: bool
    destinations: tuple[LaneStats, ...]


@dataclass(slots=True, kw_only=True)
class Settings:
    """What a reload may replace."""

    schedule: Schedule
    concurrency: ConcurrencyOptions
    breaker: BreakerOptions
    shaping: ShapingRules = NO_SHAPING


class Scheduler:
    """Implements `reception.admission.Admission`.

    clock: Unix time.  chance: 0..1.  may_attempt: whether there is space to record another outcome.  counts: where the
    messages of a day are counted for daily caps.
    `run` must be running for deferred mail to be tried; `drain` ends it.
    """

    def __init__(
        self,
        queue: QueueSide,
        attempts: Attempter,
        router: RouterSide,
        bounces: Bounces,
        settings: Settings,
        *,
        stream: EventStream,
        chance: Callable[[], float],
        may_attempt: Callable[[], bool] = lambda: True,
        counts: CountStore | None = None,
    ) -> None:
        self.router = router
        self._queue = queue
        self._attempts = attempts
        self._clock = stream.clock
        self._chance = chance
        self._may_attempt = may_attempt
        self._settings = settings
        self._span = Span(stream)
        self.shaping = Shaping(settings.shaping, self._clock, lambda: self._settings.concurrency.per_destination)
        self._lanes = Lanes(settings.concurrency, self.shaping, self._clock)
        self.throttle = Throttle(self.shaping, self._lanes, self, queue, self._span, counts)
        self._breaker = Breaker(settings.breaker)
        self._bounces = bounces
        self._recorder = Recorder(queue, self._span)
        self._leasing = Leasing(queue, self._lanes, self._clock)
        self._jobs: set[asyncio.Task[None]] = set()
        self._attempting: set[asyncio.Task[None] | None] = set()
        self._active: set[tuple[int, str]] = set()
        self._draining = False
        self._retry_at = self._scheduled_retry
        self._recorder.on_recovery = self.changed
        queue.on_change = self.changed

    # -- reception's side

    @property
    def rules(self) -> Rules:
        """The rules that choose next hops by more than the recipient."""
        return self.router.rules

    def destination(self, address: str, rules: Sequence[str] = ()) -> str:
        """The key of the next hop for an address of a message that `rules` matched."""
        return self.router.destination_by(address, None, rules) if rules else self.router.destination(address)

    def admit(self, destination: str, sender_key: str, recipients: int) -> bool:
        """Whether a message for `destination` may be enqueued leased and handed over with `take`."""
        return self._is_open() and self._lanes.admits(destination, sender_key)

    def take(self, job: Job) -> None:
        """Start on a job whose message is durably queued and leased, or let it wait for its turn."""
        self._active.add((job.message.id, job.destination))
        if not self._is_open():
            self._give_back([job])
            return
        slot = self._lanes.start_at_once(job)
        if slot is None:
            self._lanes.enter(job)
        else:
            self._spawn(slot, job)

    def plan(self, now: float) -> Plan:
        """The times of a message that is queued at `now` (Unix seconds)."""
        schedule = self._settings.schedule
        return Plan(
            leased_until=now + LEASE,
            due_again=schedule.retry_at(1, now, self._chance()),
            first_attempt=schedule.first(now),
            next_notify=schedule.next_notify(now, now),
            expires=schedule.expires(now),
        )

    # -- the daemon's side

    async def run(self) -> None:
        """Lease and start what is due, until `drain`."""
        await self.throttle.open()
        self._learn()
        await self.throttle.lift_gone(self.router.is_known)
        while not self._draining:
            self._learn()
            if self._is_open():
                delay = await self._round()
            else:  # space has no one to say that there is enough again
                delay = IDLE if self._may_attempt() else NO_SPACE
            await self._leasing.sleep(delay)

    async def drain(self, timeout: float) -> None:
        """Start nothing more, wait up to `timeout` seconds for the attempts in flight, cancel the others, record.

        Jobs that were not started go back to the queue uncounted; those cancelled are due when their row says.
        """
        self._draining = True
        self._leasing.wake()
        self._give_back(self._lanes.drain())
        for seconds, tasks in ((timeout, self._attempting), (RECORDING, self._jobs)):
            if self._jobs:
                await asyncio.wait(self._jobs, timeout=seconds)
            for task in [each for each in tasks if each is not None]:
                task.cancel()
        if self._jobs:
            await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.throttle.close()

    def reload(self, settings: Settings, router: RouterSide) -> None:
        """Take another configuration; mail whose destination changed moves when its turn comes."""
        self._settings = settings
        self._breaker.options = settings.breaker
        self._lanes.resize(settings.concurrency)
        if settings.shaping is not self.shaping.rules:
            self.shaping.reconfigure(settings.shaping)
            self._lanes.equip()
        self.router = router
        self._bounces.router = router
        self._bounces.schedule = settings.schedule
        self.changed()
        self.own(self.throttle.lift_gone(router.is_known))

    def changed(self) -> None:
        """Something was queued, released, rescheduled, paused, resumed or suspended: look at it now."""
        self._leasing.wake()

    def stats(self) -> Stats:
        """What runs and waits now."""
        return Stats(
            running=self._lanes.running,
            waiting=self._lanes.waiting,
            waiting_octets=self._lanes.octets,
            unrecorded=len(self._active) - self._lanes.running - self._lanes.waiting,
            paused=self._queue.paused is not None,
            stalled=self.stalled,
            draining=self._draining,
            destinations=tuple(self._lanes.stats()),
        )

    @property
    def stalled(self) -> bool:
        """Whether nothing starts because an outcome cannot be recorded."""
        return self._recorder.stalled or self._queue.unrecorded > 0

    # -- deciding

    def _is_open(self) -> bool:
        """Whether an attempt may start now."""
        return (
            not self._draining
            and not self.stalled
            and self._queue.paused is None
            and self._may_attempt()
            and len(self._active) - self._lanes.waiting - self._lanes.running < MOST
        )

    def start_more(self) -> None:
        """Fill the free slots from what waits."""
        lanes = self._lanes
        while lanes.waiting and self._is_open():
            started = lanes.start_next()
            if started is None:
                if lanes.waits_for_time:
                    self.throttle.arm()
                return
            slot, job = started
            lane = lanes.lane(slot.key)
            if lane.overflow and lanes.is_low(lane):
                self._leasing.wake()
            self._spawn(slot, job)
        if self._leasing.is_hungry and lanes.waiting <= lanes.options.waiting // 2:
            self._leasing.wake()

    def _scheduled_retry(self, attempts: int, now: float) -> float:
        """For the queue: when a row that is leased now is due again if nothing is ever recorded."""
        return self._settings.schedule.retry_at(attempts, now, self._chance())

    def _learn(self) -> None:
        """Ask which destinations are suspended; what waits for them, or for a paused queue, goes back."""
        self.throttle.refresh(self._queue.suspensions())
        self._give_back(self._lanes.drain_suspended())
        if self._queue.paused is not None:
            self._give_back(self._lanes.drain())

    async def _round(self) -> float:
        """Lease what is due and let it in; seconds until the next round."""
        now = self._clock()
        try:
            await self._queue.lapse()
            found = await self._leasing.look(now, self._retry_at, self._active)
        except Exception as error:  # the daemon goes on: new mail needs no lease
            self.report(0, f"due mail could not be leased: {error!r}")
            return 1.0
        for job in found.jobs:
            self._active.add((job.message.id, job.destination))
            self._lanes.enter(job)
        self._give_back(found.surplus)
        for job in found.twice:
            self.own(self._put_off(job))
        if not self._is_open():  # closed while the lease was written
            self._give_back(self._lanes.drain())
        self.start_more()
        return min(found.delay, max(0.0, self.throttle.next_end() - now))

    # -- acting

    def _spawn(self, slot: Slot, job: Job) -> None:
        if slot.meters:
            self.throttle.started(slot.meters)
        self._attempting.add(self.own(self._run(slot, job)))

    async def _run(self, slot: Slot, job: Job) -> None:
        """One job, from its slot to its record."""
        if self.shaping.is_unknown(job.destination) and not await self._learn_limits(slot, job):
            return
        try:
            try:
                hop, outcomes = await self._attempt(job, slot.meters)
                if hop is not None and was_made(outcomes):
                    self._lanes.judge(slot.key, answered=not unreachable(outcomes))
            finally:
                self._attempting.discard(asyncio.current_task())
                self._lanes.end(slot)
                if self._lanes.waiting:
                    self.start_more()
            try:
                await self._finish(job, hop, outcomes)
            except Exception as error:
                self.report(job.message.id, f"the outcome could not be concluded by a fault of this server: {error!r}")
                await self._recorder.record(job, self._salvaged(job, outcomes))
        finally:
            self._active.discard((job.message.id, job.destination))
            self.start_more()

    async def _learn_limits(self, slot: Slot, job: Job) -> bool:
        """Ask for the hosts of a destination, which say whose limits hold, and count the job at them.

        False: it may not go now and waits for its turn, or is given back.
        """
        may_go = False
        try:
            hop = self.router.next_hop(job.destination)
            self.throttle.learn(job.destination, await self._attempts.mx_hosts(hop) if hop.use_mx else None)
            may_go = not self.throttle.is_suspended(job.destination) and self._lanes.meet(slot)
        except Exception as error:  # the attempt will say what is wrong
            self.report(job.message.id, f"the limits of {job.destination} could not be found: {error!r}")
            may_go = True
        finally:
            if not may_go:
                self._attempting.discard(asyncio.current_task())
                self._lanes.end(slot)
        if may_go:
            self.throttle.started(slot.meters)
            return True
        if self.throttle.is_suspended(job.destination) or self._lanes.is_crowded(job.destination):
            self._give_back([job])
        else:
            self._lanes.enter(job)
        self.start_more()
        return False

    async def _attempt(self, job: Job, meters: tuple[Meter, ...]) -> tuple[NextHop | None, list[Outcome]]:
        """The outcomes of one attempt; without a next hop none was made."""
        now = self._clock()
        if job.until - now < LEASE_LEFT:
            return None, postponed(job, LATE, now)
        try:
            message, rules = job.message, job.message.terms.rules
            moved = {
                each.number: key
                for each in message.recipients
                if (key := self.router.reroute(each.address, job.destination, message.next_hop, rules)) is not None
            }
            if moved:
                return None, postponed(job, MOVED, now, moved)
            left, held = self.throttle.part(job)
            if left is None:
                return None, held
            hop = self.router.next_hop(job.destination)
            shape = self.shaping.shape(job.destination)
            if not meters and shape.messages is None and shape.recipients is None:
                return hop, held + await self._attempts.run(left, hop)
            return hop, held + await self._attempts.run(left, hop, Permit(shape, meters, self._clock))
        except Exception as error:  # unknown failure is temporary
            self.report(job.message.id, f"the attempt failed by a fault of this server: {error!r}")
            return None, [failed(recipient, INTERNAL) for recipient in job.message.recipients]

    async def _finish(self, job: Job, hop: NextHop | None, outcomes: list[Outcome]) -> None:
        """Give the outcomes their times, write what reports they ask for, record it all."""
        now = self._clock()
        concluded = conclude(job, outcomes, self._settings.schedule, now, self._chance)
        if hop is not None:
            await self._judge(job, concluded, now)
            await self._heed(job, outcomes, now)
        generated: list[NewMessage] = []
        if self._bounces.are_due(job.message, concluded, now):
            try:
                generated = await self._bounces.reports(job, concluded, hop, now)
            except Exception as error:  # without its report a bounce is not recorded: it is tried again
                self.report(job.message.id, f"the report could not be written: {error!r}")
                concluded = [retried(each, self._settings.schedule, now, self._chance()) for each in concluded]
        finished = await self._recorder.record(job, concluded, generated, instead=lambda: self._put_back(job))
        if finished is not None:
            state(self._span, job, concluded, generated, finished=finished)
            self._leasing.expect(next_of(concluded))
            self._bounces.undeliverable(job.message, concluded)

    def _put_back(self, job: Job) -> list[Outcome]:
        """Deferrals of all recipients, for when their outcomes cannot be recorded."""
        schedule, now = self._settings.schedule, self._clock()
        return [
            replace(failed(each, INTERNAL), next_attempt=schedule.retry_at(each.attempts, now, self._chance()))
            for each in job.message.recipients
        ]

    def _salvaged(self, job: Job, outcomes: list[Outcome]) -> list[Outcome]:
        """What is beyond doubt is recorded, deliveries; everybody else is tried again."""
        sure = {each.number: each for each in outcomes if each.result in (Result.DELIVERED, Result.RELAYED)}
        return [sure.get(each.number, each) for each in self._put_back(job)]

    async def _judge(self, job: Job, outcomes: list[Outcome], now: float) -> None:
        """Tell the breaker of first attempts; suspend the route when it says so."""
        first = {recipient.number for recipient in job.message.recipients if recipient.attempts <= 1}
        counted = [each for each in outcomes if each.number in first and not each.uncounted]
        bounced = sum(each.result is Result.BOUNCED for each in counted)
        if not counted or not self._breaker.record(job.destination, len(counted), bounced, now):
            return
        options = self._settings.breaker
        reason = f"over {options.percent} % of first attempts bounced within {format_duration(options.window)}"
        await self._suspend(job.destination, now + options.suspend, "breaker", reason)

    async def _heed(self, job: Job, outcomes: list[Outcome], now: float) -> None:
        """Slow or suspend whom a refusal says that it is too much."""
        for complaint in self.shaping.heard(job.destination, outcomes):
            rule = complaint.rule
            if rule.action is Action.SLOW:
                self.throttle.slow(job.destination, complaint)
            elif not self.throttle.is_suspended(job.destination):
                await self._suspend(complaint.subject, now + rule.seconds, f"response {rule.id}", complaint.reason)

    async def _suspend(self, key: str, due: float, by: str, reason: str) -> None:
        """Attempt nothing there until `due`."""
        await self.throttle.suspend(key, due, by, reason)
        self._give_back(self._lanes.drain_suspended())

    def _give_back(self, jobs: Iterable[Job]) -> None:
        """Return leased jobs that were not started, uncounted."""
        for job in jobs:
            self.own(self._release(job))

    async def _release(self, job: Job) -> None:
        try:
            await self._recorder.release(job)
        finally:
            self._active.discard((job.message.id, job.destination))

    async def _put_off(self, job: Job) -> None:
        """Other recipients of the message are in hand for the same destination: these a little later."""
        outcomes = conclude(job, postponed(job, LATE, None), self._settings.schedule, self._clock(), self._chance)
        await self._recorder.record(job, outcomes)
        self._leasing.expect(next_of(outcomes))

    def own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in a task that `drain` waits for and whose failure is reported."""
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(0, f"a task of the scheduler failed: {error!r}")

    def report(self, queue_id: int, reason: str) -> None:
        """State a failure of this server."""
        events.FAILED(self._span, queue_id=queue_id, reason=reason)
