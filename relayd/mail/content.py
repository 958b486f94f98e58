"""What the octets of a message are like: 8-bit or not, long lines, where the header ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFacts:
    """size: octets.  longest_line: without CRLF.  header_end: octets of the header block with the CRLF of its last
    line; all of the content when it has no blank line.  utf8_header: an octet over 127 in the header block.
    """

    size: int
    eight_bit: bool
    longest_line: int
    header_end: int
    utf8_header: bool


_SLICE = 32 << 10
"""Octets that are cut into lines at a time: of more, a thread would hold the interpreter for too long."""


class ContentScanner:
    """Looks at content chunk by chunk; what it knows is true of what was fed so far.

    count_lines: False leaves longest_line 0, for callers whose decoder has counted already.
    header_end: None while the blank line has not come.
    """

    __slots__ = ("_count_lines", "_line", "_tail", "eight_bit", "header_end", "longest_line", "size", "utf8_header")

    def __init__(self, *, count_lines: bool = True) -> None:
        self.eight_bit = False
        self.longest_line = 0
        self.header_end: int | None = None
        self.utf8_header = False
        self.size = 0
        self._count_lines = count_lines
        self._line = 0
        self._tail = b"\r\n"  # a CRLF at the very start is the blank line

    def feed(self, chunk: bytes) -> None:
        """The next octets."""
        ascii_only = chunk.isascii()
        if not ascii_only:
            self.eight_bit = True
        if self.header_end is None:
            self._look_for_end(chunk, ascii_only)
        self.size += len(chunk)
        if self._count_lines and chunk:
            if len(chunk) <= _SLICE:
                self._measure(chunk)
            else:
                for begin in range(0, len(chunk), _SLICE):
                    self._measure(chunk[begin : begin + _SLICE])

    def _look_for_end(self, chunk: bytes, ascii_only: bool) -> None:
        buffer = self._tail + chunk
        end = buffer.find(b"\r\n\r\n")
        if end >= 0:
            begin = self.size - len(self._tail)
            self.header_end = begin + end + 2
            ascii_only = ascii_only or buffer[: end + 2].isascii()
            self._tail = b""
        else:
            self._tail = buffer[-3:]
        if not ascii_only:
            self.utf8_header = True

    def _measure(self, chunk: bytes) -> None:
        lines = chunk.split(b"\n")
        first = len(lines[0]) + self._line
        longest = 0
        if len(lines) == 1:
            self._line = first
        else:
            # every line but the last lost its LF and still has the CR of its CRLF
            self._line = len(lines[-1])
            lines[0] = lines[-1] = b""
            longest = max(first, max(map(len, lines))) - 1
        unfinished = self._line - chunk.endswith(b"\r")
        self.longest_line = max(self.longest_line, longest, unfinished)

    def facts(self) -> ContentFacts:
        """At the end of the content."""
        return ContentFacts(
            size=self.size,
            eight_bit=self.eight_bit,
            longest_line=self.longest_line,
            header_end=self.size if self.header_end is None else self.header_end,
            utf8_header=self.utf8_header,
        )


def scan(content: bytes) -> ContentFacts:
    """The facts of content that is in memory."""
    scanner = ContentScanner()
    scanner.feed(content)
    return scanner.facts()
