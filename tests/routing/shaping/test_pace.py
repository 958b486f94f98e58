"""Rates let messages go evenly, and never more than they say in any of their periods."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.options import OptionError
from relayd.routing.shaping.pace import Pace, Rate, parse_rate

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", Rate(10, 1.0)), (" 300 / m", Rate(300, 60.0)), ("5/min", Rate(5, 60.0)), ("1/h", Rate(1, 3600.0))],
)
def test_a_rate_as_it_is_written(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["10", "0/s", "10/d", "1e3/s", "10000000/s", "-1/s", "", 10, ["1/s"]])
def test_what_is_no_rate(text: object) -> None:
    with pytest.raises(OptionError, match="messages in a time"):
        parse_rate(text)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    rate=st.builds(Rate, st.integers(1, 400), st.sampled_from([1.0, 60.0])),
    late=st.lists(st.floats(0.0, 0.3), min_size=1, max_size=50),
)
def test_no_period_sees_more_than_the_rate_however_late_the_timers_are(rate: Rate, late: list[float]) -> None:
    pace, now, sent = Pace(rate), NOW, []
    for number in range(rate.messages * 3):
        now = max(now, pace.next_at(now)) + (late[number % len(late)] if number % 7 == 0 else 0.0)
        assert pace.next_at(now) <= now
        pace.take(now)
        sent.append(now)
    first = sent[: -rate.messages]
    assert all(later - each > rate.period - 1e-5 for each, later in zip(first, sent[rate.messages :], strict=True))


def test_messages_are_spaced_and_the_rate_is_reached() -> None:
    pace, now = Pace(Rate(10, 1.0)), NOW
    times = []
    for _ in range(100):
        now = pace.next_at(now)
        pace.take(now)
        times.append(now)
    gaps = [after - before for before, after in pairwise(times[1:])]
    assert min(gaps) > 0.09
    assert times[-1] - times[0] == pytest.approx(10.0, rel=0.03)


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    pace = Pace(Rate(1, 3600.0))
    pace.take(NOW)
    assert pace.next_at(NOW + 60) == pytest.approx(NOW + 3600, abs=1)
    assert pace.next_at(NOW - 86400) == NOW - 86400


def test_a_slowed_pace_is_so_much_slower() -> None:
    pace = Pace(Rate(10, 1.0))
    pace.take(NOW, 0.25)
    assert pace.next_at(NOW) - NOW == pytest.approx(0.4, abs=0.03)
