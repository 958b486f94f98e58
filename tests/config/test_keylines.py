"""The scanner finds the line of every key, whatever tomllib accepts."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.config.keylines import key_lines

TEXT = '''\
# a comment with = and [brackets]
top = 1
[server] # tables
hostname = "a#b"
"quoted key" = 'literal "x" # no comment'

  [server.listener."mx.example.org"]
bind = [
  "a", # first = 1
  "]", 'b',

  ["nested", "\\"]"],
]
tls.implicit = true
text = """
[not.a.table]
key = "no key"\\
"""
long = \'\'\'
it''s = 1\'\'\'
after = 1979-05-27 07:32:00
point = { x = 1, "y.z" = [ { deep = 2 } ], w.v = "}" }
[[many]]
a = 1
[[many]]
a = 2
'''


def _line(text: str, start: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (("top",), "top"),
        (("server",), "[server]"),
        (("server", "hostname"), "hostname"),
        (("server", "quoted key"), '"quoted key"'),
        (("server", "listener", "mx.example.org"), "[server.listener"),
        (("server", "listener", "mx.example.org", "bind"), "bind"),
        (("server", "listener", "mx.example.org", "bind", 1), '"]"'),
        (("server", "listener", "mx.example.org", "bind", 3), '["nested"'),
        (("server", "listener", "mx.example.org", "tls", "implicit"), "tls.implicit"),
        (("server", "listener", "mx.example.org", "long"), "long"),
        (("server", "listener", "mx.example.org", "after"), "after"),
        (("server", "listener", "mx.example.org", "point", "y.z", 0, "deep"), "point"),
        (("server", "listener", "mx.example.org", "point", "w", "v"), "point"),
        (("many",), "[[many]]"),
    ],
)
def test_lines(path: tuple[str | int, ...], start: str) -> None:
    assert key_lines(TEXT)[path] == _line(TEXT, start)


def test_the_text_is_valid_and_nothing_in_strings_is_a_key() -> None:
    tomllib.loads(TEXT)
    assert not any("not" in path or "key" in path for path in key_lines(TEXT))


def test_windows_line_ends() -> None:
    assert key_lines('a = 1\r\n[b]\r\nc = """\r\nx"""\r\nd = 2\r\n')[("b", "d")] == 5


@pytest.mark.parametrize(
    "text", ['a = """"x""""\nb = 1', "a = ''''x''''\nb = 1", 'a = """"""\nb = 1', 'a = """\\""""\nb = 1']
)
def test_quotes_at_the_ends_of_long_strings(text: str) -> None:
    tomllib.loads(text)
    assert key_lines(text) == {("a",): 1, ("b",): 2}


_keys = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=5)
_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\"'#[]{}=\\"))


def _basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@st.composite
def _documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str | int, ...], int]]:
    """A document, and the lines of its keys by construction."""
    lines: list[str] = []
    expected: dict[tuple[str | int, ...], int] = {}
    for key in draw(st.lists(_keys, unique=True, max_size=6)):
        lines += draw(st.lists(st.sampled_from(["", "# c = [", "   "]), max_size=2))
        expected[(key,)] = len(lines) + 1
        values = draw(st.lists(_texts, max_size=3))
        lines.append(f"{_basic(key)} = [")
        for number, value in enumerate(values):
            expected[(key, number)] = len(lines) + 1
            lines.append(f"  {_basic(value)}, # ]")
        lines.append("]")
    return "\n".join(lines), expected


@given(_documents())
@settings(max_examples=100, deadline=None)
def test_every_key_of_generated_documents(document: tuple[str, dict[Any, int]]) -> None:
    text, expected = document
    tomllib.loads(text)
    assert key_lines(text) == expected
