"""Lanes that may not start anything before a limit has room: each waits at the one meter that holds it back.

So a limit that is reached costs nothing until it has room again, however many destinations share it: then one lane is
offered the room, and the next when that one has taken it.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from relayd.routing.shaping.meter import Meter


class Parked(Protocol):
    """A lane as it waits here.  key: its destination.  parked: the meter that it waits at."""

    key: str
    parked: Meter | None


L = TypeVar("L", bound=Parked)


class Parking(Generic[L]):
    """Who waits at which meter, and until when.  waiting: the lanes by the key of their meter."""

    def __init__(self) -> None:
        self.waiting: dict[str, OrderedDict[str, L]] = {}
        self._due: dict[str, tuple[float, Meter]] = {}
        self._heap: list[tuple[float, str]] = []

    def park(self, lane: L, meter: Meter, at: float) -> bool:
        """Let a lane wait until `meter` has room, at `at` (infinity: somebody will say); whether it is the first."""
        there = self.waiting.setdefault(meter.key, OrderedDict())
        there[lane.key] = lane
        lane.parked = meter
        self.expect(meter, at)
        return len(there) == 1

    def expect(self, meter: Meter, at: float) -> None:
        """`meter` has room at `at`."""
        if at == math.inf:
            self._due.pop(meter.key, None)
        elif self._due.get(meter.key, (None,))[0] != at:
            self._due[meter.key] = (at, meter)
            heapq.heappush(self._heap, (at, meter.key))

    def waits_at(self, meter: Meter) -> bool:
        """Whether a lane waits at the meter."""
        return meter.key in self.waiting

    def take(self, meter: Meter) -> L | None:
        """The lane that has waited longest there; it waits no more."""
        waiting = self.waiting.get(meter.key)
        if not waiting:
            return None
        lane = next(iter(waiting.values()))
        self.remove(lane)
        return lane

    def remove(self, lane: L) -> None:
        """The lane waits no more."""
        meter, lane.parked = lane.parked, None
        if meter is None:
            return
        waiting = self.waiting[meter.key]
        del waiting[lane.key]
        if not waiting:
            del self.waiting[meter.key]
            self._due.pop(meter.key, None)

    def due(self, now: float) -> list[Meter]:
        """The meters whose time has come."""
        found = []
        while self._heap and (self._heap[0][0] <= now or not self._is_current()):
            at, key = heapq.heappop(self._heap)
            known = self._due.get(key)
            if known is not None and known[0] == at:
                del self._due[key]
                found.append(known[1])
        return found

    def next_at(self) -> float:
        """When the next meter has room; infinity: no time is known."""
        while self._heap and not self._is_current():
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def lanes(self) -> list[L]:
        """Everybody who waits."""
        return [lane for waiting in self.waiting.values() for lane in waiting.values()]

    def _is_current(self) -> bool:
        at, key = self._heap[0]
        known = self._due.get(key)
        return known is not None and known[0] == at
