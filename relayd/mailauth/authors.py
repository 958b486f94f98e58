"""Which domains the From field names (RFC 5322 §3.6.2), read as leniently as mail programs do, in linear time and
bounded.

A domain in a quoted string, a comment or a display name is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from relayd.mailauth.findings import plain_domain

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|\[[^\[\]\r\n]*+\]|[^\s"\\()<>\[\]:;,@]++|\\.|.', re.S | re.A)
_COMMENT = re.compile(r"[^()\\]++|\\.|.", re.S)
_LABEL = r"[A-Za-z0-9_\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]*)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BLANKS = frozenset(" \t\r\n")
_MAX_DOMAIN = 253
MAX_LENGTH = 16384
"""Octets of a From field that are read; some 300 authors."""


class Authors(msgspec.Struct, frozen=True, kw_only=True):
    """domains: each once, as A-labels, in their order.  fields: how many From fields there are.  problem: why not all
    of it could be read, "" when it could.
    """

    domains: tuple[str, ...]
    fields: int
    problem: str = ""


def authors_of(values: Sequence[bytes]) -> Authors:
    """values: of each From field, as they come, without the name."""
    domains: dict[str, None] = {}
    problem = "" if values else "there is no From field"
    if len(values) > 1:
        problem = f"there are {len(values)} From fields"
    for value in values:
        found = False
        if len(value) > MAX_LENGTH:
            problem = problem or "From is too long to be read"
        for mailbox in _mailboxes(value[:MAX_LENGTH].decode("utf-8", "replace")):
            named = _domains(mailbox)
            for domain in filter(None, named):
                domains[domain] = None
                found = True
            if len(named) > 1 or not all(named) or (not named and any(token not in _BLANKS for token in mailbox)):
                problem = problem or "an address in From cannot be read"
        if not found:
            problem = problem or "there is no address in From"
    return Authors(domains=tuple(domains), fields=len(values), problem=problem)


def author_addresses(values: Sequence[bytes]) -> tuple[str, ...] | None:
    """The addresses that From fields name, each once, domains as A-labels; None where one cannot be read for sure.

    values: as `authors_of` takes them.
    """
    found: dict[str, None] = {}
    for value in values:
        if len(value) > MAX_LENGTH:
            return None
        for mailbox in _mailboxes(value.decode("utf-8", "replace")):
            tokens = [token for token in mailbox if token not in _BLANKS]
            if not tokens:
                continue
            domains = _domains(mailbox)
            if len(domains) != 1 or not domains[0]:
                return None
            found[f"{''.join(tokens[: tokens.index('@')])}@{domains[0]}"] = None
    return tuple(found)


def _mailboxes(text: str) -> Iterator[list[str]]:
    """The tokens of each mailbox, comments left out; of one with angle brackets only what stands in them."""
    tokens: list[str] = []
    is_angle = False
    for token in _tokens(text):
        if token == "<":
            tokens, is_angle = [], True
        elif token == ">" and is_angle:
            yield tokens
            tokens, is_angle = [], False
        elif token in (",", ";") and not is_angle:
            yield tokens
            tokens = []
        elif token == ":":
            tokens = []  # the name of a group, or a source route
        else:
            tokens.append(token)
    yield tokens


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        assert token is not None  # the pattern takes any character
        if token[0] == "(":
            place = _behind_comment(text, token.end())
            yield " "
            continue
        place = token.end()
        yield token[0]


def _behind_comment(text: str, place: int) -> int:
    depth = 1
    while depth and place < len(text):
        token = _COMMENT.match(text, place)
        assert token is not None
        depth += (token[0] == "(") - (token[0] == ")")
        place = token.end()
    return place


def _domains(tokens: list[str]) -> list[str]:
    """What stands behind each "@"; "" for what is no domain name.  More than one is an address that cannot be read."""
    parts = []
    for token in tokens:
        if token == "@":
            parts.append("")
        elif parts and token not in _BLANKS:
            parts[-1] += token
    return [_name(part) for part in parts]


def _name(text: str) -> str:
    text = text.removesuffix(".")
    if len(text) > _MAX_DOMAIN or not _HOST.fullmatch(text):
        return ""
    name = plain_domain(text)
    return name if name.isascii() else ""
