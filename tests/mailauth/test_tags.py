"""Tag lists: what the grammar takes and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.tags import TagError, parse_tags


@pytest.mark.parametrize(
    "text",
    [
        b"a=1;;b=2",  # a tag is missing
        b";a=1",
        b"a",
        b"=1",
        b"1a=1",
        b"a b=1",
        b"a-b=1",
        b"a=1; a=2",  # twice
        b"a=\x00",
        b"a=\x7f",
        b"\xc3\xa9=1",
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(TagError):
        parse_tags(text)


def test_values() -> None:
    tags = parse_tags(b" v=1;\r\n\tn = 12 ; h=From : to:\r\n\tSubject; b=YW\r\n Jj; d=EXAMPLE.org; e=; u=\xc3\xa9.de; ")
    assert tags.first == "v"
    assert tags.number("n", 2) == 12
    assert tags.number("absent", 2) is None
    assert tags.words("h") == ("From", "to", "Subject")
    assert tags.base64("b") == b"abc"
    assert tags.domain("d") == "example.org"
    assert tags.domain("u") == "xn--9ca.de"
    assert tags.octets("e") == b""
    assert tags.text("absent", "other") == "other"


@pytest.mark.parametrize("value", ["", "-1", "1.0", "1 2", "123", "x", "١"])
def test_no_number(value: str) -> None:
    with pytest.raises(TagError):
        parse_tags(f"n={value}".encode()).number("n", 2)


@pytest.mark.parametrize("value", [b"a", b"YQ", b"YQ=", b"YQ==YQ==", b"Y*==", b"\xff\xff\xff\xff"])
def test_no_base64(value: bytes) -> None:
    with pytest.raises(TagError):
        parse_tags(b"b=" + value).base64("b")


@pytest.mark.parametrize(
    "value", ["", ".", "a..b", "a.", ".a", "-a.b", "a b", "a" * 64, "a." * 127 + "a", "@a", "a\xff"]
)
def test_no_domain(value: str) -> None:
    with pytest.raises(TagError):
        parse_tags(f"d={value}".encode("latin-1")).domain("d")


PIECES = [b"a", b"v", b"b", b"bh", b"=", b";", b" ", b"\t", b"\r\n ", b":", b"YQ==", b"1", b"\xc3\xa9", b"\xff", b"\0"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join))
def test_a_list_is_taken_or_refused(text: bytes) -> None:
    try:
        tags = parse_tags(text)
    except TagError:
        return
    for name in ("a", "v", "b", "bh"):
        for read in (tags.text, tags.words, tags.base64, tags.domain, lambda name: tags.number(name, 3)):
            try:
                read(name)
            except TagError:
                continue
