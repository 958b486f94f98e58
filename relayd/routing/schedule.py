"""The retry schedule as pure functions of time and chance, and as a list that a person can read.

A delay is never shorter than written: chance makes it up to a tenth longer, so that mail deferred together does not
come back together.  A notice is due at an age of the recipient, an expiry at another; both take effect with the next
attempt that fails at or after that age, and the last attempt is brought forward to the moment of expiry.
"""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import format_duration
from relayd.routing.options import ScheduleOptions

JITTER = 0.1
"""The largest part by which chance makes a delay longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One line of the printed schedule.  attempt: its number, from 1.  age: of the message, seconds, without jitter.
    delay: seconds since the attempt before.  note: "" or what else happens then.
    """

    attempt: int
    age: float
    delay: float
    note: str = ""

    def __str__(self) -> str:
        line = f"attempt {self.attempt:>3}  after {format_duration(self.delay):>6}  at age {_age(self.age)}"
        return f"{line}  {self.note}" if self.note else line


class Schedule:
    """When mail is tried, reported late and given up.  Times in and out are Unix seconds; chance is 0..1."""

    __slots__ = ("expire", "notify", "retry")

    def __init__(self, options: ScheduleOptions | None = None) -> None:
        options = options or ScheduleOptions()
        self.retry = options.retry or (options.expire,)
        self.notify = tuple(sorted(options.notify))
        self.expire = options.expire

    def delay(self, attempts: int) -> float:
        """Seconds, without jitter, from attempt number `attempts` (1 is the first) to the next."""
        return self.retry[min(max(attempts, 1), len(self.retry)) - 1]

    def retry_at(self, attempts: int, now: float, chance: float) -> float:
        """When to try again after attempt number `attempts`, made at `now`, has failed."""
        return now + self.delay(attempts) * (1.0 + JITTER * chance)

    def last_call(self, due: float, expires: float, now: float, chance: float) -> float:
        """`due`, or the moment of expiry when that comes earlier; never sooner than the shortest delay from now."""
        if due <= expires:
            return due
        return min(due, max(expires, now + min(self.retry) * (1.0 + JITTER * chance)))

    def first(self, now: float) -> float:
        """When mail queued at `now` is tried: at once."""
        return now

    def expires(self, created: float) -> float:
        """From when on a failed attempt is the last one."""
        return created + self.expire

    def next_notify(self, created: float, now: float) -> float | None:
        """The next time after `now` at which the sender is to be told of the delay; None: no more."""
        for age in self.notify:
            if created + age > now and age < self.expire:
                return created + age
        return None

    def table(self) -> list[ScheduleRow]:
        """The attempts of a message that always fails, notices and expiry marked; at most 1,000 rows."""
        rows = [ScheduleRow(attempt=1, age=0.0, delay=0.0)]
        notices = [age for age in self.notify if age < self.expire]
        while rows[-1].age < self.expire and len(rows) < 1000:
            before = rows[-1]
            age = self.last_call(before.age + self.delay(before.attempt), self.expire, before.age, 0.0)
            passed = [notice for notice in notices if before.age < notice <= age]
            note = "gives up" if age >= self.expire else "tells the sender" if passed else ""
            rows.append(ScheduleRow(attempt=before.attempt + 1, age=age, delay=age - before.age, note=note))
        return rows


def _age(seconds: float) -> str:
    """An age in its two largest units: 93720 -> "1d 2h"."""
    parts = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0"
