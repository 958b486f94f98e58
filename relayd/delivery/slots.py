"""Who holds the slots that all destinations share, so that those that hang leave some to those that answer.

There are as many slots for destinations that answered last time as for those that did not, or were never tried; so a
thousand dead domains take none from a live one.  An attempt that has run for HANGING seconds gives its slot up without
ending: it costs a socket and some memory, no more, and may go on beside the others up to HANGERS times the slots.

Trying costs work, too, many times that of a delivery that goes well: names are looked up, and nothing is learnt that
could be used again.  So while many of those tried do not answer, only a few more are tried each second.
"""

from __future__ import annotations

import math

from relayd.routing.shaping.meter import Meter
from relayd.routing.window import SPARE, Window

HANGING = 5.0
"""Seconds after which an attempt holds no slot."""

HANGERS = 4
"""How many times the slots are there for attempts that hang."""

SLOW = 2.0
"""Seconds after which an attempt at a destination that did not answer before is taken for one that will not."""

_TRIED, _HANGS = 1, 2
_MANY = 2  # as many as the slots divided by this
_AT_ONCE = 2  # times the slots, of those tried within SLOW
_TRIES = 8  # as many a second as the slots divided by this


class Slot:
    """What one attempt holds: its window's destination, and the meters at which it is counted."""

    __slots__ = ("began", "is_slow", "key", "meters", "pool")

    def __init__(self, key: str, meters: tuple[Meter, ...], pool: int, began: float) -> None:
        self.key = key
        self.meters = meters
        self.pool = pool
        self.began = began
        self.is_slow = False


class Slots:
    """total: in each of the two pools.  held: attempts in flight."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        self._held = [0, 0, 0]
        self._young: dict[Slot, None] = {}
        self._tried: dict[Slot, None] = {}
        self._slow = 0
        self._next_try = 0.0

    def is_full(self, pool: int, now: float) -> bool:
        """Whether nobody at all may start at `now`.  pool: 0 for destinations that answer, 1 for the others."""
        if self._held[pool] >= self.total * (1 + SPARE):
            return True
        return pool == _TRIED and self._must_wait(now)

    def allow(self, window: Window, running: int, now: float) -> bool:
        """Whether one more may start beside `running` of its destination."""
        pool = _pool(window)
        if pool == _TRIED and self._must_wait(now):
            return False
        return window.allows(running, self._held[pool], self.total)

    def _must_wait(self, now: float) -> bool:
        """Whether so many do not answer that the next is tried later."""
        if not self._tried and not self._slow:
            return False  # the usual case
        while self._tried:
            slot = next(iter(self._tried))
            if 0.0 <= now - slot.began < SLOW:
                break
            del self._tried[slot]
            slot.is_slow = True
            self._slow += 1
        if len(self._tried) >= self.total * _AT_ONCE:
            return True
        return self._slow * _MANY >= self.total and now < self._next_try <= now + 1.0

    def take(self, key: str, window: Window, meters: tuple[Meter, ...], now: float) -> Slot:
        """Take one.  now: any seconds."""
        slot = Slot(key, meters, _pool(window), now)
        self.held += 1
        self._held[slot.pool] += 1
        self._young[slot] = None
        if slot.pool == _TRIED:
            self._tried[slot] = None
            self._next_try = now + _TRIES / self.total
        return slot

    def give_back(self, slot: Slot) -> None:
        """The attempt is over."""
        self.held -= 1
        self._held[slot.pool] -= 1
        self._young.pop(slot, None)
        if slot.pool:
            self._tried.pop(slot, None)
            self._slow -= slot.is_slow

    def let_hang(self, now: float) -> list[str]:
        """Take the slots of attempts that have run for too long; the keys of their destinations."""
        hung = []
        while self._young and self._held[_HANGS] < self.total * HANGERS:
            slot = next(iter(self._young))
            if 0.0 <= now - slot.began < HANGING:
                break
            del self._young[slot]
            self._held[slot.pool] -= 1
            slot.pool = _HANGS
            self._held[_HANGS] += 1
            hung.append(slot.key)
        return hung

    def next_at(self, now: float) -> float | None:
        """When one more may start that may not at `now`: when the next attempt has run for too long, or one more may be
        tried; None: when an attempt ends.
        """
        if (self._held[0] + self._held[_TRIED]) * _MANY < self.total:
            return None  # whoever waits, waits for an attempt of his own to end
        if self._must_wait(now) and self._held[_TRIED] < self.total * (1 + SPARE):
            first = next(iter(self._tried), None)
            return self._next_try if first is None or self._next_try > now else first.began + SLOW
        if not self._young or self._held[_HANGS] >= self.total * HANGERS:
            return None
        return math.ceil(next(iter(self._young)).began + HANGING)


def _pool(window: Window) -> int:
    return 0 if window.answers else 1
