"""Concurrency, the day's count, and slowing, each at one meter."""

from __future__ import annotations

import math

import pytest

from relayd.routing.shaping.daily import DAY, Count, Daily
from relayd.routing.shaping.limits import Limits
from relayd.routing.shaping.meter import Hold, Meter
from relayd.routing.shaping.pace import Rate
from relayd.routing.shaping.slowing import LEAST, Slowing

NOW = 20_000 * DAY + 3600.0


def test_no_more_run_than_may() -> None:
    meter = Meter("provider:x", Limits(concurrency=2))
    for _ in range(2):
        assert meter.hold(NOW) is None
        meter.start(NOW)
    assert meter.hold(NOW) == Hold(math.inf, "concurrency")
    meter.end()
    assert meter.hold(NOW) is None


def test_connections_bound_the_deliveries_too() -> None:
    meter = Meter("provider:x", Limits(concurrency=5, connections=1))
    meter.start(NOW)
    assert meter.hold(NOW) == Hold(math.inf, "connections")


def test_of_several_rates_the_slowest_counts() -> None:
    meter = Meter("provider:x", Limits(rates=(Rate(10, 1.0), Rate(60, 3600.0))))
    meter.start(NOW)
    hold = meter.hold(NOW + 1)
    assert hold is not None
    assert hold.limit == "rate"
    assert hold.at == pytest.approx(NOW + 60, abs=0.1)


def test_what_waits_in_memory_is_what_goes_within_minutes() -> None:
    assert Meter("x", Limits(concurrency=1)).most_waiting(1000) == 1000
    assert Meter("x", Limits(rates=(Rate(1, 1.0),))).most_waiting(1000) == 600
    assert Meter("x", Limits(rates=(Rate(1, 3600.0),))).most_waiting(1000) == 2


def test_other_limits_keep_what_is_counted() -> None:
    meter = Meter("x", Limits(concurrency=1, rates=(Rate(1, 60.0),), daily=10), Count(20_000, 4))
    written(meter)
    meter.start(NOW)
    meter.resize(Limits(concurrency=2, rates=(Rate(1, 60.0),), daily=5))
    assert meter.running == 1
    assert meter.daily is not None
    assert meter.daily.used == 5
    assert meter.hold(NOW) == Hold(20_001 * DAY, "daily")


def written(meter: Meter) -> None:
    """What the meter wants written is."""
    assert meter.daily is not None
    count = meter.daily.wanted(NOW)
    assert count is not None
    meter.daily.keep(count)


def test_a_day_is_reserved_in_blocks_before_it_is_used() -> None:
    daily, writes, used = Daily(1000), [], 0
    while (at := daily.next_at(NOW)) is None or at == NOW:
        if (count := daily.wanted(NOW)) is not None:
            writes.append(count)
            daily.keep(count)
        if daily.next_at(NOW) == NOW:
            daily.take(NOW)
            used += 1
            assert used <= writes[-1].used, "used before it was written"
    assert used == 1000
    assert at == 20_001 * DAY
    assert len(writes) <= 200


@pytest.mark.parametrize("before", [1, 57, 995])
def test_a_crash_never_gives_more_than_the_cap(before: int) -> None:
    daily, disk = Daily(1000), Count(0, 0)

    def use(daily: Daily, most: int) -> int:
        nonlocal disk
        used = 0
        while used < most and daily.next_at(NOW) in (None, NOW):
            if (count := daily.wanted(NOW)) is not None:
                disk = count
                daily.keep(count)
            daily.take(NOW)
            used += 1
        return used

    first = use(daily, before)
    again = use(Daily(1000, disk), 2000)
    assert 1000 - 15 <= first + again <= 1000


def test_a_new_day_begins_at_midnight() -> None:
    daily = Daily(1, Count(20_000, 1))
    assert daily.next_at(NOW) == 20_001 * DAY
    assert daily.next_at(20_001 * DAY) is None
    assert daily.wanted(20_001 * DAY) == Count(20_001, 1)


def test_complaints_halve_and_calm_doubles() -> None:
    slowing = Slowing()
    assert slowing.slow(NOW, 0.5, 60)
    assert not slowing.slow(NOW + 1, 0.5, 60), "the attempts in flight are one complaint"
    assert slowing.factor(NOW + 20) == 0.5
    assert slowing.slow(NOW + 20, 0.5, 60)
    assert slowing.factor(NOW + 79) == 0.25
    assert slowing.factor(NOW + 81) == 0.5
    assert slowing.factor(NOW + 141) == 1.0


def test_there_is_always_something_left() -> None:
    slowing = Slowing()
    for number in range(20):
        slowing.slow(NOW + 20 * number, 0.1, 3600)
    assert slowing.factor(NOW + 400) == LEAST
    meter = Meter("x", Limits(concurrency=3))
    meter.slow(NOW, 0.1, 60, "rule", "421")
    assert meter.hold(NOW) is None
    meter.start(NOW)
    assert meter.hold(NOW) is not None
    assert meter.hold(NOW + 3600) is None
