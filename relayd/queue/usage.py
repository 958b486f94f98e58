"""How much was sent in whose name: counted in the transaction that promises the message, so that no crash forgets it.

What is counted goes under a name (an account, a domain, a tenant: the callers' own) and the clock hour (UTC) in which
the message was queued; days and months are sums of hours.  `Ledger` keeps the sums of who sends now in memory, and
what is promised to sessions that are not done yet, so that many of them together keep to one limit.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from relayd.database.interface import Connection, Database

HOUR, DAY = 3600.0, 86400.0
PERIODS = ("hour", "day", "month")
MEASURES = ("messages", "recipients", "bytes")

KEPT = 62 * DAY
"""Seconds for which hours are kept: this month and the one before."""

_REMEMBERED = 10_000
"""Names whose sums are in memory."""


class Charge(msgspec.Struct, frozen=True):
    """What one message counts under one name.  hour: Unix time of its beginning, in hours."""

    name: str
    hour: int
    messages: int
    recipients: int
    octets: int


def hour_of(now: float) -> int:
    """The clock hour of a Unix time, for `Charge.hour`."""
    return int(now // HOUR)


def period_start(period: str, now: float) -> float:
    """When the hour, day or month (UTC) of `now` began; Unix seconds."""
    if period == "month":
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    length = HOUR if period == "hour" else DAY
    return now // length * length


def period_end(period: str, now: float) -> float:
    """When it ends, and all of the limit is there again; Unix seconds."""
    start = period_start(period, now)
    if period == "month":
        return period_start("month", start + 32 * DAY)
    return start + (HOUR if period == "hour" else DAY)


def charge(connection: Connection, charges: Iterable[Charge], sign: int = 1) -> None:
    """Count; with sign -1: take back."""
    connection.executemany(
        "INSERT INTO usage VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, hour) DO UPDATE SET"
        " messages = messages + excluded.messages, recipients = recipients + excluded.recipients,"
        " octets = octets + excluded.octets",
        [(each.name, each.hour, sign * each.messages, sign * each.recipients, sign * each.octets) for each in charges],
    )


def forget_before(connection: Connection, now: float, most: int) -> int:
    """Remove up to `most` hours that are too old to count for anything; how many there were."""
    found = connection.execute("SELECT name, hour FROM usage WHERE hour < ? LIMIT ?", (hour_of(now - KEPT), most))
    rows = found.fetchall()
    connection.executemany("DELETE FROM usage WHERE name = ? AND hour = ?", rows)
    return len(rows)


Amounts = tuple[int, int, int]
"""Messages, recipients, octets."""


def spent(connection: Connection, name: str, now: float) -> dict[str, Amounts]:
    """What was counted under a name, by period, up to now."""
    found = {}
    for period in PERIODS:
        row = connection.execute(
            "SELECT coalesce(sum(messages), 0), coalesce(sum(recipients), 0), coalesce(sum(octets), 0) FROM usage"
            " WHERE name = ? AND hour >= ?",
            (name, hour_of(period_start(period, now))),
        ).fetchone()
        found[period] = tuple(max(0, each) for each in row)
    return found


@dataclass(slots=True)
class _Sums:
    """What one name spent in the periods that began at `starts`, and what is promised of more."""

    starts: dict[str, float]
    spent: dict[str, list[int]]
    pending: list[int] = field(default_factory=lambda: [0, 0, 0])


class Reservation:
    """Room under some names that is taken for a message while it comes in.  End it with `Ledger.end`."""

    __slots__ = ("amounts", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.amounts = [0, 0, 0]


class Ledger:
    """The sums of who sends now.  clock: Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._sums: OrderedDict[str, _Sums] = OrderedDict()

    async def reserve(self, names: Sequence[str]) -> Reservation:
        """Begin to take room under `names`; nothing is taken yet.  Raises DatabaseError."""
        reservation = Reservation(names)
        missing = [name for name in reservation.names if name not in self._sums]
        now = self._clock()
        if missing:
            found = await self._database.read(
                lambda connection: {name: spent(connection, name, now) for name in missing}
            )
            for name, by_period in found.items():
                starts = {period: period_start(period, now) for period in PERIODS}
                # another session may have read it meanwhile, and taken room
                self._sums.setdefault(name, _Sums(starts, {period: list(by_period[period]) for period in PERIODS}))
        for name in reservation.names:
            self._sums.move_to_end(name)
            self._sums[name].pending[0] += 1
        reservation.amounts[0] = 1
        self._sweep()
        return reservation

    def take(self, reservation: Reservation, measure: str, amount: int) -> None:
        """Take more room under the names of a reservation."""
        place = MEASURES.index(measure)
        reservation.amounts[place] += amount
        for name in reservation.names:
            self._sums[name].pending[place] += amount

    def used(self, name: str, measure: str, period: str) -> int:
        """What is spent and promised of a measure in the present period, under a name with a reservation."""
        place = MEASURES.index(measure)
        sums = self._turned(name)
        return sums.spent[period][place] + sums.pending[place]

    def charges(self, reservation: Reservation, recipients: int, octets: int) -> tuple[Charge, ...]:
        """What the message of a reservation counts, for `NewMessage.charges`."""
        hour = hour_of(self._clock())
        return tuple(Charge(name, hour, 1, recipients, octets) for name in reservation.names)

    def end(self, reservation: Reservation, charged: Sequence[Charge] = ()) -> None:
        """The message is promised and counted (`charged`), or never will be.  Ending twice does nothing."""
        for each in charged:
            sums = self._turned(each.name)
            for period in PERIODS:
                if each.hour * HOUR >= sums.starts[period]:
                    for place, amount in enumerate((each.messages, each.recipients, each.octets)):
                        sums.spent[period][place] += amount
        for name in reservation.names:
            sums = self._sums[name]
            sums.pending = [have - taken for have, taken in zip(sums.pending, reservation.amounts, strict=True)]
        reservation.names = ()

    async def spent(self, name: str) -> dict[str, Amounts]:
        """What is counted under a name, by period.  Raises DatabaseError."""
        now = self._clock()
        return await self._database.read(lambda connection: spent(connection, name, now))

    def _turned(self, name: str) -> _Sums:
        """The sums of a name, those of a period that ended begun anew."""
        sums, now = self._sums[name], self._clock()
        for period in PERIODS:
            start = period_start(period, now)
            if start != sums.starts[period]:
                sums.starts[period], sums.spent[period] = start, [0, 0, 0]
        return sums

    def _sweep(self) -> None:
        for name in list(self._sums):
            if len(self._sums) <= _REMEMBERED:
                return
            if not any(self._sums[name].pending):
                del self._sums[name]
