"""Whatever a peer sends, a log line stays one line and shows what it holds."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.telemetry.escape import escape, escape_json, question_marks, quoted

HOSTILE = "\r\n\t\0\x1b[31m\x7f\x85\x9b\u2028\u202e\u2066\ufeff\ud800"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("a\r\nb", "a\\r\\nb"),
        ("tab\tback\\slash", "tab\\tback\\\\slash"),
        ("\x1b[31m\x7f", "\\x1b[31m\\x7f"),
        ("\x85\x9b", "\\x85\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\u2066", "\\u2028\\u2066"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_a_quote_cannot_end_its_string() -> None:
    assert quoted('a", remoteIp = 192.0.2.1, x = "') == '"a\\", remoteIp = 192.0.2.1, x = \\""'


@given(st.text(st.characters()))
def test_every_escaped_text_is_printable_on_one_line(text: str) -> None:
    for escaped in (escape(text), quoted(text), question_marks(text)):
        assert escaped.isprintable()
        escaped.encode()


@given(st.text())
def test_escaped_json_is_printable_and_says_the_same(text: str) -> None:
    escaped = escape_json(msgspec.json.encode({"text": text}))
    assert escaped.decode().isprintable()
    assert json.loads(escaped) == {"text": text}


def test_hostile_text_makes_no_second_line() -> None:
    assert "\n" not in escape(HOSTILE)
    assert len(escape(HOSTILE).splitlines()) == 1
