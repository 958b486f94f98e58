"""Times and numbers of query strings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.control.answers import Problem
from relayd.control.queries import FLAG, NUMBER, TEXT, WORDS, PageQuery, decode, parameter, parse_number, parse_time
from relayd.control.routes import element


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        ("-7", None),
        ("7.5", None),
        ("٣", None),
        ("9" * 18, 10**18 - 1),
        (str(2**64 - 1), 10**18 - 1),
        (str(2**64), None),
        ("9" * 5000, None),
    ],
)
def test_numbers(text: str, expected: int | None) -> None:
    assert parse_number(text) == expected


@given(st.text())
def test_any_text_is_a_value_or_none(text: str) -> None:
    assert parse_time(text) is None or isinstance(parse_time(text), float)
    assert parse_number(text) is None or parse_number(text) == min(int(text), 10**18 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query(PageQuery):
    words: tuple[str, ...] = parameter(WORDS, "Words.")
    flag: bool = parameter(FLAG, "A flag.")
    text: str | None = parameter(TEXT, "A text.", aliases=("filter",))
    max_total: int | None = parameter(NUMBER, "A number.")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, _Query()),
        ({"limit": "10", "page": "3"}, _Query(limit=10, page=3)),
        ({"limit": "ten", "flag": "", "text": "", "filter": "a"}, _Query(text="a")),
        ({"text": "b", "filter": "a", "flag": "0"}, _Query(text="b", flag=True)),
        ({"words": "a, ,b", "max-total": "5", "unknown": "1"}, _Query(words=("a", "b"), max_total=5)),
    ],
)
def test_a_query_string_becomes_a_query(values: dict[str, str], expected: _Query) -> None:
    assert decode(_Query, values) == expected


def test_a_page_without_limit_is_everything() -> None:
    assert (_Query(page=3).offset, _Query(page=3).size) == (0, None)
    assert (_Query(page=3, limit=10).offset, _Query(page=0, limit=10).offset) == (20, 0)


def test_strictly_read_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(Problem, match="limit: expected a whole number"):
        decode(_Query, {"limit": "ten"}, strict=True)


@pytest.mark.parametrize(
    ("raw", "meant"),
    [("a%40b.example", "a@b.example"), ("a+b%2Bc", "a b+c"), ("name=value", "name"), ("a&b", "a"), ("a%2Fb", "a/b")],
)
def test_a_path_element_is_decoded_as_a_form_key(raw: str, meant: str) -> None:
    assert element(raw) == meant


def test_the_last_page_that_can_be_asked_for_is_within_64_bits() -> None:
    query = PageQuery(page=10**18 - 1, limit=10**18 - 1)
    assert query.size is not None
    assert query.offset + query.size < 2**63
