"""Which job may start now: one lane for each destination, slots that all lanes share, turns within a lane.

Synchronous decisions over plain state; `scheduler` acts on them.  What waits is bounded in number, for each sender,
each lane and over all, and in octets: past these new mail stays in the database, from where it is leased when there
is room.  A sender of whom nothing waits in a lane is let in even then, and takes the next turn but those of the other
senders: so nobody stands behind another's mass of mail.

A lane whose destination is shaped (`routing/shaping`) starts a job only when each of its meters has room; else it is
parked at the one that has not, and is offered room when there is some.  Of mail that a rate holds back no more waits in
memory than goes within minutes.

Lanes whose destination answered last time and those that did not, or were never tried, are told apart: each kind has
slots of its own (`slots`), and mail for destinations that fail has no more than a quarter of the memory, that for those
never tried no more than half, but for the first message of each.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection

from msgspec.structs import replace

from relayd.delivery.lane import Gauges, Lane, LaneStats, NoGauges
from relayd.delivery.parking import Parking
from relayd.delivery.slots import Slot, Slots
from relayd.queue.message import Job
from relayd.routing.options import ConcurrencyOptions
from relayd.routing.shaping.meter import Hold, Meter
from relayd.routing.window import Standing

_KEPT_IDLE = 4096
"""Lanes without work that are remembered (for their window) before they are swept."""

_LOOKED_AT = 64
"""Blocked lanes that one freed slot is offered to; the others are further up the next time."""


class Lanes:
    """All lanes.  `suspended`, `suspended_senders`: destinations and senders whose jobs do not start.

    clock: Unix time.  on_hold: told of a meter at which lanes begin to wait, and why.  on_low: told that more may come
    from disk of the mail of a meter, or of a destination that begins to answer.
    """

    def __init__(
        self,
        options: ConcurrencyOptions,
        gauges: Gauges | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.options = options
        self.slots = Slots(options.total)
        self.waiting = 0
        self._waiting_of = [0, 0, 0]  # by the standing of their lanes
        self.octets = 0
        self.suspended: set[str] = set()
        self.suspended_senders: frozenset[str] = frozenset()
        self.on_hold: Callable[[Meter, Hold], None] = lambda meter, hold: None
        self.on_low: Callable[[], None] = lambda: None
        self._gauges: Gauges = NoGauges() if gauges is None else gauges
        self._clock = clock
        self._parking: Parking[Lane] = Parking()
        self._lanes: dict[str, Lane] = {}
        self._blocked: tuple[OrderedDict[str, Lane], ...] = (OrderedDict(), OrderedDict())

    # -- letting in

    def admits(self, destination: str, sender: str) -> bool:
        """Whether a new job may come into memory; notes the overflow when not."""
        if destination in self.suspended or sender in self.suspended_senders:
            return False
        options = self.options
        lane = self._lanes.get(destination)
        standing = Standing.FRESH if lane is None else lane.window.standing
        if lane is None or not lane.turns:
            if not self._has_room_for_first(standing):
                if lane is not None:
                    lane.overflow = True
                return False
            return lane is None or not lane.overflow
        own = lane.turns.waiting(sender)
        most = options.waiting_per_destination
        if own == 0:  # somebody new: past the bounds too, as long as the senders themselves are not a mass
            return lane.turns.senders < most and self._has_room(standing, options.waiting // 4)
        if lane.overflow:
            return False
        if lane.meters and self._is_crowded(lane):
            lane.overflow = True
            return False
        if own < most // 2 and len(lane.turns) < most and self._has_room(standing):
            return True
        lane.overflow = True
        return False

    def _has_room(self, standing: Standing, beyond: int = 0) -> bool:
        """Whether another job may wait, of a lane of that standing.  beyond: for newcomers."""
        most = self.options.waiting
        answering, fresh, failing = self._waiting_of
        if standing is Standing.ANSWERS:
            return self.waiting < most + beyond or answering < most // 2
        if self.waiting >= most + beyond:
            return False
        return fresh < most // 2 + beyond // 2 if standing is Standing.FRESH else failing < most // 4

    def _has_room_for_first(self, standing: Standing) -> bool:
        """Whether the first job of a lane may wait.  Those of lanes never tried are let in past their part of memory:
        else a mass of dead destinations would keep a new one from being tried at all.
        """
        most = self.options.waiting
        beyond = most // 4
        if standing is Standing.FRESH:
            return self.waiting < most + beyond
        return self._has_room(standing, beyond)

    def crowded(self, destination: str, sender: str) -> bool:
        """Whether a job leased from the database is one too many of its sender."""
        lane = self._lanes.get(destination)
        return lane is not None and lane.turns.waiting(sender) >= self.options.waiting_per_destination // 2

    def is_crowded(self, destination: str) -> bool:
        """Whether as much waits for a limit of the destination as may."""
        return self._is_crowded(self.lane(destination))

    def enter(self, job: Job) -> None:
        """Let a job wait for its turn; its body is let go when too many octets are held."""
        lane = self.lane(job.destination)
        octets = _octets(job)
        if octets and self.octets + octets > self.options.waiting_octets:
            job, octets = replace(job, body=None), 0
        self.octets += octets
        self.waiting += 1
        self._waiting_of[lane.window.standing.value] += 1
        lane.turns.put(job.message.sender_key, job, job.message.terms.priority)
        for meter in lane.meters:
            meter.waiting += 1
        self._block(lane)

    def lane(self, destination: str) -> Lane:
        """The lane of a destination, made when there is none."""
        lane = self._lanes.get(destination)
        if lane is None:
            if len(self._lanes) >= _KEPT_IDLE:
                self._sweep()
            lane = self._lanes[destination] = Lane(destination, self.options.per_destination)
            lane.meters = self._gauges.meters(destination)
        return lane

    def equip(self, destination: str | None = None) -> None:
        """The meters of a destination, or of all, are others now."""
        names = list(self._lanes) if destination is None else [destination]
        for lane in [self._lanes[name] for name in names if name in self._lanes]:
            before, lane.meters = lane.meters, self._gauges.meters(lane.key)
            for meter in before:
                meter.waiting -= len(lane.turns)
            for meter in lane.meters:
                meter.waiting += len(lane.turns)
            self._unblock(lane)
            if lane.turns:
                self._block(lane)

    # -- starting and ending

    def start_at_once(self, job: Job) -> Slot | None:
        """Take a slot for a job before whom nobody waits; None: it must `enter`."""
        lane = self.lane(job.destination)
        if lane.turns or job.destination in self.suspended or job.message.sender_key in self.suspended_senders:
            return None
        now = self._clock()
        if not self.slots.allow(lane.window, lane.running, now):
            return None
        if lane.meters and not self._spend(lane, now):
            return None
        lane.running += 1
        return self.slots.take(lane.key, lane.window, lane.meters, now)

    def _spend(self, lane: Lane, now: float) -> bool:
        """Count a job that starts at the lane's meters; False: they have no room for it."""
        if self._blocker(lane, now) is not None:
            return False
        for meter in lane.meters:
            meter.start(now)
        return True

    def meet(self, slot: Slot) -> bool:
        """Count a job that started before its destination's meters were known; False: they have no room for it."""
        lane = self.lane(slot.key)
        if not slot.meters and lane.meters:
            if not self._spend(lane, self._clock()):
                return False
            slot.meters = lane.meters
        return True

    def start_next(self) -> tuple[Slot, Job] | None:
        """Take a slot for the next job of the next lane that may run one."""
        now = self._clock()
        if self._parking.waiting:
            self._offer(self._parking.due(now))
        for key in self.slots.let_hang(now):
            lane = self.lane(key)
            self._restand(lane, lane.window.hung)
        for pool, blocked in enumerate(self._blocked):
            if not blocked or self.slots.is_full(pool, now):
                continue
            for _ in range(min(len(blocked), _LOOKED_AT)):
                if not blocked:
                    break
                lane = next(iter(blocked.values()))
                if lane.key not in self.suspended and self.slots.allow(lane.window, lane.running, now):
                    if not lane.meters or self._spend(lane, now):
                        return self._started(lane, now)
                    self._park(lane)
                    continue
                if self._parking.waiting:
                    self._offer(lane.meters)
                blocked.move_to_end(lane.key)
        return None

    def _started(self, lane: Lane, now: float) -> tuple[Slot, Job]:
        job = self._take(lane)
        lane.running += 1
        slot = self.slots.take(lane.key, lane.window, lane.meters, now)
        if lane.turns and lane.parked is None:
            self._blocked[not lane.window.answers].move_to_end(lane.key)
        self._offer(lane.meters)
        return slot, job

    def judge(self, key: str, *, answered: bool) -> None:
        """Take note of whether a host of the destination answered an attempt."""
        lane = self.lane(key)
        self._restand(lane, lane.window.succeeded if answered else lane.window.failed)

    def _restand(self, lane: Lane, change: Callable[[], None]) -> None:
        """Something is learnt of a destination that may change its standing."""
        before = lane.window.standing
        change()
        after = lane.window.standing
        if before is not after and lane.turns:
            self._waiting_of[before.value] -= len(lane.turns)
            self._waiting_of[after.value] += len(lane.turns)
            if self._blocked[before is not Standing.ANSWERS].pop(lane.key, None) is not None:
                self._blocked[after is not Standing.ANSWERS][lane.key] = lane
        if before is not after and after is Standing.ANSWERS and lane.overflow:
            self.on_low()

    def end(self, slot: Slot) -> None:
        """Give a slot back."""
        lane = self.lane(slot.key)
        lane.running -= 1
        self.slots.give_back(slot)
        for meter in slot.meters:
            meter.end()
        self._offer(slot.meters)
        if lane.turns:
            self._block(lane)

    def drain(self, destination: str | None = None) -> list[Job]:
        """Take out all that waits, for one destination or all."""
        lanes = self._with_work() if destination is None else [self.lane(destination)]
        return [self._take(lane) for lane in lanes for _ in range(len(lane.turns))]

    def drain_suspended(self) -> list[Job]:
        """Take out what waits for suspended destinations, or of suspended senders."""
        lanes = [lane for lane in self._with_work() if lane.key in self.suspended]
        found = [self._take(lane) for lane in lanes for _ in range(len(lane.turns))]
        for sender in self.suspended_senders:
            for lane in self._with_work():
                jobs = lane.turns.remove(sender)
                self._left(lane, jobs)
                found += jobs
        return found

    # -- looking

    def is_low(self, lane: Lane) -> bool:
        """Whether a lane has room for more of what waits on disk."""
        most = self.options.waiting_per_destination
        if len(lane.turns) > most // 4:
            return False
        return all(meter.waiting <= meter.most_waiting(most) // 4 for meter in lane.meters)

    @property
    def waits_for_time(self) -> bool:
        """Whether something may start without that an attempt ends."""
        return bool(self._parking.waiting) or self.slots.held * 2 >= self.slots.total

    def next_release(self) -> float:
        """When a limit has room for a lane that waits for it, or an attempt gives up its slot (Unix time); infinity:
        no time is known.
        """
        at = self.slots.next_at(self._clock()) if any(self._blocked) else None
        return min(self._parking.next_at(), math.inf if at is None else at)

    @property
    def running(self) -> int:
        """Attempts in flight."""
        return self.slots.held

    @property
    def room(self) -> int:
        """How many jobs may be leased, whoever they are for."""
        most = self.options.waiting
        return max(0, min(most - self.waiting, most // 2 - self._waiting_of[Standing.FRESH.value]))

    @property
    def room_beyond(self) -> int:
        """How many more for the sake of fairness, when there is no room."""
        most = self.options.waiting
        fresh = self._waiting_of[Standing.FRESH.value]
        return max(0, min(most + most // 4 - self.waiting, most // 2 + most // 8 - fresh))

    @property
    def room_answering(self) -> int:
        """How many more for destinations that answer."""
        most = self.options.waiting
        return max(0, most - self.waiting, most // 2 - self._waiting_of[Standing.ANSWERS.value])

    def hungry(self) -> set[str]:
        """Destinations that answer, have more mail on disk, and little in memory."""
        lanes = self.overflowing()
        return {lane.key for lane in lanes if lane.window.answers and self.is_low(lane)} - self.suspended

    def full(self) -> set[str]:
        """Destinations that need no more mail from disk now."""
        return {lane.key for lane in self._with_work() if not self.is_low(lane)} | self.closed()

    def closed(self) -> set[str]:
        """Destinations that get no mail from disk at all: suspended, or as much waits for their limits as may, or they
        fail, and as much waits for those that do as may.
        """
        found = set(self.suspended)
        if self._waiting_of[Standing.FAILING.value] >= self.options.waiting // 4:
            found.update(lane.key for lane in self._lanes.values() if lane.window.standing is Standing.FAILING)
        most = self.options.waiting_per_destination
        meters = {meter.key: meter for lane in self._with_work() for meter in lane.meters}
        for meter in meters.values():
            if meter.waiting > meter.most_waiting(most) // 4:
                meter.overflow = True
                found.update(self._gauges.destinations(meter))
        return found

    def overflowing(self) -> list[Lane]:
        """Lanes that may have more mail on disk."""
        return [lane for lane in self._lanes.values() if lane.overflow]

    def resize(self, options: ConcurrencyOptions) -> None:
        """The configuration changed."""
        self.options = options
        self.slots.total = options.total
        for lane in self._lanes.values():
            lane.window.resize(options.per_destination)

    def stats(self, keys: Collection[str] | None = None) -> list[LaneStats]:
        """The lanes that have work, or those named."""
        return [
            LaneStats(lane.key, lane.running, len(lane.turns), lane.turns.senders, lane.window.limit)
            for lane in self._lanes.values()
            if (lane.running or lane.turns if keys is None else lane.key in keys)
        ]

    # -- waiting

    def _with_work(self) -> list[Lane]:
        return [*self._blocked[0].values(), *self._blocked[1].values(), *self._parking.lanes()]

    def _take(self, lane: Lane) -> Job:
        job = lane.turns.take()
        self._left(lane, (job,))
        return job

    def _left(self, lane: Lane, jobs: Collection[Job]) -> None:
        """Jobs were taken out of a lane."""
        self.waiting -= len(jobs)
        self._waiting_of[lane.window.standing.value] -= len(jobs)
        self.octets -= sum(map(_octets, jobs))
        for meter in lane.meters:
            meter.waiting -= len(jobs)
            if meter.overflow and meter.waiting <= meter.most_waiting(self.options.waiting_per_destination) // 4:
                meter.overflow = False
                self.on_low()
        if not lane.turns:
            self._unblock(lane)

    def _block(self, lane: Lane) -> None:
        """Note that a lane waits for a slot; one that has none at all comes first, unless it failed to answer."""
        blocked = self._blocked[not lane.window.answers]
        if lane.key in blocked or lane.parked is not None or (lane.meters and self._park(lane)):
            return
        blocked[lane.key] = lane
        if not lane.running and lane.window.standing is not Standing.FAILING:
            blocked.move_to_end(lane.key, last=False)

    def _unblock(self, lane: Lane) -> None:
        """It waits for nothing."""
        self._blocked[not lane.window.answers].pop(lane.key, None)
        self._parking.remove(lane)

    def _is_crowded(self, lane: Lane) -> bool:
        most = self.options.waiting_per_destination
        return any(meter.waiting >= meter.most_waiting(most) for meter in lane.meters)

    @staticmethod
    def _blocker(lane: Lane, now: float) -> tuple[Meter, Hold] | None:
        """The meter that has no room for longest; None when all have."""
        found: tuple[Meter, Hold] | None = None
        for meter in lane.meters:
            hold = meter.hold(now)
            if hold is not None and (found is None or hold.at > found[1].at):
                found = (meter, hold)
        return found

    def _park(self, lane: Lane) -> bool:
        """Let a lane wait where it must; False: nowhere."""
        found = self._blocker(lane, self._clock())
        if found is None:
            return False
        self._blocked[not lane.window.answers].pop(lane.key, None)
        meter, hold = found
        self._parking.park(lane, meter, hold.at)
        self.on_hold(meter, hold)
        return True

    def _offer(self, meters: Collection[Meter]) -> None:
        """Give the room that each meter may have to one of those who wait for it."""
        for meter in meters:
            while self._parking.waits_at(meter):
                hold = meter.hold(self._clock())
                if hold is not None:
                    self._parking.expect(meter, hold.at)
                    self.on_hold(meter, hold)
                    break
                lane = self._parking.take(meter)
                if lane is not None and not self._park(lane):
                    self._block(lane)
                    break

    def release(self, meter: Meter) -> None:
        """A meter has got room by other means."""
        self._offer((meter,))

    def _sweep(self) -> None:
        for key, lane in list(self._lanes.items()):
            if not (lane.running or lane.turns or lane.overflow):
                del self._lanes[key]


def _octets(job: Job) -> int:
    """Octets of a body in memory."""
    body = job.body
    if body is None:
        return 0
    return len(body.head) + (len(body.content) if isinstance(body.content, bytes) else 0)
