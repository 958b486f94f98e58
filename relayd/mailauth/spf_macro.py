"""Macro strings of SPF (RFC 7208 §7): read once, expanded as often as needed.

Reading is linear in the text, bounded, and raises SpfSyntaxError only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

MAX_NAME = 253
"""Characters of a domain name as text; what expands to more loses labels on the left (§7.3)."""

MAX_TEXT = 16384
"""Octets of a record or a macro string that are read: thirty times what RFC 7208 §3.4 recommends."""

_TOKEN = re.compile(
    r"%\{(?P<letter>[slodiphcrtv])(?P<keep>[0-9]*)(?P<reverse>r?)(?P<delimiters>[-.+,/_=]*)\}"
    r"|%(?P<escape>[%_-])|(?P<literal>[!-$&-~]+)|(?P<blank> +)",
    re.IGNORECASE,
)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_EXPLANATION_ONLY = frozenset("crt")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_UNPRINTABLE = re.compile(r"[^ -~]")
_ALL_PARTS = 128  # more than a domain name or a local part has


class SpfSyntaxError(Exception):
    """The text is no SPF record, term or macro string; says where and why."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One "%{...}".  letter: lower case.  keep: how many parts on the right stay, 0 for all.

    escape: an upper-case letter, the value is URL-escaped.  delimiters: what parts the value is split at.
    """

    letter: str
    keep: int = 0
    reverse: bool = False
    delimiters: str = "."
    escape: bool = False

    def expand(self, value: str) -> str:
        """The value after the transformers (§7.3)."""
        if self.keep or self.reverse or self.delimiters != ".":
            parts = value.split(".") if self.delimiters == "." else re.split(f"[{re.escape(self.delimiters)}]", value)
            if self.reverse:
                parts.reverse()
            value = ".".join(parts[-self.keep :] if self.keep else parts)
        return quote(value, safe="-._~", errors="replace") if self.escape else value


@dataclass(frozen=True, slots=True)
class MacroString:
    """A macro string that was read.  text: as written.  letters: the macros in it, lower case."""

    text: str
    parts: tuple[str | Macro, ...]
    letters: frozenset[str]

    def expand(self, values: Mapping[str, str]) -> str:
        """The text with every macro replaced; `values` has a value for each of `letters`."""
        return "".join(part if isinstance(part, str) else part.expand(values[part.letter]) for part in self.parts)


def read_macro_string(text: str) -> MacroString:
    """A macro-string (§7.1), as unknown modifiers hold; SpfSyntaxError."""
    return _read(text, blanks=False)


def read_explanation(text: str) -> MacroString:
    """An explain-string (§7.1): blanks, and the macros c, r, t, are allowed too; SpfSyntaxError."""
    return _read(text, blanks=True)


def read_domain_spec(text: str) -> MacroString:
    """A domain-spec (§7.1): ends in a macro, or in a dot and a label that can be a top-level domain; SpfSyntaxError."""
    found = _read(text, blanks=False)
    if not found.parts:
        raise SpfSyntaxError("a domain name is missing")
    forbidden = found.letters & _EXPLANATION_ONLY
    if forbidden:
        raise SpfSyntaxError(f'%{{{min(forbidden)}}} is for explanations only: "{shown(text)}"')
    if not _ends_well(text):
        raise SpfSyntaxError(f'"{shown(text)}" is no domain name')
    return found


def _read(text: str, *, blanks: bool) -> MacroString:
    if len(text) > MAX_TEXT:
        raise SpfSyntaxError(f"the text is longer than {MAX_TEXT} octets")
    parts: list[str | Macro] = []
    letters = set()
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None or (token["blank"] and not blanks):
            raise SpfSyntaxError(f'"{shown(text[place:])}" is no macro string')
        place = token.end()
        if token["letter"]:
            macro = _macro(token)
            letters.add(macro.letter)
            parts.append(macro)
        else:
            parts.append(_ESCAPES[token["escape"]] if token["escape"] else token[0])
    return MacroString(text, tuple(parts), frozenset(letters))


def _macro(token: re.Match[str]) -> Macro:
    digits = token["keep"]
    keep = 0
    if digits:
        significant = digits.lstrip("0")
        if not significant:
            raise SpfSyntaxError(f'"{shown(token[0])}" keeps no part')
        keep = int(significant) if len(significant) <= 3 else _ALL_PARTS
    return Macro(
        letter=token["letter"].lower(),
        keep=min(keep, _ALL_PARTS),
        reverse=bool(token["reverse"]),
        delimiters="".join(dict.fromkeys(token["delimiters"])) or ".",
        escape=token["letter"].isupper(),
    )


def _ends_well(text: str) -> bool:
    """Whether the end is a macro-expand or a dot with a toplabel (§7.1, domain-end)."""
    if text.endswith("}") or text[-2:] in ("%%", "%_", "%-"):
        return True
    _, dot, label = text.removesuffix(".").rpartition(".")
    return bool(dot) and _LABEL.fullmatch(label) is not None and not label.isdigit()


def domain_of(expanded: str) -> str:
    """An expanded domain-spec as a name to look up: no final dot, labels on the left cut off beyond 253 characters."""
    name = expanded.removesuffix(".")
    while len(name) > MAX_NAME:
        cut = name.find(".", len(name) - MAX_NAME - 1)
        if cut < 0:
            return ""
        name = name[cut + 1 :]
    return name


def shown(text: str, length: int = 80) -> str:
    """Text of the DNS for people: printable ASCII, at most `length` characters."""
    short = text if len(text) <= length else text[: length - 3] + "..."
    return _UNPRINTABLE.sub("?", short)
