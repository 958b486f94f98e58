"""Rates: "100/1m", and token buckets that keep to one."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from relayd.options import Kind, OptionError, Raw, parse_duration


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` in `period` seconds."""

    count: int
    period: float


def parse_rate(value: Raw) -> Rate | None:
    """ "100/1m" is 100 a minute, "none" (or false) is no limit; OptionError."""
    if value in ("none", "false") or value is False:
        return None
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(.+)", value) if isinstance(value, str) else None
    if match is not None:
        try:
            rate = Rate(int(match[1]), parse_duration(match[2]))
        except OptionError:
            rate = Rate(0, 0.0)
        if rate.count and rate.period:
            return rate
    raise OptionError('expected a rate such as "100/1m" or "1000/1h", or "none"')


RATE = Kind("rate", parse_rate)


class Buckets:
    """A token bucket for each key: `rate.count` at once, and as many again in each period.

    most: keys remembered; the one not asked for longest is forgotten first, and begins anew.
    """

    def __init__(self, rate: Rate | None, most: int = 10_000) -> None:
        self.rate = rate
        self._most = most
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """Take one: 0 when there was one, else the seconds until there is, and nothing is taken."""
        rate = self.rate
        if rate is None:
            return 0.0
        left = self._level(rate, key, now)
        taken = left >= 1.0
        self._left[key] = (left - 1.0 if taken else left, now)
        self._left.move_to_end(key)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if taken else self._until_one(rate, left)

    def wait(self, key: Hashable, now: float) -> float:
        """The seconds until there is one to take, 0 when there is; nothing is taken."""
        if self.rate is None or key not in self._left:
            return 0.0
        left = self._level(self.rate, key, now)
        return 0.0 if left >= 1.0 else self._until_one(self.rate, left)

    def forget(self, key: Hashable) -> None:
        """Begin anew with `key`."""
        self._left.pop(key, None)

    def _level(self, rate: Rate, key: Hashable, now: float) -> float:
        left, at = self._left.get(key, (float(rate.count), now))
        return min(float(rate.count), left + max(0.0, now - at) * rate.count / rate.period)

    @staticmethod
    def _until_one(rate: Rate, left: float) -> float:
        return (1.0 - left) * rate.period / rate.count

    def __len__(self) -> int:
        return len(self._left)

    def __contains__(self, key: object) -> bool:
        return key in self._left


def whole_seconds(seconds: float) -> int:
    """Seconds for a Retry-After: whole, and at least one."""
    return max(1, math.ceil(seconds))
