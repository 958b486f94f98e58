"""Where the MIME entities of a message lie, found in one pass over its lines (RFC 2045, RFC 2046).

Nothing but header blocks is held in memory, one at a time.  Hostile nesting is bounded: deeper than MAX_DEPTH or with
more than MAX_ENTITIES entities a message is `TooComplex`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO

from relayd.mail.header import HeaderBlock

MAX_DEPTH = 50
MAX_ENTITIES = 1000
MAX_HEADER = 1 << 20
_PIECE = 1 << 16
"""Octets of a longer line that are looked at together."""


class TooComplex(Exception):
    """The message is nested too deep, has too many parts, or too large a header."""


class Kind(Enum):
    """What an entity is made of."""

    LEAF = "leaf"
    MULTIPART = "multipart"
    MESSAGE = "message"
    GAP = "gap"
    """No entity: the text before the first part of a multipart, or behind its last."""


@dataclass(slots=True, kw_only=True)
class Entity:
    """An entity by its offsets: header from `start` to `body`, body from there to `end` (without the CRLF that
    belongs to the next boundary).  A container's own body is empty: its parts and gaps follow it.

    encoding: Content-Transfer-Encoding, lower case, "7bit" when absent.  sealed: below multipart/signed or /encrypted.
    top: its header is that of a message.  high: octets over 127 in the body.  longest_line: of the body.
    depth: how many multiparts and messages it lies in.
    """

    kind: Kind
    start: int
    body: int
    end: int
    content_type: str = "text/plain"
    has_type: bool = False
    encoding: str = "7bit"
    eight_bit_header: bool = False
    sealed: bool = False
    top: bool = False
    high: int = 0
    longest_line: int = 0
    depth: int = 0


_TYPE = re.compile(rb"[ \t]*([!#-'*+\-.0-9A-Z^-~]+/[!#-'*+\-.0-9A-Z^-~]+)", re.I)
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*))', re.S)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.S)
_HIGH = bytes(range(128, 256))


def parse_content_type(value: bytes | None) -> tuple[str, dict[str, bytes]]:
    """("type/subtype" in lower case, parameters by lower-case name); text/plain for what cannot be read."""
    found = _TYPE.match(value) if value is not None else None
    if found is None or value is None:
        return "text/plain", {}
    parameters: dict[str, bytes] = {}
    for parameter in _PARAMETER.finditer(value, found.end()):
        text = parameter[3] if parameter[2] is None else _QUOTED_PAIR.sub(rb"\1", parameter[2])
        parameters.setdefault(parameter[1].lower().decode("ascii", "replace"), text)
    return found[1].decode("ascii").lower(), parameters


def walk(source: BinaryIO) -> list[Entity]:
    """The entities and gaps of the message in `source`, in their order.  TooComplex."""
    source.seek(0)
    return _Walk(source).run()


@dataclass(slots=True)
class _Level:
    """An open multipart.  default: content type of its parts that name none (RFC 2046 §5.1.5)."""

    delimiter: bytes
    sealed: bool
    depth: int
    default: str


@dataclass(slots=True)
class _Walk:
    source: BinaryIO
    entities: list[Entity] = field(default_factory=list)
    levels: list[_Level] = field(default_factory=list)
    place: int = 0
    sealed: bool = False
    depth: int = 0

    def run(self) -> list[Entity]:
        """Entity after entity until the lines end."""
        delimiter = self._entity(top=True)
        while delimiter is not None:
            level, closes = delimiter
            del self.levels[level + 1 :]
            opened = self.levels[level]
            if closes:
                self.levels.pop()
                self.depth, self.sealed = opened.depth - 1, any(each.sealed for each in self.levels)
                delimiter = self._body(self._add(Kind.GAP, self.place))
            else:
                self.depth, self.sealed = opened.depth, any(each.sealed for each in self.levels)
                delimiter = self._entity(opened.default)
        return self.entities

    def _add(self, kind: Kind, start: int) -> Entity:
        if len(self.entities) >= 2 * MAX_ENTITIES:
            raise TooComplex
        entity = Entity(kind=kind, start=start, body=self.place, end=self.place, sealed=self.sealed, depth=self.depth)
        self.entities.append(entity)
        return entity

    def _entity(self, default: str = "text/plain", *, top: bool = False) -> tuple[int, bool] | None:
        """An entity from its header on; the delimiter that ends it, None at the end of the message."""
        while True:
            if self.depth > MAX_DEPTH:
                raise TooComplex
            start = self.place
            header, delimiter, ended = self._header()
            block = HeaderBlock.parse(header)
            value = block.first("Content-Type")
            content_type, parameters = parse_content_type(value)
            if value is None:
                content_type = default
            entity = self._add(Kind.LEAF, start)
            entity.content_type, entity.has_type, entity.top = content_type, value is not None, top
            entity.encoding = (block.first("Content-Transfer-Encoding") or b"7bit").decode("ascii", "replace").lower()
            entity.eight_bit_header = not header.isascii()
            if delimiter is not None or ended:
                entity.body = entity.end = start + len(header)
                return delimiter
            if content_type.startswith("multipart/") and parameters.get("boundary"):
                return self._open(entity, parameters["boundary"])
            if content_type == "message/rfc822" and entity.encoding in ("7bit", "8bit", "binary"):
                entity.kind = Kind.MESSAGE
                self.depth += 1
                default, top = "text/plain", True
                continue
            return self._body(entity)

    def _open(self, entity: Entity, boundary: bytes) -> tuple[int, bool] | None:
        entity.kind = Kind.MULTIPART
        sealed = self.sealed or entity.content_type in ("multipart/signed", "multipart/encrypted")
        self.depth += 1
        default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
        self.levels.append(_Level(b"--" + boundary.rstrip(b" \t"), sealed, self.depth, default))
        return self._body(self._add(Kind.GAP, self.place))

    def _line(self) -> tuple[bytes, bool]:
        """(next line or piece of one, whether it is whole or the last piece)."""
        line = self.source.readline(_PIECE)
        if line[-1:] == b"\r" and len(line) >= _PIECE:
            line += self.source.readline(1)
        self.place += len(line)
        return line, line[-1:] == b"\n"

    def _delimits(self, line: bytes) -> tuple[int, bool] | None:
        """(level of the multipart, whether it is closed) of a line that begins with "--"."""
        line = line.rstrip(b" \t\r\n")
        for number in range(len(self.levels) - 1, -1, -1):
            delimiter = self.levels[number].delimiter
            if line.startswith(delimiter):
                rest = line[len(delimiter) :]
                if not rest or rest == b"--":
                    return number, bool(rest)
        return None

    def _header(self) -> tuple[bytes, tuple[int, bool] | None, bool]:
        """(header block with the blank line, the delimiter that came instead of one, whether the message ended)."""
        lines: list[bytes] = []
        size = 0
        begins = True
        while True:
            line, ends = self._line()
            if not line:
                return b"".join(lines), None, True
            if begins and line[:2] == b"--" and self.levels:
                delimiter = self._delimits(line)
                if delimiter is not None:
                    return b"".join(lines), delimiter, False
            lines.append(line)
            size += len(line)
            if size > MAX_HEADER:
                raise TooComplex
            if begins and line in (b"\r\n", b"\n"):
                return b"".join(lines), None, False
            begins = ends

    def _body(self, entity: Entity) -> tuple[int, bool] | None:
        """Measure lines up to a delimiter."""
        longest = high = pending = 0
        begins, before = True, self.place
        readline, levels = self._line, self.levels
        while True:
            line, ends = readline()
            if not line:
                entity.end, delimiter = self.place, None
                break
            if line[:2] == b"--" and begins and levels:
                delimiter = self._delimits(line)
                if delimiter is not None:
                    entity.end = max(entity.body, before - 2)
                    break
            pending += len(line)
            if pending > longest:
                longest = pending
            if ends:
                pending = 0
            if not line.isascii():
                high += len(line) - len(line.translate(None, _HIGH))
            begins, before = ends, self.place
        entity.high, entity.longest_line = high, max(0, longest - 2)
        return delimiter
