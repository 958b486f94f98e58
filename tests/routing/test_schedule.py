"""The retry schedule is a list that one can read."""

from __future__ import annotations

import pytest

from relayd.routing.options import ScheduleOptions
from relayd.routing.schedule import Schedule

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def test_the_delays_are_those_written_and_the_last_repeats() -> None:
    schedule = Schedule()
    delays = [schedule.retry_at(attempt, 1000.0, 0.0) - 1000.0 for attempt in range(1, 10)]
    assert delays == [120, 300, 600, 900, 1800, 3600, 7200, 7200, 7200]


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 120.0), (0.5, 126.0), (1.0, 132.0)])
def test_chance_makes_a_delay_longer_never_shorter(chance: float, delay: float) -> None:
    assert Schedule().retry_at(1, 0.0, chance) == pytest.approx(delay)


def test_the_table_of_a_short_schedule() -> None:
    schedule = Schedule(ScheduleOptions(retry=(60.0, 600.0), notify=(900.0,), expire=1800.0))
    assert [str(row) for row in schedule.table()] == [
        "attempt   1  after      0  at age 0",
        "attempt   2  after     1m  at age 1m",
        "attempt   3  after    10m  at age 11m",
        "attempt   4  after    10m  at age 21m  tells the sender",
        "attempt   5  after     9m  at age 30m  gives up",
    ]


def test_the_default_table_tells_twice_and_gives_up_at_five_days() -> None:
    rows = Schedule().table()
    assert [row.age for row in rows if row.note == "tells the sender"] == [DAY + 2 * MINUTE, 3 * DAY + 2 * MINUTE]
    assert (rows[-1].age, rows[-1].note, len(rows)) == (5 * DAY, "gives up", 66)


def test_the_last_attempt_is_brought_forward_to_the_expiry() -> None:
    schedule = Schedule()
    assert schedule.last_call(due=5000.0, expires=6000.0, now=1000.0, chance=0.0) == 5000.0
    assert schedule.last_call(due=9000.0, expires=6000.0, now=1000.0, chance=0.0) == 6000.0
    # but never sooner than the shortest delay
    assert schedule.last_call(due=9000.0, expires=6000.0, now=5990.0, chance=0.0) == 6110.0


def test_notices_in_any_order_and_none_past_the_expiry() -> None:
    schedule = Schedule(ScheduleOptions(notify=(3 * DAY, DAY, 9 * DAY)))
    assert schedule.next_notify(100.0, 100.0) == 100.0 + DAY
    assert schedule.next_notify(100.0, 100.0 + DAY) == 100.0 + 3 * DAY
    assert schedule.next_notify(100.0, 100.0 + 3 * DAY) is None
    assert Schedule(ScheduleOptions(notify=())).next_notify(0.0, 0.0) is None


def test_without_delays_the_expiry_is_the_only_one() -> None:
    schedule = Schedule(ScheduleOptions(retry=(), expire=HOUR))
    assert [row.age for row in schedule.table()] == [0.0, HOUR]


def test_a_table_of_tiny_delays_is_bounded() -> None:
    assert len(Schedule(ScheduleOptions(retry=(1.0,))).table()) == 1000
