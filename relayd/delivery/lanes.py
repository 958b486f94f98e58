"""Which job may start now: one lane for each destination, slots that all lanes share, turns within a lane.

Synchronous decisions over plain state; `scheduler` acts on them.  What waits is bounded in number, for each sender,
each lane and over all, and in octets: past these new mail stays in the database, from where it is leased when there
is room.  A sender of whom nothing waits in a lane is let in even then, and takes the next turn but those of the other
senders: so nobody stands behind another's mass of mail.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from msgspec.structs import replace

from relayd.queue.message import Job
from relayd.routing.options import ConcurrencyOptions
from relayd.routing.turns import Turns
from relayd.routing.window import Window

_KEPT_IDLE = 4096
"""Lanes without work that are remembered (for their window) before they are swept."""

_LOOKED_AT = 64
"""Blocked lanes that one freed slot is offered to; the others are further up the next time."""


class Lane:
    """The work of one destination.  running: jobs in an attempt.  overflow: more of its mail may be due on disk."""

    __slots__ = ("key", "overflow", "running", "turns", "window")

    def __init__(self, key: str, most: int) -> None:
        self.key = key
        self.window = Window(most)
        self.turns: Turns[Job] = Turns()
        self.running = 0
        self.overflow = False


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One destination for people.  limit: how many it may run at once now."""

    destination: str
    running: int
    waiting: int
    senders: int
    limit: int


class Lanes:
    """All lanes.  `suspended`: destinations whose jobs do not start."""

    def __init__(self, options: ConcurrencyOptions) -> None:
        self.options = options
        self.running = 0
        self.waiting = 0
        self.octets = 0
        self.suspended: frozenset[str] = frozenset()
        self._lanes: dict[str, Lane] = {}
        self._blocked: OrderedDict[str, Lane] = OrderedDict()

    # -- letting in

    def admits(self, destination: str, sender: str) -> bool:
        """Whether a new job may come into memory; notes the overflow when not."""
        if destination in self.suspended:
            return False
        options = self.options
        lane = self._lanes.get(destination)
        if lane is None or not lane.turns:
            if self.waiting < options.waiting + options.waiting // 4:
                return lane is None or not lane.overflow
            return False
        own = lane.turns.waiting(sender)
        most = options.waiting_per_destination
        if own == 0:  # somebody new: past the bounds too, as long as the senders themselves are not a mass
            return lane.turns.senders < most and self.waiting < options.waiting + options.waiting // 4
        if lane.overflow:
            return False
        if own < most // 2 and len(lane.turns) < most and self.waiting < options.waiting:
            return True
        lane.overflow = True
        return False

    def crowded(self, destination: str, sender: str) -> bool:
        """Whether a job leased from the database is one too many of its sender."""
        lane = self._lanes.get(destination)
        return lane is not None and lane.turns.waiting(sender) >= self.options.waiting_per_destination // 2

    def enter(self, job: Job) -> None:
        """Let a job wait for its turn; its body is let go when too many octets are held."""
        lane = self.lane(job.destination)
        octets = _octets(job)
        if octets and self.octets + octets > self.options.waiting_octets:
            job, octets = replace(job, body=None), 0
        self.octets += octets
        self.waiting += 1
        lane.turns.put(job.message.sender_key, job, job.message.terms.priority)
        self._block(lane)

    def lane(self, destination: str) -> Lane:
        """The lane of a destination, made when there is none."""
        lane = self._lanes.get(destination)
        if lane is None:
            if len(self._lanes) >= _KEPT_IDLE:
                self._sweep()
            lane = self._lanes[destination] = Lane(destination, self.options.per_destination)
        return lane

    # -- starting and ending

    def start_at_once(self, job: Job) -> Lane | None:
        """Take a slot for a job before whom nobody waits; None: it must `enter`."""
        lane = self.lane(job.destination)
        if lane.turns or job.destination in self.suspended:
            return None
        if not lane.window.allows(lane.running, self.running, self.options.total):
            return None
        lane.running += 1
        self.running += 1
        return lane

    def start_next(self) -> tuple[Lane, Job] | None:
        """Take a slot for the next job of the next lane that may run one."""
        blocked = self._blocked
        slots = self.options.total
        for _ in range(min(len(blocked), _LOOKED_AT)):
            lane = next(iter(blocked.values()))
            if lane.key not in self.suspended and lane.window.allows(lane.running, self.running, slots):
                job = self._take(lane)
                lane.running += 1
                self.running += 1
                if lane.turns:
                    blocked.move_to_end(lane.key)
                return lane, job
            blocked.move_to_end(lane.key)
        return None

    def end(self, lane: Lane) -> None:
        """Give a slot back."""
        lane.running -= 1
        self.running -= 1
        if lane.turns:
            self._block(lane)

    def drain(self, destination: str | None = None) -> list[Job]:
        """Take out all that waits, for one destination or all."""
        lanes = list(self._blocked.values()) if destination is None else [self.lane(destination)]
        return [self._take(lane) for lane in lanes for _ in range(len(lane.turns))]

    # -- looking

    def is_low(self, lane: Lane) -> bool:
        """Whether a lane has room for more of what waits on disk."""
        return len(lane.turns) <= self.options.waiting_per_destination // 4

    @property
    def room(self) -> int:
        """How many jobs may be leased."""
        return max(0, self.options.waiting - self.waiting)

    def full(self) -> set[str]:
        """Destinations that need no more mail from disk now."""
        return {key for key, lane in self._blocked.items() if not self.is_low(lane)} | self.suspended

    def overflowing(self) -> list[Lane]:
        """Lanes that may have more mail on disk."""
        return [lane for lane in self._lanes.values() if lane.overflow]

    def resize(self, options: ConcurrencyOptions) -> None:
        """The configuration changed."""
        self.options = options
        for lane in self._lanes.values():
            lane.window.resize(options.per_destination)

    def stats(self, keys: Collection[str] | None = None) -> list[LaneStats]:
        """The lanes that have work, or those named."""
        return [
            LaneStats(lane.key, lane.running, len(lane.turns), lane.turns.senders, lane.window.limit)
            for lane in self._lanes.values()
            if (lane.running or lane.turns if keys is None else lane.key in keys)
        ]

    def _take(self, lane: Lane) -> Job:
        job = lane.turns.take()
        self.waiting -= 1
        self.octets -= _octets(job)
        if not lane.turns:
            self._blocked.pop(lane.key, None)
        return job

    def _block(self, lane: Lane) -> None:
        """Note that a lane waits for a slot; one that has none at all comes first."""
        if lane.key not in self._blocked:
            self._blocked[lane.key] = lane
            if not lane.running:
                self._blocked.move_to_end(lane.key, last=False)

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
