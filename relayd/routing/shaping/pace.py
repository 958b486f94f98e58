"""Messages a second, a minute or an hour, evenly spaced: the generic cell rate algorithm (ITU-T I.371) as a virtual
schedule.

A full bucket of tokens would let a burst go; here each message moves the time of the next one by the rate's interval.
A timer that comes late may be made up for by no more than `slack`, and the interval is so much longer that even then no
window of one period sees more messages than the rate allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayd.options import Kind, OptionError, Raw, list_of

_PERIODS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_WORDS = {1.0: "s", 60.0: "m", 3600.0: "h"}
_MOST = 1_000_000
_SLACK = 0.02
"""Seconds, and part of the period, by which a late timer is made up for."""

_ROUNDING = 5e-7
"""Seconds: what a sum of Unix times may lose."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `messages` in any `period` (seconds)."""

    messages: int
    period: float

    @property
    def per_second(self) -> float:
        """The same, in messages a second."""
        return self.messages / self.period

    def __str__(self) -> str:
        return f"{self.messages}/{_WORDS[self.period]}"


def parse_rate(value: Raw) -> Rate:
    """ "10/s", "300/m" or "5000/h".  Raises OptionError."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(s|m|min|h)\s*", value, re.ASCII)
        if found and 1 <= (messages := int(found[1])) <= _MOST:
            return Rate(messages, _PERIODS[found[2]])
    raise OptionError('expected messages in a time, such as "10/s", "300/m" or "5000/h"')


RATE = Kind("rate", parse_rate)
RATES = list_of(RATE)


class Pace:
    """One rate and when its next message may go.  Times are Unix seconds; a clock that is set back starts it anew."""

    __slots__ = ("_due", "_interval", "_slack", "_step", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._slack = min(_SLACK, _SLACK * rate.period)
        self._interval = (rate.period + self._slack) / rate.messages + _ROUNDING
        self._step = self._interval
        self._due = 0.0

    def next_at(self, now: float) -> float:
        """The earliest time for the next message; `now` when it may go at once."""
        at = self._due - self._slack
        if at <= now or at > now + self._step + self._slack:
            return now
        return at

    def take(self, now: float, factor: float = 1.0) -> None:
        """A message goes.  factor: the part of the rate that is given now, 0 < factor <= 1."""
        due = self._due
        if due < now or due > now + self._step + 2 * self._slack:
            due = now
        self._step = self._interval / factor
        self._due = due + self._step
