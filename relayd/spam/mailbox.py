"""The addresses of a header field, read as leniently as mail programs do, in linear time and bounded (RFC 5322 §3.4).

Unlike `mailauth.authors`, which must find every domain that a reader may take for the author's, this keeps the names
that stand beside the addresses, as people see them.
"""

from __future__ import annotations

import re

import msgspec

from relayd.mail.reading import decode_words

MAX_OCTETS = 16384
"""Octets of a field that are read."""
MAX_MAILBOXES = 200

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"?|\(|[,;:<>]|[^",;:<>(]++', re.S)
_QUOTED_PAIR = re.compile(r"\\(.)", re.S)
_BLANKS = re.compile(r"\s+")
_ADDRESS = re.compile(r"[^\s@<>(),;:\\\"]+@(?:\[[^\]\s]+\]|[^\s@<>(),;:\\\"\[\].][^\s@<>(),;:\\\"\[\]]*)\Z")
_COMMENT = re.compile(r"[^()\\]++|\\.|.", re.S)


class Mailbox(msgspec.Struct, frozen=True):
    """name: as people see it, "" for none.  address: as written.  local, domain: of it in lower case, "" where it is no
    address.  raw_name: the name with its encoded words.
    """

    name: str
    address: str
    local: str = ""
    domain: str = ""
    raw_name: str = ""

    @property
    def key(self) -> str:
        """The address for comparisons."""
        return f"{self.local}@{self.domain}" if self.domain else self.address.lower()


def read_mailboxes(value: bytes) -> list[Mailbox]:
    """The mailboxes of a field's unfolded value; what is no address has no domain."""
    text = value[:MAX_OCTETS].decode("utf-8", "replace")
    if "(" not in text and "," not in text and '"' not in text and ":" not in text:
        return _simple(text)
    found: list[Mailbox] = []
    name: list[str] = []
    address: list[str] = []
    comment = ""
    is_angle = False
    was_angle = False
    place = 0
    while place < len(text) and len(found) < MAX_MAILBOXES:
        token = _TOKEN.match(text, place)
        if token is None:
            place += 1
            continue
        place = token.end()
        word = token[0]
        if word == "(":
            place, comment = _comment(text, place)
        elif word == "<":
            is_angle, was_angle, address = True, True, []
        elif word == ">":
            is_angle = False
        elif word in (",", ";") and not is_angle:
            _end(found, name, address, comment, was_angle)
            name, address, comment, was_angle = [], [], "", False
        elif word == ":" and not is_angle:
            name = []  # the name of a group
        elif is_angle:
            address.append(word)
        elif not was_angle:
            quoted = token[1]
            name.append(word if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted))
    if len(found) < MAX_MAILBOXES:
        _end(found, name, address, comment, was_angle)
    return found


def mailbox_of(address: str, name: str = "", raw_name: str = "") -> Mailbox:
    """A mailbox of an address as it is written."""
    address = address.strip()
    if not _ADDRESS.match(address):
        return Mailbox(name, address, raw_name=raw_name)
    local, _, domain = address.lower().rpartition("@")
    return Mailbox(name, address, local, domain.rstrip("."), raw_name)


def _simple(text: str) -> list[Mailbox]:
    before, angle, rest = text.partition("<")
    if not angle:
        text = text.strip()
        return [mailbox_of(text)] if text else []
    raw = before.strip()
    return [mailbox_of(rest.partition(">")[0], _decoded(raw), raw)]


def _end(found: list[Mailbox], name: list[str], address: list[str], comment: str, was_angle: bool) -> None:
    text = _BLANKS.sub(" ", "".join(name).strip()) if not was_angle else "".join(name).strip()
    if was_angle:
        found.append(mailbox_of("".join(address), _decoded(text), text))
    elif text:
        found.append(mailbox_of(text, _decoded(comment), comment))


def _decoded(text: str) -> str:
    return decode_words(text.encode("utf-8", "replace")).strip() if "=?" in text else text


def _comment(text: str, place: int) -> tuple[int, str]:
    start, depth = place, 1
    while depth and place < len(text):
        token = _COMMENT.match(text, place)
        assert token is not None  # the pattern takes any character
        depth += (token[0] == "(") - (token[0] == ")")
        place = token.end()
    return place, text[start : max(start, place - 1)].strip()
