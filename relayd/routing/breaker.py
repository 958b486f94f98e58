"""The breaker: a route through which most first attempts bounce is suspended before more mail is lost to it.

A smarthost that suddenly refuses everything with 5xx, or a destination that took us for a spammer, would else turn a
whole queue into bounces within minutes.  Only first attempts count: later ones are the leftovers of trouble.  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relayd.routing.options import BreakerOptions

_PARTS = 30
"""Into how many parts the window is cut; the oldest one falls off as a whole."""


@dataclass(slots=True)
class _Tally:
    """First attempts of one route by part of the window: number of the part -> [made, bounced]."""

    parts: dict[int, list[int]] = field(default_factory=dict)
    made: int = 0
    bounced: int = 0


class Breaker:
    """Counts first attempts per route key."""

    def __init__(self, options: BreakerOptions | None = None) -> None:
        self.options = options or BreakerOptions()
        self._tallies: dict[str, _Tally] = {}
        self._swept = 0.0

    def record(self, key: str, made: int, bounced: int, now: float) -> bool:
        """Note `made` first attempts, `bounced` of them, at `now` (Unix seconds); True: suspend the route now.

        When it trips the count starts anew, so that a route resumed by hand is judged by what it does then.
        """
        options = self.options
        if not options.attempts:
            return False
        width = max(options.window / _PARTS, 0.001)
        number = int(now // width)
        if now - self._swept > options.window or now < self._swept:
            self._sweep(number, now)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        if number not in tally.parts:
            _forget(tally, number)
        part = tally.parts.setdefault(number, [0, 0])
        part[0] += made
        part[1] += bounced
        tally.made += made
        tally.bounced += bounced
        if tally.made < options.attempts or tally.bounced * 100 <= tally.made * options.percent:
            return False
        del self._tallies[key]
        return True

    def counted(self, key: str) -> tuple[int, int]:
        """First attempts and bounces now counted for a route."""
        tally = self._tallies.get(key)
        return (0, 0) if tally is None else (tally.made, tally.bounced)

    def _sweep(self, number: int, now: float) -> None:
        """Drop the routes that had no first attempt within the window."""
        self._swept = now
        for key, tally in list(self._tallies.items()):
            _forget(tally, number)
            if not tally.parts:
                del self._tallies[key]


def _forget(tally: _Tally, number: int) -> None:
    """Drop the parts that are older than the window, and those of a future that a clock set back has undone."""
    for old in [each for each in tally.parts if not number - _PARTS < each <= number]:
        made, bounced = tally.parts.pop(old)
        tally.made -= made
        tally.bounced -= bounced
