"""The breaker trips when over half of at least 50 first attempts through a route bounce within 5 minutes."""

from __future__ import annotations

from relayd.routing.breaker import Breaker
from relayd.routing.options import BreakerOptions

NOW = 1_800_000_000.0


def test_fifty_bounces_trip_it() -> None:
    breaker = Breaker()
    assert [breaker.record("r", 1, 1, NOW) for _ in range(50)] == [False] * 49 + [True]
    assert breaker.counted("r") == (0, 0)  # judged anew after that


def test_half_is_not_over_half() -> None:
    breaker = Breaker()
    assert not any(breaker.record("r", 1, number % 2, NOW) for number in range(100))
    assert breaker.record("r", 1, 1, NOW)


def test_routes_are_judged_each_for_itself() -> None:
    breaker = Breaker()
    assert not any(breaker.record(f"r{number % 2}", 1, 1, NOW) for number in range(98))
    assert breaker.record("r0", 1, 1, NOW)


def test_only_five_minutes_count() -> None:
    breaker = Breaker()
    assert not breaker.record("r", 49, 49, NOW)
    assert not breaker.record("r", 1, 1, NOW + 301)
    assert breaker.counted("r") == (1, 1)
    assert breaker.record("r", 49, 49, NOW + 500)


def test_within_five_minutes_they_add_up() -> None:
    breaker = Breaker()
    assert not breaker.record("r", 49, 49, NOW)
    assert breaker.record("r", 1, 1, NOW + 280)


def test_a_clock_set_back_forgets_what_lies_ahead() -> None:
    breaker = Breaker()
    assert not breaker.record("r", 49, 49, NOW)
    assert not breaker.record("r", 1, 1, NOW - 3600)
    assert breaker.counted("r") == (1, 1)


def test_it_can_be_switched_off() -> None:
    assert not Breaker(BreakerOptions(attempts=0)).record("r", 1000, 1000, NOW)


def test_idle_routes_are_forgotten() -> None:
    breaker = Breaker()
    for number in range(100):
        breaker.record(f"r{number}", 1, 0, NOW)
    breaker.record("other", 1, 0, NOW + 1000)
    assert sum(breaker.counted(f"r{number}") != (0, 0) for number in range(100)) == 0
