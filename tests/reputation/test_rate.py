"""Rates are read as written, and buckets keep to them in bounded space."""

from __future__ import annotations

import pytest

from relayd.options import OptionError
from relayd.reputation.rate import Buckets, Rate, parse_rate, whole_seconds


def test_a_rate_is_a_count_in_a_time() -> None:
    assert parse_rate("1000/1m") == Rate(1000, 60.0)
    assert parse_rate(" 100 / 1d ") == Rate(100, 86400.0)
    assert parse_rate("none") is None
    assert parse_rate(False) is None


@pytest.mark.parametrize("value", ["", "100", "0/1m", "5/0", "x/1m", "5/x", "-1/1m", 7, True, ["1/1m"]])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match="expected a rate"):
        parse_rate(value)  # type: ignore[arg-type]


def test_a_bucket_gives_its_count_at_once_and_again_in_each_period() -> None:
    buckets = Buckets(Rate(3, 60.0))
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 0.0) == pytest.approx(20.0)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 19.0) == pytest.approx(1.0)
    assert buckets.take("a", 20.1) == 0.0
    assert buckets.wait("a", 20.1) > 0
    assert [buckets.take("a", 1000.0) for _ in range(4)][2:] == [0.0, pytest.approx(20.0)]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    buckets = Buckets(Rate(1, 10.0))
    assert buckets.take("a", 100.0) == 0.0
    assert buckets.take("a", 50.0) == pytest.approx(10.0)
    assert buckets.take("a", 60.1) == 0.0


def test_only_so_many_keys_are_remembered() -> None:
    buckets = Buckets(Rate(1, 60.0), most=100)
    for number in range(10_000):
        buckets.take(number, 0.0)
    assert len(buckets) == 100
    assert buckets.wait(9_999, 0.0) > 0
    assert buckets.wait(0, 0.0) == 0.0


def test_without_a_rate_nothing_is_counted() -> None:
    buckets = Buckets(None)
    assert not any(buckets.take("a", 0.0) for _ in range(1000))
    assert len(buckets) == 0


def test_waiting_is_told_in_whole_seconds() -> None:
    assert [whole_seconds(each) for each in (0.0, 0.2, 1.0, 1.01)] == [1, 1, 1, 2]
