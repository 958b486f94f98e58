"""What one subject has in use, and when it has room again."""

from __future__ import annotations

import math
from typing import NamedTuple

from relayd.routing.shaping.daily import Count, Daily
from relayd.routing.shaping.limits import Limits
from relayd.routing.shaping.pace import Pace
from relayd.routing.shaping.slowing import Slowing

BACKLOG = 600.0
"""Seconds' worth of a rate that may wait in memory; more waits on disk."""


class Hold(NamedTuple):
    """Why nothing may start.  at: when something may (Unix seconds); infinity: when what runs ends, or a write does.

    limit: "concurrency", "connections", "rate" or "daily".
    """

    at: float
    limit: str


class Meter:
    """Counts for one subject.  running: deliveries in flight.  waiting: in memory.  kept: its daily count on disk.

    overflow: more of its mail may wait on disk.
    """

    __slots__ = ("_backlog", "_daily", "_paces", "_slowing", "key", "limits", "overflow", "running", "waiting")

    def __init__(self, key: str, limits: Limits, kept: Count | None = None) -> None:
        self.key = key
        self.running = 0
        self.waiting = 0
        self.overflow = False
        self._paces: list[Pace] = []
        self._daily: Daily | None = None
        self._slowing: Slowing | None = None
        self.limits = limits
        self._fit(kept)

    def resize(self, limits: Limits) -> None:
        """The configuration changed."""
        if limits != self.limits:
            self.limits = limits
            self._fit(self._daily.exact() if self._daily is not None else None)

    def _fit(self, kept: Count | None) -> None:
        before = {pace.rate: pace for pace in self._paces}
        self._paces = [before.get(rate) or Pace(rate) for rate in self.limits.rates]
        slowest = min((rate.per_second for rate in self.limits.rates), default=None)
        self._backlog = None if slowest is None else int(slowest * BACKLOG)
        self._daily = Daily(self.limits.daily, kept) if self.limits.daily is not None else None

    def hold(self, now: float) -> Hold | None:
        """Why no message may start at `now`; None: one may."""
        limits = self.limits
        at_once = limits.at_once
        if at_once is not None and self.running >= self._share(at_once, now):
            name = "connections" if limits.connections == at_once != limits.concurrency else "concurrency"
            return Hold(math.inf, name)
        return self.further(now)

    def further(self, now: float) -> Hold | None:
        """Why a delivery that runs may not send one more message at `now`; None: it may."""
        latest, limit = now, ""
        for pace in self._paces:
            at = pace.next_at(now)
            if at > latest:
                latest, limit = at, "rate"
        if self._daily is not None:
            day = self._daily.next_at(now)
            if day is None or day > latest:
                return Hold(math.inf if day is None else day, "daily")
        return Hold(latest, limit) if limit else None

    def start(self, now: float) -> None:
        """A delivery starts, with its first message."""
        self.running += 1
        self.spend(now)

    def spend(self, now: float) -> None:
        """One message goes."""
        if self._paces:
            factor = self.factor(now)
            for pace in self._paces:
                pace.take(now, factor)
        if self._daily is not None:
            self._daily.take(now)

    def end(self) -> None:
        """A delivery is over."""
        self.running -= 1

    def slow(self, now: float, share: float, seconds: float, rule: str, reason: str) -> bool:
        """The provider complained; whether less is given now than before."""
        if self._slowing is None:
            self._slowing = Slowing()
        if not self._slowing.slow(now, share, seconds):
            return False
        self._slowing.rule, self._slowing.reason = rule, reason
        return True

    def factor(self, now: float) -> float:
        """What part of the limits is given now."""
        return 1.0 if self._slowing is None else self._slowing.factor(now)

    @property
    def slowing(self) -> Slowing | None:
        """Why less is given, when it once was."""
        return self._slowing

    @property
    def daily(self) -> Daily | None:
        """The day's count, when there is a cap."""
        return self._daily

    def most_waiting(self, most: int) -> int:
        """How many may wait in memory, of `most` at all: what the rates let go within BACKLOG."""
        return most if self._backlog is None else max(2, min(most, self._backlog))

    def is_idle(self, now: float) -> bool:
        """Whether it holds nothing that a new one would not."""
        return not (
            self.running
            or self.waiting
            or (self._daily is not None and self._daily.used)
            or self.factor(now) < 1.0
            or any(pace.next_at(now) > now for pace in self._paces)
        )

    def _share(self, limit: int, now: float) -> int:
        return limit if self._slowing is None else max(1, int(limit * self._slowing.factor(now)))
