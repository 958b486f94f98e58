"""Messages a day, by a count that outlives a crash without a write for each message.

The count is written ahead: before the first message of a block goes, it is on disk that the whole block is used.  A
crash so loses what is left of one block of the day's allowance, a hundredth of it, and never allows more.  Days are
those of UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86400.0
_BLOCKS = 100


@dataclass(frozen=True, slots=True)
class Count:
    """What is on disk of a day (days since 1970, UTC): messages used, or reserved to be."""

    day: int
    used: int


class Daily:
    """The count of one subject.  cap: messages a day.  kept: what the disk says."""

    __slots__ = ("_day", "_reserved", "cap", "used")

    def __init__(self, cap: int, kept: Count | None = None) -> None:
        self.cap = cap
        self._day = kept.day if kept is not None else 0
        self.used = self._reserved = kept.used if kept is not None else 0

    def next_at(self, now: float) -> float | None:
        """`now` when a message may go, the next day when the cap is reached, None: when `wanted` was written."""
        self._turn(now)
        if self.used >= self.cap:
            return (self._day + 1) * DAY
        return now if self.used < self._reserved else None

    def take(self, now: float) -> None:
        """A message goes."""
        self._turn(now)
        self.used += 1

    def wanted(self, now: float) -> Count | None:
        """What must be written before more can go, once half of the last block is used; None: nothing now."""
        self._turn(now)
        block = max(1, self.cap // _BLOCKS)
        if self._reserved >= self.cap or self._reserved - self.used > block // 2:
            return None
        return Count(self._day, min(self.cap, max(self.used, self._reserved) + block))

    def keep(self, count: Count) -> None:
        """`count` is on disk now."""
        if count.day == self._day:
            self._reserved = max(self._reserved, count.used)

    def exact(self) -> Count:
        """What to write at the end, so that nothing of the block is lost."""
        return Count(self._day, self.used)

    def _turn(self, now: float) -> None:
        """A new day has a count of its own; a clock set back by less than a day does not give one back."""
        day = int(now // DAY)
        if day > self._day or day < self._day - 1:
            self._day, self.used, self._reserved = day, 0, 0
