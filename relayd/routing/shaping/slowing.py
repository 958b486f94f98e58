"""Giving less for a time: what a provider is slowed to after it complained, and how it comes back.

Each complaint makes the share smaller, down to a sixteenth.  When the time of the last one is over the share doubles,
and again after the same time, until all is given: a provider that complained is not met with the full rate at once.
"""

from __future__ import annotations

LEAST = 1 / 16
_CALM = 10.0
"""Seconds after a complaint within which others are taken for the same one: the attempts that were in flight."""


class Slowing:
    """The share of one subject.  reason, rule: of the last complaint."""

    __slots__ = ("_at", "_factor", "_seconds", "_until", "reason", "rule")

    def __init__(self) -> None:
        self._factor = 1.0
        self._until = self._seconds = self._at = 0.0
        self.reason = self.rule = ""

    def slow(self, now: float, share: float, seconds: float) -> bool:
        """A complaint: give `share` of what is given now, for `seconds`.  Whether it changed the share."""
        factor = self.factor(now)
        self._until, self._seconds = now + seconds, seconds
        if factor < 1.0 and 0.0 <= now - self._at < _CALM:
            return False
        self._at = now
        self._factor = max(LEAST, factor * share)
        return self._factor < factor

    def factor(self, now: float) -> float:
        """What part is given at `now`."""
        if self._factor == 1.0:
            return 1.0
        if self._until - now > self._seconds:  # the clock was set back
            self._until = now + self._seconds
        while now >= self._until and self._factor < 1.0:
            self._factor = min(1.0, self._factor * 2)
            self._until += self._seconds
        return self._factor

    @property
    def until(self) -> float:
        """When the share grows next, while it is below 1."""
        return self._until
