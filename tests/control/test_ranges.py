"""Range headers, as RFC 9110 section 14 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.control.ranges import Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 500)),
        ("bytes=9500-", (9500, 500)),
        ("bytes=-500", (9500, 500)),
        ("bytes=0-0", (0, 1)),
        ("bytes=-1", (9999, 1)),
        ("bytes=9999-20000", (9999, 1)),
        ("bytes=-20000", (0, 10000)),
        ("Bytes= 1-2 ", (1, 2)),
        ("bytes=1-" + "9" * 5000, (1, 9999)),
    ],
)
def test_the_octets_meant(header: str, meant: tuple[int, int]) -> None:
    assert parse_range(header, 10_000) == meant


@pytest.mark.parametrize(
    "header",
    ["", "bytes=", "bytes=-", "bytes=2-1", "bytes=0-0,5-6", "items=0-5", "bytes 0-5", "bytes=a-b", "bytes=+1-2",
     "bytes=٣-٤"],
)  # fmt: skip
def test_what_is_ignored(header: str) -> None:
    assert parse_range(header, 10_000) is None


@pytest.mark.parametrize("header", ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_nothing_of_it_is_there(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 10_000)
    with pytest.raises(Unsatisfiable):
        parse_range("bytes=0-", 0)


@given(st.from_regex(r"bytes=\d{0,25}-\d{0,25}", fullmatch=True) | st.text(), st.integers(0, 1 << 40))
def test_a_range_is_within_the_body(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except Unsatisfiable:
        return
    if found is not None:
        start, count = found
        assert 0 <= start < start + count <= size
