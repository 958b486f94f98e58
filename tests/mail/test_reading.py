"""The parts of a message read for their words."""

from __future__ import annotations

import base64

import pytest

from relayd.mail.reading import decode_text, decode_words, read_parts


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        ("é".encode(), "utf-8", "é"),
        ("é".encode(), "", "é"),
        ("é".encode("latin-1"), "", "é"),
        ("宛先".encode("iso-2022-jp"), "us-ascii", "宛先"),
        ("宛先".encode("euc-jp"), '"EUC-JP"', "宛先"),
        (b"ab-cd", "punycode", "ab-cd"),
        (b"ab", "zlib", "ab"),
        (b"\xff", "utf-8", "�"),
    ],
)
def test_text_is_decoded_by_charsets_of_mail_alone(octets: bytes, charset: str, text: str) -> None:
    assert decode_text(octets, charset) == text


def test_encoded_words() -> None:
    assert decode_words(b"a =?utf-8?q?=C3=A9_b?= =?UTF-8*en?B?w6k?= c") == "a é bé c"
    assert decode_words(b"=?utf-8?b?====?= x") == " x"


def test_parts_know_what_was_returned() -> None:
    parts = read_parts(
        b"Subject: s\nContent-Type: multipart/mixed; boundary=x\n\nold\n--x\nContent-Transfer-Encoding: base64\n\n"
        + base64.b64encode(b"one\r\ntwo")
        + b"\n--x\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=y\n\n"
        b"--y\n\ninside\n--y--\n--x\nContent-Transfer-Encoding: quoted-printable\n\na=3Db\n--x--\n"
    )
    assert [(part.content_type, part.returned) for part in parts] == [
        ("", False),
        ("text/plain", False),
        ("message/rfc822", True),
        ("text/plain", True),
        ("text/plain", False),
    ]
    assert parts[0].header.first("Subject") == b"s"
    assert parts[1].text == "one\ntwo"
    assert parts[2].header.first("Subject") == b"inner"
    assert parts[4].text == "a=b"


def test_what_lies_outside_of_all_parts_is_read_when_it_is_long() -> None:
    parts = read_parts(b"Content-Type: multipart/report; boundary=wrong\n\n" + b"--right\n" + b"text " * 100)
    assert parts[1].text.startswith("--right\ntext")


def test_a_message_too_complex_is_one_text() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(80))
    assert [part.content_type for part in read_parts(nested)] == ["", "text/plain"]
