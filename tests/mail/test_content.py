"""What content is like."""

from __future__ import annotations

import pytest

from relayd.mail.content import ContentFacts, ContentScanner, scan


def facts(content: bytes, step: int) -> ContentFacts:
    scanner = ContentScanner()
    for at in range(0, len(content), step):
        scanner.feed(content[at : at + step])
    return scanner.facts()


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("content", "eight_bit", "longest", "header_end", "utf8_header"),
    [
        (b"A: b\r\n\r\nbody\r\n", False, 4, 6, False),
        (b"A: b\r\n\r\nb\xe9dy long\r\n", True, 9, 6, False),
        (b"A: \xe9\r\n\r\nbody\r\n", True, 4, 6, True),
        (b"\r\nbody \xe9\r\n", True, 6, 0, False),
        (b"A: \xe9", True, 4, 4, True),
        (b"A: b\r\n", False, 4, 6, False),
        (b"", False, 0, 0, False),
        (b"A: b\r\n\r\n" + b"x" * 2000 + b"\r\nlast line, open", False, 2000, 6, False),
        (b"A: b\r\n\r\nlast line, open", False, 15, 6, False),
        (b"A: b\r\n\r\n\r\n\r\n", False, 4, 6, False),
    ],
)
def test_facts_do_not_depend_on_how_content_is_cut(
    content: bytes, eight_bit: bool, longest: int, header_end: int, utf8_header: bool, step: int
) -> None:
    expected = ContentFacts(
        size=len(content),
        eight_bit=eight_bit,
        longest_line=longest,
        header_end=header_end,
        utf8_header=utf8_header,
    )
    assert facts(content, step) == expected
    assert scan(content) == expected


def test_eight_bit_octets_behind_the_blank_line_of_the_same_chunk_are_not_the_headers() -> None:
    scanner = ContentScanner(count_lines=False)
    scanner.feed(b"A: b\r\n")
    open_end = scanner.header_end
    assert open_end is None
    scanner.feed(b"\r\n\xe9\r\n")
    facts_now = scanner.facts()
    assert (facts_now.header_end, facts_now.eight_bit, facts_now.utf8_header) == (6, True, False)
    assert facts_now.longest_line == 0


@pytest.mark.parametrize("before", [32_000, 32_766, 32_767, 32_768, 70_000])
def test_a_long_line_is_measured_wherever_a_large_chunk_is_cut(before: int) -> None:
    content = b"A: b\r\n\r\n" + b"\r\n" * (before // 2) + b"x" * 2000 + b"\r\n" * 30_000
    assert scan(content).longest_line == 2000
