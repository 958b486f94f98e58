"""Pseudonyms: every address in an event is replaced, by the same one each time, and only addresses are."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.events import iprev, smtp
from relayd.events.event import Event, EventStream, Span
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
        "ann\u202e@example.org",
        "\x1b[1mann@example.org",
        "RCPT TO:<jane doe@example.org>",
        'RCPT TO:<"jane doe@example.org>',
        "jane@_odd.test",
        "ann@",
        '"a\\"b, c"@example.org',
        "no such user 'o'hara@example.org'.",
    ],
)
def test_no_local_part_is_left(text: str) -> None:
    line = re.sub(r"p-[a-z2-7]{16}@", "@", NAMES.text(text))
    for local in ("jane", "doe", "x=y", "a@", "b@", "a b", "jörg", "tag", "someone", "o'hara", "b, c", "ann"):
        assert local not in line
    assert line.count("@") == text.count("@")


def test_domains_stay_and_case_does_not_matter() -> None:
    assert NAMES.of("Jane@Example.org").partition("@")[0] == NAMES.of("jane@example.org").partition("@")[0]
    assert NAMES.of("jane@example.org").endswith("@example.org")
    assert NAMES.of("jane@example.org") != Pseudonyms(b"another key, as long as it must be").of("jane@example.org")
    assert NAMES.of("jane@example.org") != NAMES.of("jane@example.net")
    assert NAMES.of("jane+shop@example.org") == NAMES.of("jane@example.org")


def test_one_address_has_one_pseudonym_however_it_is_written() -> None:
    name = NAMES.of("jane@example.org")
    assert NAMES.text("<jane@example.org>, 'jane@example.org', jane@example.org.") == f"<{name}>, '{name}', {name}."


def test_an_event_is_the_same_but_for_its_addresses() -> None:
    jane, ann = NAMES.of("jane@example.org"), NAMES.of("ann@example.org")
    span = Span(EventStream(lambda: 5.0), 128, {"listenerId": "in", "to": ["jane@example.org", "x"]})
    result = iprev.PERM_ERROR.nested(details="jane@example.org is not allowed")
    given = {"domain": "ann@example.org", "result": [result], "elapsed": 0.5}
    found = NAMES.event(Event(smtp.SPF_FROM_FAIL, span, 7.0, given))
    [inner] = found.fields["result"]
    assert found.data() == {"listenerId": "in", "to": [jane, "x"], "domain": ann, "result": [inner], "elapsed": 0.5}
    assert (inner.kind, inner.fields) == (iprev.PERM_ERROR, {"details": f"{jane} is not allowed"})
    assert (found.kind, found.at, found.span and found.span.id) == (smtp.SPF_FROM_FAIL, 7.0, 128)
    span.keys["to"] = ["ann@example.org"]
    assert NAMES.event(Event(smtp.QUIT, span, 8.0, {})).data() == {"listenerId": "in", "to": [ann]}


@pytest.mark.parametrize(
    "text", ["a" * 60_000, '"' * 60_000, '"\\' * 30_000, "<" * 60_000, "a." * 30_000, "@" * 60_000]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    NAMES.text(text + "@")
    assert time.process_time() - began < 5


def test_a_line_without_addresses_is_as_it_was() -> None:
    assert NAMES.text("remoteIp = 192.0.2.1, hostname = mx.example.org") == (
        "remoteIp = 192.0.2.1, hostname = mx.example.org"
    )
    assert NAMES.text("a @ b, @, @y") == "a @ b, @, @y"


@given(st.text(max_size=200))
def test_any_text_can_be_a_line(text: str) -> None:
    assert NAMES.text(text).count("\n") == text.count("\n")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "pseudonym.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
