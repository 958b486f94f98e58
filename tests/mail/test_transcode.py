"""8-bit content and long lines made fit to travel."""

from __future__ import annotations

import email
import email.message
import io
import random

import pytest

from relayd.mail.transcode import shorten_lines, shorten_lines_bytes, to_seven_bit, to_seven_bit_bytes


def leaves(content: bytes) -> list[bytes]:
    """Decoded octets of every leaf, by another parser than ours."""
    return [
        part.get_payload(decode=True)  # type: ignore[misc]
        for part in email.message_from_bytes(content).walk()
        if not part.is_multipart()
    ]


def converted(content: bytes) -> bytes:
    out = to_seven_bit_bytes(content)
    assert out is not None
    assert out.isascii()
    return out


MIXED = (
    b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\npr\xc3\xa9\r\n"
    b"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"mostly ascii, one \xc3\xa9 \r\n.\r\nFrom here\r\nend\r\n"
    b"--x\r\nContent-Type: application/octet-stream\r\n\r\n\xff\xfe\xfd\r\n"
    b"--x\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n" + b"\xc1" * 100 + b"\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"Subject: in\r\n\r\ninside it is \xc3\xa9 too\r\n"
    b"--x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n"
    b"--x--\r\nepilogue\r\n"
)


def test_each_part_says_the_same_in_seven_bits() -> None:
    out = converted(MIXED)
    assert leaves(out) == leaves(MIXED)
    text = out.decode()
    assert text.count("Content-Transfer-Encoding: quoted-printable") == 2
    assert text.count("Content-Transfer-Encoding: base64") == 3
    assert text.count("Content-Transfer-Encoding: 7bit") == 2
    assert "8bit" not in text
    assert "pr??\r\n" in text
    assert "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable" in text
    assert max(map(len, out.split(b"\r\n"))) <= 78
    assert converted(out) == out


@pytest.mark.parametrize(
    ("body", "charset"),
    [("é".encode() + b" is what it is\r\n", b"utf-8"), (b"\xe9 is what it is\r\n", b"unknown-8bit")],
)
def test_text_without_mime_says_what_it_is(body: bytes, charset: bytes) -> None:
    out = converted(b"Subject: x\r\n\r\n" + body)
    assert b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=" + charset + b"\r\n" in out
    assert leaves(out) == [body]


def test_utf8_is_recognised_across_chunks() -> None:
    body = b"x" * (57 * 1024 - 1) + "é€\U0001f4ef".encode() + b"\r\n" + b"y" * 200_000 + b"\r\n"
    out = converted(b"\r\n" + body)
    assert b"charset=utf-8" in out
    assert leaves(out) == [body]
    assert b"unknown-8bit" in converted(b"\r\n" + body + b"\xc3")


def test_badly_labelled_quoted_printable_is_quoted_anew() -> None:
    out = converted(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"a=3D=C3=A9\xc3\xa9\r\n"
    )
    assert leaves(out) == ["a=éé\r\n".encode()]


SIGNED = (
    b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n%s\r\n"
    b"--x\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--x--\r\n"
)


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: \xc3\xa9\r\n\r\ntext\r\n",
        b"DKIM-Signature: v=1\r\n\r\n\xc3\xa9\r\n",
        SIGNED % b"\xc3\xa9",
        b"Content-Type: message/delivery-status\r\n\r\nX: \xc3\xa9\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n\xc3\xa9\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n\xc3\xa9\r\n",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\n\xc3\xa9\r\n",
        b"Content-Type: message/rfc822\r\n\r\n" * 60 + b"\xc3\xa9",
    ],
    ids=["header", "dkim", "signed", "status", "no-boundary", "base64", "unknown", "complex"],
)
def test_what_may_not_be_touched_cannot_be_made_seven_bit(content: bytes) -> None:
    assert to_seven_bit_bytes(content) is None
    target = io.BytesIO()
    assert not to_seven_bit(io.BytesIO(content), target)
    assert target.getvalue() == b""


LONG = b"word " * 400


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Content-Type: text/html\r\n",
        b"Content-Type: application/json\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
    ],
)
def test_long_lines_are_encoded_and_say_the_same(header: bytes) -> None:
    content = b"Subject: x\r\n" + header + b"\r\nshort\r\n" + LONG + b"\r\nshort"
    out = shorten_lines_bytes(content)
    assert out is not None
    assert max(map(len, out.split(b"\r\n"))) <= 78
    assert leaves(out)[0].rstrip(b"\r\n") == leaves(content)[0].rstrip(b"\r\n")


def test_base64_in_one_line_is_wrapped() -> None:
    encoded = b"QUJD" * 50_001
    content = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded + b"\r\n"
    out = shorten_lines_bytes(content)
    assert out is not None
    assert max(map(len, out.split(b"\r\n"))) == 76
    assert leaves(out) == leaves(content)


def test_only_the_part_with_the_long_line_is_touched() -> None:
    content = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"p" * 3000 + b"\r\n"
        b"--x\r\n\r\nshort \xc3\xa9\r\n--x\r\n\r\n" + LONG + b"\r\n--x--\r\n"
    )
    out = shorten_lines_bytes(content)
    assert out is not None
    assert b"--x\r\n\r\nshort \xc3\xa9\r\n--x\r\n" in out
    assert leaves(out) == leaves(content)
    assert max(map(len, out.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "content",
    [
        SIGNED % LONG,
        b"DKIM-Signature: v=1\r\n\r\n" + LONG,
        b"Content-Type: message/partial\r\n\r\n" + LONG,
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\n" + LONG,
    ],
)
def test_lines_of_what_may_not_be_touched_stay_long(content: bytes) -> None:
    assert shorten_lines_bytes(content) is None


@pytest.mark.parametrize("content", [b"", b"\r\n", b"A: b\r\n", MIXED, SIGNED % b"text"])
def test_what_needs_nothing_comes_out_as_it_went_in(content: bytes) -> None:
    assert shorten_lines_bytes(content) == content


class CountingFile(io.BytesIO):
    """Remembers the largest piece that was asked for or written."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        octets = super().read(size)
        self.largest = max(self.largest, len(octets))
        return octets

    def write(self, octets: bytes, /) -> int:  # type: ignore[override]
        self.largest = max(self.largest, len(octets))
        return super().write(octets)


def test_a_large_body_is_never_held_whole() -> None:
    chance = random.Random(1)
    binary = bytes(chance.randrange(256) for _ in range(1 << 18)).replace(b"\r", b"").replace(b"\n", b"\r\n") * 16
    text = (b"caf\xc3\xa9 and more of it\r\n" * 60_000) + b"t" * 300_000 + b"\r\n"
    content = (
        b"Content-Type: multipart/mixed; boundary=x-y-z\r\n\r\n"
        + b"--x-y-z\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        + text
        + b"\r\n--x-y-z\r\nContent-Type: application/octet-stream\r\n\r\n"
        + binary
        + b"\r\n--x-y-z--\r\n"
    )
    for work in (to_seven_bit, shorten_lines):
        source, target = CountingFile(content), CountingFile()
        assert work(source, target)
        assert max(source.largest, target.largest) < 512 * 1024
        parts = email.message_from_bytes(target.getvalue()).get_payload()
        assert isinstance(parts, list)
        decoded = [part.get_payload(decode=True) for part in parts if isinstance(part, email.message.Message)]
        assert decoded == [text, binary]
