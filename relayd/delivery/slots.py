"""Who holds the slots that all destinations share, so that those that hang leave some to those that answer.

There are as many slots for destinations that answered last time as for those that did not, or were never tried; so a
thousand dead domains take none from a live one.  An attempt that has run for HANGING seconds gives its slot up without
ending: it costs a socket and some memory, no more, and may go on beside the others up to HANGERS times the slots.
"""

from __future__ import annotations

from relayd.routing.shaping.meter import Meter
from relayd.routing.window import Window

HANGING = 5.0
"""Seconds after which an attempt holds no slot."""

HANGERS = 10
"""How many times the slots are there for attempts that hang."""

_HANGS = 2


class Slot:
    """What one attempt holds: its window's destination, and the meters at which it is counted."""

    __slots__ = ("began", "key", "meters", "pool")

    def __init__(self, key: str, meters: tuple[Meter, ...], pool: int, began: float) -> None:
        self.key = key
        self.meters = meters
        self.pool = pool
        self.began = began


class Slots:
    """total: in each of the two pools."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = [0, 0, 0]
        self._young: dict[Slot, None] = {}

    @property
    def held(self) -> int:
        """Attempts in flight."""
        return sum(self._held)

    def allow(self, window: Window, running: int) -> bool:
        """Whether one more may start beside `running` of its destination."""
        return window.allows(running, self._held[_pool(window)], self.total)

    def take(self, key: str, window: Window, meters: tuple[Meter, ...], now: float) -> Slot:
        """Take one.  now: any seconds."""
        slot = Slot(key, meters, _pool(window), now)
        self._held[slot.pool] += 1
        self._young[slot] = None
        return slot

    def give_back(self, slot: Slot) -> None:
        """The attempt is over."""
        self._held[slot.pool] -= 1
        self._young.pop(slot, None)

    def let_hang(self, now: float) -> None:
        """Take the slots of attempts that have run for too long."""
        while self._young and self._held[_HANGS] < self.total * HANGERS:
            slot = next(iter(self._young))
            if 0.0 <= now - slot.began < HANGING:
                return
            del self._young[slot]
            self._held[slot.pool] -= 1
            slot.pool = _HANGS
            self._held[_HANGS] += 1

    @property
    def next_at(self) -> float | None:
        """When the next attempt has run for too long; None when there is none, or no room for it to hang."""
        if not self._young or self._held[_HANGS] >= self.total * HANGERS:
            return None
        return next(iter(self._young)).began + HANGING


def _pool(window: Window) -> int:
    return 0 if window.answers else 1
