"""Content made fit for a host without 8BITMIME, and lines made fit for RFC 5321 §4.5.3.1.6 (998 octets).

Leaf parts are re-encoded as quoted-printable or base64 and their header says so; multipart/* and message/* never are
(RFC 2045 §6.4), only what is in them.  What is below multipart/signed or multipart/encrypted, and a message with a DKIM
signature, is not touched: then, and when the message is too complex, the answer is that it cannot be done.

Both directions work from a seekable file to another and hold no more than a header and a chunk.
"""

from __future__ import annotations

import binascii
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

from relayd.mail.header import HeaderBlock, field_names
from relayd.mail.structure import Entity, Kind, TooComplex, walk

MAX_LINE = 998
_CHUNK = 57 * 1024  # whole lines of base64
_IDENTITY = ("7bit", "8bit", "binary")
_SIGNATURES = frozenset((b"dkim-signature", b"arc-message-signature", b"domainkey-signature"))


class _How(Enum):
    QUOTED_PRINTABLE = "quoted-printable"
    BASE64 = "base64"
    AGAIN_QUOTED_PRINTABLE = "quoted-printable again"
    AGAIN_BASE64 = "base64 again"
    RELABEL = "7bit"
    CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class _Edit:
    entity: Entity
    how: _How
    charset: str = ""


class _Cannot(Exception):
    """The message has what must stay as it is and may not."""


def to_seven_bit(source: BinaryIO, target: BinaryIO) -> bool:
    """Write the message in `source` to `target` without octets over 127.

    False: it cannot be done (8-bit header, signed or encrypted content, too complex); then `target` is untouched.
    """
    return _transcode(source, target, _seven_bit_edit)


def shorten_lines(source: BinaryIO, target: BinaryIO) -> bool:
    """Write the message in `source` to `target` with the bodies of parts that have lines over 998 octets re-encoded.

    Long header lines stay.  False: it cannot be done (signed or encrypted content, too complex); then `target` is
    untouched.
    """
    return _transcode(source, target, _short_lines_edit)


def to_seven_bit_bytes(content: bytes) -> bytes | None:
    """`to_seven_bit` of content in memory; None: it cannot be done."""
    return _in_memory(content, to_seven_bit)


def shorten_lines_bytes(content: bytes) -> bytes | None:
    """`shorten_lines` of content in memory; None: it cannot be done."""
    return _in_memory(content, shorten_lines)


def _in_memory(content: bytes, work: Callable[[BinaryIO, BinaryIO], bool]) -> bytes | None:
    target = io.BytesIO()
    return target.getvalue() if work(io.BytesIO(content), target) else None


def _transcode(source: BinaryIO, target: BinaryIO, edit_of: Callable[[Entity], _How | None]) -> bool:
    try:
        edits = _plan(source, edit_of)
    except (TooComplex, _Cannot):
        return False
    place = 0
    size = source.seek(0, io.SEEK_END)
    for edit in edits:
        entity = edit.entity
        _copy(source, target, place, entity.start)
        place = entity.body
        if edit.how is not _How.CLEAN:
            target.write(_new_header(_read(source, entity.start, entity.body), edit))
        if edit.how is not _How.RELABEL:
            for chunk in _ENCODERS[edit.how](_chunks(source, entity.body, entity.end)):
                target.write(chunk)
            place = entity.end
            if place == size and edit.how in (_How.BASE64, _How.AGAIN_BASE64):
                target.write(b"\r\n")
    _copy(source, target, place, size)
    return True


def _plan(source: BinaryIO, edit_of: Callable[[Entity], _How | None]) -> list[_Edit]:
    entities = walk(source)
    edits: list[_Edit] = []
    for entity in entities:
        how = edit_of(entity)
        if how is None:
            continue
        if entity.sealed:
            raise _Cannot
        untyped = entity.kind is Kind.LEAF and not entity.has_type
        edits.append(_Edit(entity, how, _charset(source, entity) if untyped else ""))
    if edits and not _SIGNATURES.isdisjoint(field_names(_read(source, 0, entities[0].body))):
        raise _Cannot
    return edits


def _seven_bit_edit(entity: Entity) -> _How | None:
    if entity.eight_bit_header:
        raise _Cannot
    if entity.kind in (Kind.MULTIPART, Kind.MESSAGE):
        return _How.RELABEL if entity.encoding in ("8bit", "binary") and not entity.sealed else None
    if not entity.high:
        return None
    if entity.kind is Kind.GAP:
        return _How.CLEAN
    if entity.content_type.startswith(("message/", "multipart/")):
        raise _Cannot
    if entity.encoding == "quoted-printable":  # badly labelled, but it can still be read
        return _How.AGAIN_QUOTED_PRINTABLE
    if entity.encoding not in _IDENTITY:
        raise _Cannot
    return _best(entity)


def _short_lines_edit(entity: Entity) -> _How | None:
    if entity.longest_line <= MAX_LINE:
        return None
    if entity.kind is Kind.GAP:
        return _How.CLEAN
    if entity.content_type.startswith(("message/", "multipart/")):
        raise _Cannot
    if entity.encoding == "base64":
        return _How.AGAIN_BASE64
    if entity.encoding == "quoted-printable":
        return _How.AGAIN_QUOTED_PRINTABLE
    if entity.encoding not in _IDENTITY:
        raise _Cannot
    return _best(entity)


def _best(entity: Entity) -> _How:
    """Text stays readable unless it is mostly 8-bit; anything else must come out octet by octet."""
    size = entity.end - entity.body
    if entity.content_type.startswith("text/") and entity.high * 4 <= size:
        return _How.QUOTED_PRINTABLE
    return _How.BASE64


def _charset(source: BinaryIO, entity: Entity) -> str:
    """For 8-bit text that says nothing of itself: utf-8 when it is, else unknown-8bit (RFC 1428)."""
    if not entity.high:
        return "us-ascii"
    left = b""
    for chunk in _chunks(source, entity.body, entity.end):
        octets = left + chunk
        try:
            octets.decode("utf-8")
            left = b""
        except UnicodeDecodeError as error:
            left = octets[error.start :]
            if len(left) > 3 or error.reason != "unexpected end of data":
                return "unknown-8bit"
    return "unknown-8bit" if left else "utf-8"


def _new_header(header: bytes, edit: _Edit) -> bytes:
    """The entity's header with its new encoding; the blank line stays."""
    ends = header.endswith(b"\r\n\r\n") or header == b"\r\n"
    block = HeaderBlock.parse(header[:-2] if ends else header)
    encoding = edit.how.value.removesuffix(" again")
    if edit.entity.top and "MIME-Version" not in block:
        block.append("MIME-Version", "1.0")
    if edit.charset:
        block.append("Content-Type", f"text/plain; charset={edit.charset}")
    if not block.replace("Content-Transfer-Encoding", encoding):
        block.append("Content-Transfer-Encoding", encoding)
    return block.encode() + (b"\r\n" if ends else b"")


def _read(source: BinaryIO, start: int, end: int) -> bytes:
    source.seek(start)
    return source.read(end - start)


def _chunks(source: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    source.seek(start)
    left = end - start
    while left > 0:
        chunk = source.read(min(_CHUNK, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    for chunk in _chunks(source, start, end):
        target.write(chunk)


def _encode_base64(chunks: Iterator[bytes]) -> Iterator[bytes]:
    left = b""
    first = True
    for chunk in chunks:
        octets = left + chunk
        whole = len(octets) - len(octets) % 57
        left = octets[whole:]
        if whole:
            yield _base64_lines(octets[:whole], first)
            first = False
    if left:
        yield _base64_lines(left, first)


def _base64_lines(octets: bytes, first: bool) -> bytes:
    """Lines of 76, parted by CRLF; the CRLF behind the last one is the boundary's, or that of the next lines."""
    text = binascii.b2a_base64(octets, newline=False)
    return (b"" if first else b"\r\n") + b"\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))


def _rewrap_base64(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Base64 with lines too long: the same characters in lines of 76."""
    left = b""
    first = True
    for chunk in chunks:
        text = left + chunk.translate(None, b" \t\r\n")
        whole = len(text) - len(text) % 76
        left = text[whole:]
        for at in range(0, whole, 76):
            yield (b"" if first else b"\r\n") + text[at : at + 76]
            first = False
    if left:
        yield (b"" if first else b"\r\n") + left


def _encode_quoted_printable(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Quoted-printable; a chunk that ends within a line ends in a soft line break."""
    held = b""
    for chunk in chunks:
        octets = held + chunk
        cut = octets.rfind(b"\r\n") + 2
        if cut < 2 and len(octets) < _CHUNK:  # no line end yet
            held = octets
        elif cut < 2:
            cut = len(octets) - octets.endswith(b"\r")
            yield _quoted(octets[:cut]) + b"=\r\n"
            held = octets[cut:]
        else:
            yield _quoted(octets[:cut])
            held = octets[cut:]
    if held:
        yield _quoted(held)


def _quoted(octets: bytes) -> bytes:
    """b2a_qp takes the form of its soft line breaks from the first line's end, so it must see one."""
    return binascii.b2a_qp(b"\r\n" + octets, istext=True)[2:]


def _requote(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Quoted-printable with lines too long: soft line breaks put into them, octets and line ends kept."""
    return _encode_quoted_printable(_unquote(chunks))


def _unquote(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        octets = held + chunk
        cut = octets.rfind(b"\r\n") + 2
        if cut < 2:
            cut = max(0, len(octets) - 4) if len(octets) >= _CHUNK else 0
            escape = octets.rfind(b"=", max(0, cut - 2), cut)
            cut = escape if escape >= 0 else cut
        yield binascii.a2b_qp(octets[:cut])
        held = octets[cut:]
    yield binascii.a2b_qp(held)


def _clean(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Text that belongs to no part: no octets over 127, no long lines."""
    line = 0
    for chunk in chunks:
        pieces = chunk.translate(_ASCII_ONLY).split(b"\n")
        out = []
        for number, piece in enumerate(pieces):
            line = len(piece) if number else line + len(piece)
            while line > MAX_LINE - 8:
                keep = max(0, len(piece) - (line - (MAX_LINE - 8)))
                out.append(piece[:keep] + b"\r\n ")
                piece = piece[keep:]
                line = len(piece) + 1
            out.append(piece + (b"\n" if number < len(pieces) - 1 else b""))
        yield b"".join(out)


_ASCII_ONLY = bytes(range(128)) + b"?" * 128

_ENCODERS: dict[_How, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    _How.QUOTED_PRINTABLE: _encode_quoted_printable,
    _How.BASE64: _encode_base64,
    _How.AGAIN_QUOTED_PRINTABLE: _requote,
    _How.AGAIN_BASE64: _rewrap_base64,
    _How.CLEAN: _clean,
}
