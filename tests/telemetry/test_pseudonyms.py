"""Pseudonyms: every address in a line is replaced, by the same one each time, and only addresses are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.telemetry.pseudonyms import Pseudonyms, load_key

KEY = bytes(range(32))
NAMES = Pseudonyms(KEY)


@pytest.mark.parametrize(
    "text",
    [
        'from = "jane.doe@example.org", to = ["a@x.test", "b@x.test"]',
        "from=<jane@example.org>, to=<x=y@z.test>",
        "550 5.1.1 <jane+tag@sub.example.org>: unknown",
        'rcpt "a b"@example.org gone',
        "jörg@bücher.example is international",
        "someone@[192.0.2.1]",
    ],
)
def test_no_local_part_is_left(text: str) -> None:
    line = NAMES.line(text)
    for local in ("jane", "doe", "x=y", "a@", "b@", "a b", "jörg", "tag"):
        assert local not in line or local not in text or "[192" in text
    assert line.count("@") == text.count("@")


def test_domains_stay_and_case_does_not_matter() -> None:
    assert NAMES.of("Jane@Example.org").partition("@")[0] == NAMES.of("jane@example.org").partition("@")[0]
    assert NAMES.of("jane@example.org").endswith("@example.org")
    assert NAMES.of("jane@example.org") != Pseudonyms(b"another key, as long as it must be").of("jane@example.org")
    assert NAMES.of("jane@example.org") != NAMES.of("jane@example.net")


def test_a_line_without_addresses_is_as_it_was() -> None:
    assert NAMES.line("remoteIp = 192.0.2.1, hostname = mx.example.org") == (
        "remoteIp = 192.0.2.1, hostname = mx.example.org"
    )
    assert NAMES.line("a @ b, @, x@, @y") == "a @ b, @, x@, @y"


@given(st.text(max_size=200))
def test_any_text_can_be_a_line(text: str) -> None:
    assert NAMES.line(text).count("\n") == text.count("\n")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "pseudonym.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
