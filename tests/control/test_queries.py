"""Times and numbers of query strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.control.queries import parse_number, parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-15T08:00:00Z", 1_800_000_000.0),
        ("2027-01-15t08:00:00z", 1_800_000_000.0),
        ("2027-01-15T09:30:00+01:30", 1_800_000_000.0),
        ("2027-01-15T09:30:00 01:30", 1_800_000_000.0),
        ("2027-01-15T06:30:00-01:30", 1_800_000_000.0),
        ("2027-01-15T08:00:00.5Z", 1_800_000_000.5),
        ("2027-01-15T08:00:00", None),
        ("2027-13-15T08:00:00Z", None),
        ("2027-01-15", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_times(text: str, expected: float | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("7", 7), ("-7", None), ("7.5", None), ("٣", None), ("9" * 19, None)])
def test_numbers(text: str, expected: int | None) -> None:
    assert parse_number(text) == expected


@given(st.text())
def test_any_text_is_a_value_or_none(text: str) -> None:
    assert parse_time(text) is None or isinstance(parse_time(text), float)
    assert parse_number(text) is None or parse_number(text) == int(text)
