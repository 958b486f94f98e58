"""A message as the rules see it: header fields, leaf parts and their text, everything bounded.

Parts are cut out of the content by searching for their boundaries, so that cost is linear in the octets however the
lines lie; `mail.structure`, which is exact about every octet, goes line by line.  Nothing here raises: what cannot be
read is read as well as it can be, and `partial` says when not all was looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from relayd.mail.reading import decode_body, decode_text, decode_words
from relayd.mail.structure import parse_content_type

MAX_OCTETS = 4 << 20
"""Octets of a message that are looked at."""
MAX_HEADER = 256 << 10
MAX_FIELDS = 1000
MAX_FIELD = 16 << 10
"""Octets of a field that are decoded for people."""
MAX_PARTS = 500
MAX_DEPTH = 20
MAX_DECODED = 1 << 20
"""Octets of text parts, transfer encoding undone, that are read; together."""
MAX_HEAD = 4096
"""Octets of an attachment that are looked at, to tell what it is."""

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:(.*(?:\n[ \t].*)*)", re.M)
_MBOX_LINE = re.compile(rb"\AFrom [^\n]*\n")
_FILENAME = re.compile(
    rb"""(?:file)?name(\*(?:\d+\*?)?)?[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"?|([^\s;]*))""", re.I | re.S
)
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")


class Field:
    """A header field.  name: as written; lower: lower case; raw: behind the colon with its folds as it is written."""

    __slots__ = ("_text", "lower", "name", "raw")

    def __init__(self, name: str, raw: bytes) -> None:
        self.name = name
        self.lower = name.lower()
        self.raw = raw
        self._text: str | None = None

    @property
    def value(self) -> bytes:
        """Unfolded, without blanks around it."""
        return (self.raw.replace(b"\n", b"") if b"\n" in self.raw else self.raw).strip(b" \t")

    @property
    def text(self) -> str:
        """As people see it: unfolded, encoded words decoded."""
        if self._text is None:
            value = self.value[:MAX_FIELD]
            self._text = decode_words(value) if b"=?" in value else value.decode("utf-8", "replace")
        return self._text


class Header:
    """The fields of a header or of a part's header, by name."""

    __slots__ = ("fields", "named")

    def __init__(self, octets: bytes) -> None:
        """octets: lines that end in LF."""
        self.fields: list[Field] = []
        self.named: dict[str, list[Field]] = {}
        for number, match in enumerate(_FIELD.finditer(octets)):
            if number >= MAX_FIELDS:
                break
            each = Field(match[1].decode("ascii"), match[2])
            self.fields.append(each)
            self.named.setdefault(each.lower, []).append(each)

    def __contains__(self, name: object) -> bool:
        return name in self.named

    def first(self, name: str) -> Field | None:
        """The first field of a name in lower case."""
        found = self.named.get(name)
        return found[0] if found else None

    def value(self, name: str) -> bytes:
        """Its unfolded value, b"" where there is none."""
        found = self.named.get(name)
        return found[0].value if found else b""

    def text(self, name: str) -> str:
        """Its value as people see it, "" where there is none."""
        found = self.named.get(name)
        return found[0].text if found else ""


@dataclass(slots=True)
class Part:
    """A leaf of the message, or a container by its header alone.

    parent: content type of the container, "" for the message itself.  size: octets as they are encoded.
    """

    content_type: str
    parameters: dict[str, bytes]
    header: Header
    octets: bytes
    parent: str = ""
    depth: int = 0
    is_container: bool = False
    is_first: bool = False
    encoding: str = ""
    disposition: str = ""
    filename: str = ""
    decoded: bytes = b""
    text: str = ""

    @property
    def size(self) -> int:
        return len(self.octets)

    @property
    def is_attachment(self) -> bool:
        """Whether a mail program shows it as a file beside the message."""
        return self.disposition == "attachment" or (bool(self.filename) and not self.content_type.startswith("text/"))


@dataclass
class Message:
    """header: of the message.  parts: containers and leaves in their order.  partial: why not all of it was looked at,
    "" when it was.  size: octets of the whole.
    """

    header: Header
    parts: list[Part] = field(default_factory=list)
    partial: str = ""
    size: int = 0

    @cached_property
    def leaves(self) -> list[Part]:
        """The parts that hold content."""
        return [part for part in self.parts if not part.is_container]

    @cached_property
    def texts(self) -> list[Part]:
        """The text parts that are shown, not attached."""
        return [part for part in self.leaves if part.content_type.startswith("text/") and not part.is_attachment]


def read(content: bytes, *, size: int = 0) -> Message:
    """The view of a message.  content: its beginning, MAX_OCTETS of which count; size: of the whole, if it is more."""
    whole = max(size, len(content))
    if content.startswith(b"From "):
        content = _MBOX_LINE.sub(b"", content, count=1)
    cut = content[:MAX_OCTETS]
    if b"\r" in cut:
        cut = cut.replace(b"\r\n", b"\n")
    begin = 1 if cut.startswith(b"\n") else cut.find(b"\n\n") + 2
    head = b"" if begin == 1 and cut.startswith(b"\n") else cut[: begin - 1] if begin > 1 else cut
    message = Message(Header(head[:MAX_HEADER]), size=whole)
    if len(head) > MAX_HEADER or len(message.header.fields) >= MAX_FIELDS:
        message.partial = "the header is too large"
    if whole > MAX_OCTETS:
        message.partial = f"only the first {MAX_OCTETS >> 20} MB"
    _Cutter(message).cut(message.header, cut[begin:] if begin > 1 or cut.startswith(b"\n") else b"")
    _decode(message)
    return message


@dataclass(slots=True)
class _Cutter:
    """Cuts entities out of octets; a list of what is to be cut keeps hostile nesting off Python's stack."""

    message: Message

    def cut(self, header: Header, body: bytes) -> None:
        waiting: list[tuple[Header, bytes, str, int]] = [(header, body, "", 0)]
        parts = self.message.parts
        while waiting:
            header, body, parent, depth = waiting.pop()
            if len(parts) >= MAX_PARTS:
                self.message.partial = self.message.partial or f"more than {MAX_PARTS} parts"
                return
            part = _part(header, body, parent, depth)
            part.is_first = not parts
            parts.append(part)
            if depth >= MAX_DEPTH:
                if part.content_type.startswith(("multipart/", "message/rfc822")):
                    self.message.partial = self.message.partial or f"nested more than {MAX_DEPTH} levels deep"
                continue
            if part.content_type.startswith("multipart/"):
                self._open_multipart(part, waiting)
            elif part.content_type == "message/rfc822":
                part.is_container = True
                waiting.append((*_split(body), part.content_type, depth + 1))

    def _open_multipart(self, part: Part, waiting: list[tuple[Header, bytes, str, int]]) -> None:
        boundary = part.parameters.get("boundary", b"")
        if not boundary:
            return
        pieces = list(_pieces(part.octets, boundary, MAX_PARTS - len(self.message.parts) - len(waiting) + 1))
        if not pieces:
            return
        if len(pieces) + len(self.message.parts) + len(waiting) > MAX_PARTS:
            self.message.partial = self.message.partial or f"more than {MAX_PARTS} parts"
            pieces = pieces[: max(1, MAX_PARTS - len(self.message.parts) - len(waiting))]
        part.is_container = True
        part.octets = b""
        waiting += [(*_split(piece), part.content_type, part.depth + 1) for piece in reversed(pieces)]


def _pieces(octets: bytes, boundary: bytes, most: int) -> Iterator[bytes]:
    """What lies between the boundary's lines (RFC 2046 §5.1.1); the last may lack its end."""
    delimiter = b"\n--" + boundary
    place = len(delimiter) - 1 if octets.startswith(delimiter[1:]) else octets.find(delimiter)
    if place < 0:
        return
    if not octets.startswith(delimiter[1:]):
        place += len(delimiter)
    while most > 0:
        if octets.startswith(b"--", place):
            return
        begin = octets.find(b"\n", place) + 1
        if not begin:
            return
        end = octets.find(delimiter, begin - 1)
        if end < 0:
            yield octets[begin:]
            return
        yield octets[begin:end]
        place = end + len(delimiter)
        most -= 1


def _split(octets: bytes) -> tuple[Header, bytes]:
    if octets.startswith(b"\n"):
        return Header(b""), octets[1:]
    end = octets.find(b"\n\n", 0, MAX_HEADER)
    if end < 0:
        return Header(octets[:MAX_HEADER]), b""
    return Header(octets[: end + 1]), octets[end + 2 :]


def _part(header: Header, body: bytes, parent: str, depth: int) -> Part:
    given = header.first("content-type")
    default = "message/rfc822" if parent == "multipart/digest" and given is None else "text/plain"
    content_type, parameters = parse_content_type(given.value) if given is not None else (default, {})
    part = Part(content_type, parameters, header, body, parent, depth)
    encoding = header.value("content-transfer-encoding")
    part.encoding = encoding.decode("ascii", "replace").strip().lower()
    disposition = header.value("content-disposition")
    part.disposition = disposition.partition(b";")[0].strip().lower().decode("ascii", "replace")
    if disposition or b"name" in (given.raw if given is not None else b"").lower():
        part.filename = _filename(disposition) or (_filename(given.value) if given is not None else "")
    return part


def _filename(value: bytes) -> str:
    """The file's name in a field (RFC 2183, RFC 2231), as people see it."""
    plain = ""
    pieces: list[bytes] = []
    charset = ""
    for match in _FILENAME.finditer(value[:8192]):
        text = match[3] if match[2] is None else match[2].replace(b"\\", b"")
        if match[1] is None:
            plain = plain or (decode_words(text) if b"=?" in text else decode_text(text, ""))
            continue
        if match[1].endswith(b"*"):
            if text.count(b"'") >= 2 and not pieces:
                name, _, text = text.split(b"'", 2)
                charset = name.decode("ascii", "replace")
            text = _PERCENT.sub(lambda octet: bytes([int(octet[1], 16)]), text)
        pieces.append(text)
    return decode_text(b"".join(pieces), charset)[:1000] if pieces else plain[:1000]


def _decode(message: Message) -> None:
    """Undo the encodings of text parts as far as MAX_DECODED goes; of others as far as it tells what they are."""
    left = MAX_DECODED
    for part in message.leaves:
        if part.content_type.startswith("text/") or part.content_type == "message/delivery-status":
            if left <= 0:
                message.partial = message.partial or f"more than {MAX_DECODED >> 20} MB of text"
                continue
            octets = part.octets
            if len(octets) > 2 * left:
                octets = octets[: 2 * left]
                message.partial = message.partial or f"more than {MAX_DECODED >> 20} MB of text"
            part.decoded = decode_body(octets, part.encoding)[:left]
            left -= len(part.decoded)
            charset = part.parameters.get("charset", b"").decode("ascii", "replace")
            part.text = decode_text(part.decoded, charset)
        else:
            part.decoded = decode_body(part.octets[: 2 * MAX_HEAD], part.encoding)[:MAX_HEAD]
