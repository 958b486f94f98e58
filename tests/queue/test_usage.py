"""What is sent in whose name is counted with the promise, and not forgotten by a crash."""

from __future__ import annotations

import datetime

from relayd.queue.usage import KEPT, Ledger, hour_of, period_end, period_start
from tests.queue.conftest import DAY, START, Rig

NAMES = ("account:jane", "domain:a.example")


async def sent(rig: Rig, ledger: Ledger, recipients: int = 2) -> None:
    """One message in the names of NAMES."""
    reservation = await ledger.reserve(NAMES)
    ledger.take(reservation, "recipients", recipients)
    charges = ledger.charges(reservation, recipients, 1000)
    await rig.o.queue.enqueue(rig.new(charges=charges))
    ledger.end(reservation, charges)


def ledger_of(rig: Rig) -> Ledger:
    return Ledger(rig.o.queue.database, rig.clock)


async def test_what_was_promised_is_counted_under_every_name_also_after_a_restart(rig: Rig) -> None:
    ledger = ledger_of(rig)
    await sent(rig, ledger)
    await sent(rig, ledger)
    await rig.reopen()
    for each in (ledger, ledger_of(rig)):
        await each.reserve(NAMES)
        for name in NAMES:
            assert each.used(name, "recipients", "hour") == 4
            assert each.used(name, "bytes", "month") == 2000
            assert each.used(name, "messages", "day") == 2 + 1


async def test_an_hour_ends_and_a_day_goes_on(rig: Rig) -> None:
    ledger = ledger_of(rig)
    await sent(rig, ledger)
    rig.clock.now = period_end("hour", rig.clock.now)
    await sent(rig, ledger)
    assert (await ledger.spent(NAMES[0])) == {"hour": (1, 2, 1000), "day": (2, 4, 2000), "month": (2, 4, 2000)}
    await ledger.reserve(NAMES)
    assert ledger.used(NAMES[0], "recipients", "hour") == 2
    assert ledger.used(NAMES[0], "recipients", "day") == 4


async def test_sessions_at_once_see_what_the_others_were_promised(rig: Rig) -> None:
    ledger = ledger_of(rig)
    first, second = await ledger.reserve(NAMES), await ledger.reserve(NAMES)
    ledger.take(first, "recipients", 10)
    ledger.take(second, "recipients", 5)
    assert ledger.used(NAMES[0], "recipients", "hour") == 15
    ledger.end(first)
    ledger.end(first)
    assert ledger.used(NAMES[0], "recipients", "hour") == 5


async def test_a_message_that_is_taken_back_is_not_counted(rig: Rig) -> None:
    ledger = ledger_of(rig)
    charges = ledger.charges(await ledger.reserve(NAMES), 2, 1000)
    message = rig.new(charges=charges)
    await rig.o.queue.enqueue(message)
    await rig.o.queue._disown([message])
    assert (await ledger.spent(NAMES[0]))["day"] == (0, 0, 0)


async def test_hours_that_count_for_nothing_are_forgotten(rig: Rig) -> None:
    await sent(rig, ledger_of(rig))
    rig.clock.now += KEPT + DAY
    await sent(rig, ledger_of(rig))
    await rig.o.upkeep.hourly()
    hours = await rig.o.queue.database.read(lambda connection: connection.execute("SELECT hour FROM usage").fetchall())
    assert {hour for (hour,) in hours} == {hour_of(rig.clock.now)}


def test_months_are_those_of_the_calendar() -> None:
    def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> float:
        return datetime.datetime(year, month, day, hour, minute, tzinfo=datetime.UTC).timestamp()

    assert period_start("month", at(2028, 2, 29, 12)) == at(2028, 2, 1)
    assert period_end("month", at(2028, 2, 29, 12)) == at(2028, 3, 1)
    assert period_end("month", at(2027, 12, 31, 23, 59)) == at(2028, 1, 1)
    assert period_end("day", START) - period_start("day", START) == DAY
