"""The parts of a message read for their words: transfer encodings undone, characters decoded, everything bounded.

For what must understand what a stranger's program wrote (bounces, reports).  Octets that are no text of the charset
become U+FFFD; a charset nobody uses in mail is read as Latin-1.  Nothing here raises, and the cost is linear in the
octets given, of which MAX_MESSAGE count.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass

from relayd.mail.header import HeaderBlock
from relayd.mail.structure import Kind, TooComplex, parse_content_type, walk

MAX_MESSAGE = 1 << 20
"""Octets of a message that are looked at."""

MAX_TEXT = 1 << 16
"""Characters of a part that are kept."""

_LONG_GAP = 200
"""Octets outside of all parts past which they are no mere notice to old programs: the boundary is wrong."""

_CHARSETS = frozenset(
    (
        *("utf-8", "us-ascii", "ascii", "utf-7", "utf-16", "iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2"),
        *("iso-2022-jp-3", "iso-2022-kr", "shift_jis", "shift-jis", "cp932", "euc-jp", "euc-kr", "ks_c_5601-1987"),
        *("cp949", "gb2312", "gbk", "gb18030", "hz-gb-2312", "big5", "big5-hkscs", "koi8-r", "koi8-u", "tis-620"),
        *(f"iso-8859-{number}" for number in (*range(1, 12), *range(13, 17))),
        *(f"windows-{number}" for number in range(1250, 1259)),
    )
)
_ENCODED_WORD = re.compile(rb"=\?([^?\s]{1,40})\?([BbQq])\?([^?\s]{0,400})\?=")
_BETWEEN_WORDS = re.compile(rb"\?=[ \t]++=\?")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the message, or the header of one that it contains.

    content_type: lower case.  header: its own.  body: octets with the transfer encoding undone, CRLF or LF.
    returned: it lies within a message that this one contains.
    """

    content_type: str
    header: HeaderBlock
    body: bytes
    returned: bool = False

    @property
    def text(self) -> str:
        """The body as text with "\\n" line ends, MAX_TEXT characters at most."""
        parameters = parse_content_type(self.header.first("Content-Type"))[1]
        charset = parameters.get("charset", b"").decode("ascii", "replace")
        return decode_text(self.body, charset).replace("\r\n", "\n").replace("\r", "\n")[:MAX_TEXT]


def decode_text(octets: bytes, charset: str) -> str:
    """The octets as text of that charset; of UTF-8 where it names none and they are that, else of Latin-1."""
    charset = charset.lower().strip("'\" ")
    if charset in _CHARSETS and charset not in ("us-ascii", "ascii"):
        return octets.decode(charset, "replace")
    if b"\x1b$" in octets:  # no charset named, but the escapes of ISO-2022-JP
        return octets.decode("iso-2022-jp", "replace")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def decode_words(value: bytes) -> str:
    """A field's value with its encoded words decoded (RFC 2047), as leniently as people's programs write them."""
    value = _BETWEEN_WORDS.sub(b"?==?", value[:MAX_TEXT])
    pieces: list[str] = []
    place = 0
    for word in _ENCODED_WORD.finditer(value):
        pieces.append(decode_text(value[place : word.start()], ""))
        octets = _unbase64(word[3]) if word[2] in b"Bb" else binascii.a2b_qp(word[3], header=True)
        pieces.append(decode_text(octets, word[1].partition(b"*")[0].decode("ascii", "replace")))
        place = word.end()
    pieces.append(decode_text(value[place:], ""))
    return "".join(pieces)


def read_parts(content: bytes) -> list[Part]:
    """The leaves of the message in their order, its own header first (as a Part of type "" without body).

    A message inside counts as a part of type "message/rfc822" whose body is that message's header.  What is too
    complex to be walked is one text part.
    """
    content = content[:MAX_MESSAGE].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    try:
        entities = walk(io.BytesIO(content))
    except TooComplex:
        header, _, body = content.partition(b"\r\n\r\n")
        block = HeaderBlock.parse(header[:MAX_TEXT])
        return [Part("", block, b""), Part("text/plain", HeaderBlock([]), body)]
    parts: list[Part] = []
    inside: int | None = None  # the depth of the message that contains what comes
    after_message = False
    for entity in entities:
        if inside is not None and entity.depth <= inside:
            inside = None
        block = HeaderBlock.parse(content[entity.start : entity.body].removesuffix(b"\r\n"))
        if after_message:
            after_message = False
            parts.append(Part("message/rfc822", block, content[entity.start : entity.body], returned=True))
        elif not parts:
            parts.append(Part("", block, b""))
        if entity.kind is Kind.MESSAGE and inside is None:
            inside, after_message = entity.depth, True
        octets = content[entity.body : entity.end]
        if entity.kind is Kind.LEAF:
            parts.append(Part(entity.content_type, block, decode_body(octets, entity.encoding), inside is not None))
        elif entity.kind is Kind.GAP and len(octets) > _LONG_GAP:
            parts.append(Part("text/plain", HeaderBlock([]), octets, inside is not None))
    return parts


def decode_body(body: bytes, encoding: str) -> bytes:
    """The octets of a body with its Content-Transfer-Encoding undone; as they are where it names none that we know."""
    encoding = encoding.strip()
    if encoding == "base64":
        return _unbase64(body)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    return body


def _unbase64(octets: bytes) -> bytes:
    """What can be read of base64, however it is broken."""
    letters = octets.translate(None, _NOT_BASE64)
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))
