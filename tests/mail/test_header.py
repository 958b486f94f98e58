"""The byte-preserving header block."""

from __future__ import annotations

import pytest

from relayd.mail.header import HeaderBlock, field_names, fold, split_message

HEADER = (
    b"Received: from a\r\n\tby b\r\n"
    b"From: x@y\r\n"
    b"not a field at all\r\n"
    b"Subject : folded\r\n  here\r\n"
    b"X-Eight: \xff\xfe\r\n"
    b"FROM: second@y\r\n"
)


def test_the_blank_line_parts_header_and_rest() -> None:
    assert split_message(b"A: b\r\n\r\nbody") == (b"A: b\r\n", b"\r\nbody")
    assert split_message(b"\r\nbody") == (b"", b"\r\nbody")
    assert split_message(b"A: b\r\n") == (b"A: b\r\n", b"")
    assert split_message(b"") == (b"", b"")


def test_fields_are_found_whatever_the_case_and_unfolded() -> None:
    block = HeaderBlock.parse(HEADER)
    assert block.get("from") == [b"x@y", b"second@y"]
    assert block.first("SUBJECT") == b"folded  here"
    assert block.first("x-none") is None
    assert "x-eight" in block
    assert "x-none" not in block
    assert field_names(HEADER) == {b"received", b"from", b"subject", b"x-eight"}
    assert block.encode() == HEADER


def test_edits_leave_every_other_field_as_it_is() -> None:
    block = HeaderBlock.parse(HEADER)
    assert block.remove(["Subject", "X-None"]) == 1
    assert block.replace("From", "new@y")
    assert not block.replace("X-None", "value")
    block.prepend(b"Top: 1\r\nTop2: 2\r\n\tand more\r\n")
    block.append("Last", "value")
    assert block.encode() == (
        b"Top: 1\r\nTop2: 2\r\n\tand more\r\n"
        b"Received: from a\r\n\tby b\r\nFrom: new@y\r\nnot a field at all\r\nX-Eight: \xff\xfe\r\nLast: value\r\n"
    )
    assert block.fields[0].name == "Top"


def test_a_last_line_without_its_end_is_closed_before_another_field() -> None:
    block = HeaderBlock.parse(b"A: b")
    assert block.encode() == b"A: b"
    block.append("C", "d")
    assert block.encode() == b"A: b\r\nC: d\r\n"
    empty = HeaderBlock.parse(b"")
    assert empty.fields == []
    empty.append("C", b"d")
    assert empty.encode() == b"C: d\r\n"


@pytest.mark.parametrize("value", ["x\r\nBcc: victim@y", "x\nBcc: victim@y", "x\rBcc: v", "x\r\n\r\nbody", "x\0y"])
def test_no_value_ends_its_field(value: str) -> None:
    octets = fold("Subject", value)
    assert octets.count(b"\r\n") == 1
    assert octets.endswith(b"\r\n")
    assert b"\0" not in octets
    assert b"\r" not in octets[:-2]
    assert b"\n" not in octets[:-2]


def test_folding_keeps_lines_short_and_the_words() -> None:
    words = " ".join(f"word{number}" for number in range(100))
    octets = fold("Subject", words)
    lines = octets.split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert all(line[:1] == b" " and line.strip() for line in lines[1:-1])
    assert HeaderBlock.parse(octets).first("subject") == words.encode()


def test_a_word_without_blanks_is_cut_before_998_octets() -> None:
    octets = fold("X-Long", "a" * 5000)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.count(b"a") == 5000
    assert fold("Empty", "") == b"Empty: \r\n"
