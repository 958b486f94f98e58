"""Where the MIME entities of a message lie."""

from __future__ import annotations

import io

import pytest

from relayd.mail.structure import MAX_DEPTH, MAX_ENTITIES, MAX_HEADER, Kind, TooComplex, parse_content_type, walk

MESSAGE = (
    b"Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=outer\r\n\r\n"
    b"preamble\r\n"
    b"--outer\r\n\r\nfirst\r\n"
    b'--outer\t \r\nContent-Type: multipart/alternative; boundary="in ner"\r\n\r\n'
    b"--in ner\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: 8BIT\r\n\r\nh\xe9\r\n"
    b"--in ner--\r\n"
    b"--outer\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@b\r\n\r\ninside\r\n"
    b"--outer--\r\nepilogue\r\n"
)


def test_every_octet_of_the_body_belongs_to_one_entity() -> None:
    found = [(each.kind, each.content_type, MESSAGE[each.body : each.end]) for each in walk(io.BytesIO(MESSAGE))]
    assert found == [
        (Kind.MULTIPART, "multipart/mixed", b""),
        (Kind.GAP, "text/plain", b"preamble"),
        (Kind.LEAF, "text/plain", b"first"),
        (Kind.MULTIPART, "multipart/alternative", b""),
        (Kind.GAP, "text/plain", b""),
        (Kind.LEAF, "text/html", b"h\xe9"),
        (Kind.GAP, "text/plain", b""),
        (Kind.MESSAGE, "message/rfc822", b""),
        (Kind.LEAF, "text/plain", b"inside"),
        (Kind.GAP, "text/plain", b"epilogue\r\n"),
    ]
    html = walk(io.BytesIO(MESSAGE))[5]
    assert (html.encoding, html.high, html.longest_line, html.has_type) == ("8bit", 1, 2, True)
    assert MESSAGE[html.start : html.body].startswith(b"Content-Type: text/html\r\n")
    assert MESSAGE[html.start : html.body].endswith(b"\r\n\r\n")


def test_parts_of_a_digest_are_messages() -> None:
    digest = b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: in\r\n\r\ntext\r\n--x--\r\n"
    kinds = [(each.kind, each.top) for each in walk(io.BytesIO(digest))]
    assert kinds[2:4] == [(Kind.MESSAGE, False), (Kind.LEAF, True)]


def test_what_is_signed_or_encrypted_is_sealed() -> None:
    signed = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
        b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\n\r\nsig\r\n--x--\r\n"
        b"--o\r\n\r\nfree\r\n--o--\r\n"
    )
    sealed = [each.sealed for each in walk(io.BytesIO(signed)) if each.kind is Kind.LEAF]
    assert sealed == [True, True, False]


def test_a_part_that_never_ends_its_header() -> None:
    broken = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n--x--\r\n"
    kinds = [each.kind for each in walk(io.BytesIO(broken))]
    assert kinds == [Kind.MULTIPART, Kind.GAP, Kind.LEAF, Kind.GAP]
    assert [each.kind for each in walk(io.BytesIO(b""))] == [Kind.LEAF]


def test_long_lines_are_measured_in_pieces() -> None:
    body = b"x" * 200_000 + b"\r\nshort\r\n"
    entity = walk(io.BytesIO(b"\r\n" + body))[0]
    assert entity.longest_line == 200_000
    edge = b"y" * 65535 + b"\r\n--x\r\n"
    assert walk(io.BytesIO(b"\r\n" + edge))[0].longest_line == 65535


def test_a_delimiter_inside_a_long_line_is_no_delimiter() -> None:
    line = b"x" * 65536 + b"--b"
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + line + b"\r\n--b--\r\n"
    leaf = walk(io.BytesIO(content))[2]
    assert content[leaf.body : leaf.end] == line


@pytest.mark.parametrize(
    "content",
    [
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)
            for depth in range(MAX_DEPTH + 2)
        ),
        b"Content-Type: message/rfc822\r\n\r\n" * (MAX_DEPTH + 2),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * (2 * MAX_ENTITIES + 1),
        b"X: y\r\n" * (MAX_HEADER // 6 + 1),
    ],
    ids=["nested", "forwarded", "parts", "header"],
)
def test_hostile_messages_are_too_complex(content: bytes) -> None:
    with pytest.raises(TooComplex):
        walk(io.BytesIO(content))


@pytest.mark.parametrize(
    ("value", "content_type", "parameters"),
    [
        (None, "text/plain", {}),
        (b"", "text/plain", {}),
        (b"nonsense", "text/plain", {}),
        (b"Text/HTML", "text/html", {}),
        (b'text/plain; Charset="utf-8"; x=y', "text/plain", {"charset": b"utf-8", "x": b"y"}),
        (b'a/b; boundary="a\\"; b"; boundary=second', "a/b", {"boundary": b'a"; b'}),
    ],
)
def test_content_type_fields(value: bytes | None, content_type: str, parameters: dict[str, bytes]) -> None:
    assert parse_content_type(value) == (content_type, parameters)
