"""When the queue is asked for due mail, for how much, and for whom not.

A destination that has enough in memory is left out; it asks again when it has run low.  But where more of its mail
waits on disk, a few rows are taken every two seconds all the same, fairly between senders, and those of senders who
already have their part in memory are given back: so a sender who has but one message on disk gets a turn too.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from relayd.delivery.lanes import Lanes
from relayd.delivery.parts import QueueSide
from relayd.queue.message import Job

IDLE = 60.0
"""Seconds of the longest sleep, so that a clock that jumps is noticed."""

FAIR = 2.0
"""Seconds between looks at the disk on behalf of the senders behind a full lane."""

LANDING = 0.5
"""Seconds after which mail that was refused room in memory, while the disk was looked at, has been written there."""

_BATCH = 1000
_GAP = 0.05


@dataclass(slots=True)
class Round:
    """What one look gave.  jobs: to let in.  surplus: to give back.  twice: jobs of a message whose other recipients
    for the same destination are in hand; to be put off a little.  delay: seconds until the next look.
    """

    jobs: list[Job] = field(default_factory=list)
    surplus: list[Job] = field(default_factory=list)
    twice: list[Job] = field(default_factory=list)
    delay: float = IDLE


class Leasing:
    """Asks the queue in rounds, for the lanes' sake.  clock: Unix time."""

    def __init__(self, queue: QueueSide, lanes: Lanes, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._lanes = lanes
        self._clock = clock
        self._woken = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._expected = math.inf
        self._looked = 0.0
        self._fair_at = 0.0
        self._once_more: set[str] = set()  # answer, all they had on disk was taken: perhaps more was being written
        self.is_hungry = False
        """More was due than there was room for."""

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def expect(self, at: float) -> None:
        """A row is due at `at` (Unix time) that the last look could not know of."""
        if at < self._expected:
            self._expected = at
            if self._timer is not None:
                self._timer.cancel()
                self._set_timer()

    async def sleep(self, delay: float) -> None:
        """Wait for `wake`, at most `delay` seconds, and so long that looks do not crowd."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + min(delay, IDLE)
        self._set_timer()
        try:
            await self._woken.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        early = self._looked + _GAP - loop.time()
        if early > 0:
            await asyncio.sleep(early)
        self._looked = loop.time()
        self._expected = math.inf
        self._woken.clear()

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        until = min(self._until, loop.time() + self._expected - self._clock())
        self._timer = loop.call_at(until, self._woken.set)

    async def look(self, now: float, retry_at: Callable[[int, float], float], active: Collection[object]) -> Round:
        """Lease what is due at `now` and has room.  active: (message id, destination) of the jobs in hand."""
        lanes = self._lanes
        options = lanes.options
        crowded = any(not lanes.is_low(lane) for lane in lanes.overflowing())
        fair = (crowded or not lanes.room) and lanes.room_beyond > 0 and abs(now - self._fair_at) >= FAIR
        only: set[str] | None = None
        if fair:
            self._fair_at = now
            quota, limit, saturated = options.per_destination, min(_BATCH, lanes.room_beyond), lanes.closed()
        elif lanes.room:
            quota, limit = max(1, options.waiting_per_destination // 2), min(lanes.room, _BATCH)
            saturated = lanes.full()
        else:  # memory is full of mail for who does not answer: who does is served all the same
            quota, limit = max(1, options.waiting_per_destination // 2), min(_BATCH, lanes.room_answering)
            only, saturated = lanes.hungry() | (self._once_more - lanes.full()), set()
        if not limit or (only is not None and not only):
            self.is_hungry = True
            return Round(delay=FAIR)
        leased = await self._queue.lease_due(
            now, per_destination=quota, limit=limit, saturated=saturated, retry_at=retry_at, only=only
        )
        found = Round()
        for job in leased:
            if (job.message.id, job.destination) in active:
                found.twice.append(job)
            elif fair and lanes.crowded(job.destination, job.message.sender_key):
                found.surplus.append(job)
            else:
                found.jobs.append(job)
        self.is_hungry = only is not None or len(leased) >= limit
        filled = self._note_overflow(leased, quota, saturated)
        if only is not None:
            self._once_more -= only - {job.destination for job in leased}
            if len(leased) < limit:
                self._note_taken(only - filled)
        found.delay = await self._delay(now, len(found.jobs), lanes.full() | filled)
        if not lanes.room and (fair or leased) and lanes.hungry():  # their look comes next
            found.delay = 0.0
        elif only is not None:  # what is due is for others
            found.delay = found.delay or FAIR
        if self._once_more:
            found.delay = min(found.delay, LANDING)
        return found

    def _note_overflow(self, leased: list[Job], quota: int, saturated: Collection[str]) -> set[str]:
        """Mark the lanes that have more on disk, and those that have no more; the destinations that met the quota."""
        counts = Counter(job.destination for job in leased)
        filled = {destination for destination, count in counts.items() if count >= quota}
        for destination in filled:
            self._lanes.lane(destination).overflow = True
        if not self.is_hungry:
            self._once_more.clear()
            lanes = self._lanes.overflowing()
            self._note_taken({lane.key for lane in lanes if lane.key not in filled and lane.key not in saturated})
        return filled

    def _note_taken(self, keys: Collection[str]) -> None:
        """All that these had on disk was leased: what comes now goes to memory, what is being written is asked for."""
        for key in keys:
            lane = self._lanes.lane(key)
            if lane.overflow:
                lane.overflow = False
                if lane.window.answers:
                    self._once_more.add(key)

    async def _delay(self, now: float, let_in: int, saturated: Collection[str]) -> float:
        """Seconds until the next look is worth it."""
        if self.is_hungry and self._lanes.room > let_in:
            return 0.0
        due = await self._queue.next_due(saturated)
        delay = IDLE if due is None else due - now
        if delay <= 0.0:
            delay = 0.0 if let_in else 1.0  # due but not given: held by a rule of the queue's, or already in hand
        if self.is_hungry or self._lanes.overflowing():
            delay = min(delay, FAIR)
        return min(delay, IDLE)
