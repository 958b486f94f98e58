"""The header of a message as octets: every field that is not edited stays as it came, byte for byte.

A line that is no field (no name, no colon) is kept in its place; it has the name "".  Nothing here is bounded: the
caller decides how much header it takes.  All work is linear in the octets given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_NAMES = re.compile(rb"^([!-9;-~]+)[ \t]*:", re.M)
_UNSAFE = re.compile(rb"[\x00\r\n]+[ \t]*")
_BLANKS = re.compile(rb"[ \t]+")
SOFT_LIMIT = 78
"""Octets that a line of ours should not exceed (RFC 5322 §2.1.1)."""
HARD_LIMIT = 998


def split_message(content: bytes) -> tuple[bytes, bytes]:
    """(header block with the CRLF of its last line, the rest beginning with the CRLF of the blank line, or b"")."""
    if content.startswith(b"\r\n"):
        return b"", content
    end = content.find(b"\r\n\r\n")
    return (content, b"") if end < 0 else (content[: end + 2], content[end + 2 :])


def field_names(header: bytes) -> frozenset[bytes]:
    """Lower-case names of all fields, for a quick look at what is there."""
    return frozenset(_NAMES.findall(header.lower()))


def fold(name: str, value: str | bytes) -> bytes:
    """A field with its CRLF, folded at blanks to 78 octets where it has blanks, to 998 in any case.

    CR, LF and NUL in the value become a blank, so no value can end the field.
    """
    octets = value.encode("utf-8", "replace") if isinstance(value, str) else value
    octets = _UNSAFE.sub(b" ", octets).strip(b" \t")
    line = name.encode("ascii") + b":"
    if len(line) + 1 + len(octets) <= SOFT_LIMIT:
        return line + b" " + octets + b"\r\n"
    lines = []
    for word in _words(octets):
        if len(line) + 1 + len(word) > (SOFT_LIMIT if len(word) < SOFT_LIMIT else HARD_LIMIT) and not line.isspace():
            lines.append(line)
            line = b""
        line += b" " + word
    lines.append(line)
    return b"\r\n".join(lines) + b"\r\n"


def _words(octets: bytes) -> Iterator[bytes]:
    for word in _BLANKS.split(octets):
        yield from (word[at : at + HARD_LIMIT - 100] for at in range(0, len(word), HARD_LIMIT - 100))


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field.  name: as written, "" for a line that is no field.  raw: all its octets, folds and CRLF included."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, unfolded (RFC 5322 §2.2.3), without blanks around it."""
        body = self.raw[self.raw.find(b":") + 1 :] if self.name else self.raw
        return body.replace(b"\r\n", b"").strip(b" \t")


class HeaderBlock:
    """The fields of a header in their order, to be looked at and edited."""

    __slots__ = ("fields",)

    def __init__(self, fields: list[HeaderField]) -> None:
        self.fields = fields

    @classmethod
    def parse(cls, header: bytes) -> HeaderBlock:
        """From a header block as `split_message` gives it; the whole of it lands in the fields."""
        fields: list[HeaderField] = []
        lines: list[bytes] = []
        for line in header.split(b"\r\n"):
            if lines and line[:1] not in (b" ", b"\t"):
                fields.append(_field(b"\r\n".join(lines) + b"\r\n"))
                lines.clear()
            lines.append(line)
        last = b"\r\n".join(lines)
        if last:
            fields.append(_field(last))
        return cls(fields)

    def encode(self) -> bytes:
        """The header block; what was parsed, when nothing was edited."""
        return b"".join(field.raw for field in self.fields)

    def get(self, name: str) -> list[bytes]:
        """Unfolded values of all fields of that name, in order."""
        return [field.value for field in self._named(name)]

    def first(self, name: str) -> bytes | None:
        """Unfolded value of the first field of that name."""
        return next((field.value for field in self._named(name)), None)

    def __contains__(self, name: str) -> bool:
        return next(self._named(name), None) is not None

    def remove(self, names: Iterable[str]) -> int:
        """Take out every field of these names; how many there were."""
        gone = frozenset(name.lower() for name in names)
        before = len(self.fields)
        self.fields = [field for field in self.fields if not field.name or field.name.lower() not in gone]
        return before - len(self.fields)

    def prepend(self, raw: bytes) -> None:
        """Put whole fields, each with its CRLF, on top."""
        self.fields[:0] = HeaderBlock.parse(raw).fields

    def append(self, name: str, value: str | bytes) -> None:
        """Put a field at the end, folded."""
        self._close()
        self.fields.append(HeaderField(name, fold(name, value)))

    def replace(self, name: str, value: str | bytes) -> bool:
        """Give the first field of that name a new value in its place and take out the others; False: there was none."""
        first = next(self._named(name), None)
        if first is None:
            return False
        new = HeaderField(first.name, fold(first.name, value))
        key = name.lower()
        self.fields = [
            new if field is first else field for field in self.fields if field is first or field.name.lower() != key
        ]
        return True

    def _named(self, name: str) -> Iterator[HeaderField]:
        key = name.lower()
        return (field for field in self.fields if field.name.lower() == key)

    def _close(self) -> None:
        """A last line without CRLF gets one, or the next field would stand on it."""
        if self.fields and not self.fields[-1].raw.endswith(b"\r\n"):
            last = self.fields[-1]
            self.fields[-1] = HeaderField(last.name, last.raw + b"\r\n")


def _field(raw: bytes) -> HeaderField:
    name = _NAME.match(raw)
    return HeaderField(name[1].decode("ascii") if name else "", raw)
