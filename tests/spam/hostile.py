"""Messages made to hurt whoever reads them."""

from __future__ import annotations

import base64
from collections.abc import Callable

HEAD = b"From: a@a.example\r\nTo: b@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"


def _deep(levels: int) -> bytes:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number) for number in range(levels)
    )
    return HEAD + head + b"Content-Type: text/plain\r\n\r\nthe end\r\n"


def _deep_messages(levels: int) -> bytes:
    return HEAD + b"Content-Type: message/rfc822\r\n\r\n" * levels + b"Subject: inside\r\n\r\nthe end\r\n"


def _parts(number: int) -> bytes:
    part = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    return HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * number + b"--b--\r\n"


def _file(name: bytes, octets: bytes) -> bytes:
    return (
        HEAD + b'Content-Type: application/zip; name="' + name + b'"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        b"" + base64.encodebytes(octets).replace(b"\n", b"\r\n")
    )


def _html(source: bytes) -> bytes:
    return HEAD + b"Content-Type: text/html\r\n\r\n" + source + b"\r\n"


def _text(source: bytes, more: bytes = b"") -> bytes:
    return HEAD + b"Content-Type: text/plain; charset=utf-8\r\n" + more + b"\r\n" + source + b"\r\n"


def _zip_names(number: int) -> bytes:
    entry = b"PK\x03\x04" + b"\0" * 22 + b"\xff\xff\xff\xff" + b"a/" * 100
    return entry * number


MB = 1 << 20

HOSTILE: dict[str, Callable[[], bytes]] = {
    "nested 10,000 multiparts": lambda: _deep(10_000),
    "nested 20,000 messages": lambda: _deep_messages(20_000),
    "100,000 parts": lambda: _parts(100_000),
    "boundary of the same octets": lambda: (
        HEAD + b"Content-Type: multipart/mixed; boundary=" + b"-" * 60 + b"\r\n\r\n" + b"-" * (4 * MB)
    ),
    "boundaries that never end": lambda: (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 200_000
    ),
    "zip with a thousand long names": lambda: _file(b"a.zip", _zip_names(1000)),
    "a long name of a file": lambda: _file(b"a." * 100_000 + b"exe", b"MZ"),
    "a name of quotes": lambda: _file(b'\\"' * 50_000, b"PK\x03\x04"),
    "name continuations": lambda: (
        HEAD + b"Content-Type: text/plain;" + b"".join(b" name*%d*=a;" % n for n in range(9000)) + b"\r\n\r\nx\r\n"
    ),
    "50 MB single line": lambda: _text(b"a" * (50 * MB)),
    "50 MB of blanks": lambda: _text(b" " * (50 * MB)),
    "base64 that is none": lambda: _text(b"=" * (2 * MB), b"Content-Transfer-Encoding: base64\r\n"),
    "quoted-printable that is none": lambda: _text(b"=" * (2 * MB), b"Content-Transfer-Encoding: quoted-printable\r\n"),
    "quoted-printable blanks": lambda: _text(b" " * (1 * MB), b"Content-Transfer-Encoding: quoted-printable\r\n"),
    "broken UTF-8": lambda: _text(b"\xff\xfe\xc3" * MB),
    "UTF-7": lambda: HEAD + b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+" * MB,
    "ISO-2022-JP escapes": lambda: (
        HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + b"\x1b$B" * 300_000
    ),
    "unknown charset": lambda: HEAD + b"Content-Type: text/plain; charset=" + b"x" * 60_000 + b"\r\n\r\n\xff\r\n",
    "HTML: unclosed attributes": lambda: _html(b"<a b='\"" * 100_000),
    "HTML: nested divs": lambda: _html(b"<div>" * 150_000),
    "HTML: nested bold": lambda: _html(b"<b><p style='display:none'>" * 40_000),
    "HTML: comments": lambda: _html(b"<!--" * 200_000),
    "HTML: brackets": lambda: _html(b"<" * 900_000),
    "HTML: entities": lambda: _html(b"&amp" * 200_000 + b"&#" * 200_000),
    "HTML: a hundred thousand links": lambda: _html(b'<a href="http://h.example/?q">http://g.example</a>' * 20_000),
    "HTML: style blanks": lambda: _html(b"<p style='display" + b" " * 500_000 + b"'>"),
    "text: a URL of a megabyte": lambda: _text(b"http://" + b"a" * MB),
    "text: URLs": lambda: _text(b"http://www.www." * 70_000),
    "text: dots": lambda: _text(b"a." * 500_000),
    "text: addresses": lambda: _text(b"a@" * 500_000),
    "text: hyphens": lambda: _text(b"a-" * 500_000 + b".com"),
    "text: apostrophes": lambda: _text(b"a'" * 500_000),
    "text: CJK": lambda: _text("漢字".encode() * 150_000),
    "text: marks": lambda: _text(b"!?$" * 300_000),
    "text: mixed scripts": lambda: _text("aа".encode() * 300_000),
    "header: a From of commas": lambda: b"From: " + b"a," * 100_000 + b"\r\n\r\nx\r\n",
    "header: a From of quotes": lambda: b'From: "' + b'\\"' * 100_000 + b"\r\n\r\nx\r\n",
    "header: a From of brackets": lambda: b"From: " + b"(" * 200_000 + b"\r\n\r\nx\r\n",
    "header: a To of addresses": lambda: b"To: " + b"<a@b.example>, " * 15_000 + b"\r\n\r\nx\r\n",
    "header: encoded words": lambda: b"Subject: " + b"=?utf-8?q?=?=" * 18_000 + b"\r\n\r\nx\r\n",
    "header: question marks": lambda: b"Subject: " + b"=?" * 100_000 + b"\r\n\r\nx\r\n",
    "header: blanks": lambda: b"Subject:" + b" " * 250_000 + b"x\r\n\r\nx\r\n",
    "header: folds": lambda: b"Subject: x" + b"\r\n " * 80_000 + b"\r\n\r\nx\r\n",
    "header: a Content-Type of semicolons": lambda: b"Content-Type: text/plain" + b";" * 200_000 + b"\r\n\r\nx\r\n",
    "header: a Content-Type of parameters": lambda: b"Content-Type: text/plain" + b"; a=b" * 40_000 + b"\r\n\r\nx\r\n",
    "header: 20,000 fields": lambda: b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\nx\r\n",
    "header: Received of brackets": lambda: b"Received: from " + b"[" * 200_000 + b"\r\n\r\nx\r\n",
    "header: Received of blanks": lambda: (b"Received: from a (" + b" " * 5_000 + b"\r\n") * 40 + b"\r\nx\r\n",
    "header: no end": lambda: b"A: b\r\n" * 150_000,
    "no header": lambda: b"\r\n" + b"x" * MB,
    "nothing": lambda: b"",
    "NUL": lambda: b"\0" * (2 * MB),
    "every octet": lambda: bytes(range(256)) * 8000,
}


def large(octets: int = 100 << 20) -> bytes:
    """A message of so many octets, of nothing much."""
    return b"Subject: large\r\n\r\n" + (b"x" * 74 + b"\r\n") * (octets // 76)


def on_the_wire(content: bytes) -> bytes:
    """As it is sent behind DATA, with the final dot (RFC 5321 section 4.5.2)."""
    content = (b"." if content.startswith(b".") else b"") + content.replace(b"\r\n.", b"\r\n..")
    return content + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n"
