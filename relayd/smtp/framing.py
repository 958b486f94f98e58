"""Framing of message content: DATA both ways, BDAT chunks (RFC 5321 §4.5.2, RFC 3030).

Only CRLF "." CRLF ends DATA, and "." CRLF at its very start.  A bare CR, a bare LF or a NUL is a violation, whatever
stands around it, in DATA and BDAT alike: a peer that reads such an octet as a line end would see another message than
we do (SMTP smuggling).  `normalise` makes CRLF of bare CR and LF instead and drops NUL; an end of data that comes to be
so is content, and `DotStuffer` sends it as content.

Chunks are worked on as a whole, by search and replace; no line of clean content is looked at by itself.
"""

from __future__ import annotations

from enum import Enum

import re2

_END = b"\r\n.\r\n"
_HELD = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
"""What may be the beginning of an end of data, longest first."""


_CR, _LF = b"\r\n"
_USUAL = 998
_SHORT = 16384
"""Octets below which two passes cost less than the beginning of a search."""

_BYTES = re2.Options()
_BYTES.encoding = re2.Options.Encoding.LATIN1
_BYTES.never_capture = True
_ODD = re2.compile(rb"[^\r]\n|\r[^\n]|\x00", _BYTES)  # type: ignore[no-untyped-call]
"""A violation anywhere but at the ends.  One pass that costs the same whatever the lines are: taking them apart costs
eight times as much when they are short.
"""


def _is_odd(content: bytes) -> bool:
    """Whether content that does not end between CR and LF holds a violation."""
    if len(content) < _SHORT:
        rest = content.replace(b"\r\n", b"")
        return b"\r" in rest or b"\n" in rest or b"\0" in rest
    return content[0] == _LF or content[-1] == _CR or _ODD.search(content) is not None


class Violation(Enum):
    """What content must not hold; the value is the text for the peer."""

    BARE_LF = "bare <LF> received, lines must end in <CR><LF>"
    BARE_CR = "bare <CR> received, lines must end in <CR><LF>"
    NUL = "<NUL> received"


class _Content:
    """What both decoders know of the content so far.

    violation: the first that was found, None in normalise mode.  repaired: normalise mode had to change something.
    longest_line: octets of the longest line without its CRLF, 0 while none is longer than lines usually may be (998
    octets, RFC 5321 §4.5.3.1.6, or max_line).  total: decoded octets.
    """

    def __init__(self, *, normalise: bool = False, max_line: int = 65536) -> None:
        self.violation: Violation | None = None
        self.repaired = False
        self.longest_line = 0
        self.total = 0
        self._normalise = normalise
        self._max_line = max_line
        self._usual = min(max_line, _USUAL)
        self._line = 0

    @property
    def line_too_long(self) -> bool:
        """A line is longer than max_line."""
        return self.longest_line > self._max_line

    def _take(self, content: bytes) -> bytes:
        """Look at decoded content that does not end between CR and LF; what is to be passed on."""
        if not content:
            return content
        if _is_odd(content):
            content = self._violated(content)
            if self._normalise:
                return self._take(content)
        self._measure(content)
        self.total += len(content)
        return content

    def _measure(self, content: bytes) -> None:
        """Look for longer lines than those known, in steps of that many octets: most lines are never looked at."""
        longest = max(self.longest_line, self._usual)
        at = -self._line  # where the line began
        while (stop := at + longest + 2) <= len(content):
            end = content.rfind(b"\n", max(at, 0), stop)
            if end < 0:
                end = content.find(b"\n", stop)
                if end < 0:
                    break
                longest = self.longest_line = end - at - (content[end - 1] == _CR)
            at = end + 1
        if (end := content.rfind(b"\n", max(at, 0))) >= 0:
            at = end + 1
        self._line = len(content) - at
        if self._line > longest:
            self.longest_line = self._line

    def _violated(self, content: bytes) -> bytes:
        if self._normalise:
            self.repaired = True
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            return content.replace(b"\0", b"")  # last, or a cut between CR NUL and LF would make a difference
        if self.violation is None:
            rest = content.replace(b"\r\n", b"")
            places = {
                rest.find(octet): violation
                for octet, violation in ((b"\n", Violation.BARE_LF), (b"\r", Violation.BARE_CR), (b"\0", Violation.NUL))
                if octet in rest
            }
            self.violation = places[min(places)]
        return content


class DataDecoder(_Content):
    """What follows the 354: dots unstuffed, end found, newlines checked.  One decoder per message."""

    def __init__(self, *, normalise: bool = False, max_line: int = 65536) -> None:
        super().__init__(normalise=normalise, max_line=max_line)
        self._tail = b"\r\n"  # as if a line had just ended: a dot at the very start is one at the start of a line
        self._virtual = 2

    def feed(self, chunk: bytes) -> tuple[bytes, bytes | None]:
        """(decoded octets, None), or at the end of data (decoded octets, octets behind the final dot's CRLF).

        The decoder takes nothing after the end.
        """
        buffer = self._tail + chunk
        rest: bytes | None = None
        place = buffer.find(b"\r\n.")
        end = buffer.find(_END, place) if place >= 0 else -1
        if end >= 0:
            content, rest, self._tail = buffer[: end + 2], buffer[end + 5 :], b""
        else:
            held = next((len(each) for each in _HELD if buffer.endswith(each)), 0)
            content = buffer[:-held] if held else buffer
            self._tail = buffer[-held:] if held else b""
        if place >= 0 and place != end:  # the first dot at the start of a line is mostly the final one
            content = content.replace(b"\r\n.", b"\r\n")
        if self._virtual and content:
            content, self._virtual = content[2:], 0
        return self._take(content), rest


class ChunkDecoder(_Content):
    """The content of BDAT chunks, checked as DATA is.  One decoder per message."""

    def __init__(self, *, normalise: bool = False, max_line: int = 65536) -> None:
        super().__init__(normalise=normalise, max_line=max_line)
        self._cr = b""

    def feed(self, chunk: bytes) -> bytes:
        """Octets of a chunk, any part of it; what is to be passed on."""
        buffer = self._cr + chunk if self._cr else chunk
        self._cr = b""
        if buffer.endswith(b"\r"):
            buffer, self._cr = buffer[:-1], b"\r"
        return self._take(buffer)

    def finish(self) -> bytes:
        """After the last chunk: what had to wait for its next octet."""
        held, self._cr = self._cr, b""
        return self._take(held)


class DotStuffer:
    """Content on its way out by DATA: a dot is put before each dot that begins a line (RFC 5321 §4.5.2)."""

    def __init__(self) -> None:
        self._last = b"\r\n"  # the last two octets sent

    def feed(self, chunk: bytes) -> bytes:
        """The next octets of the content as they are sent."""
        if not chunk:
            return b""
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if chunk[0] == 0x2E and self._last == b"\r\n":
            stuffed = b"." + stuffed
        elif chunk[:2] == b"\n." and self._last[-1:] == b"\r":
            stuffed = b"\n." + stuffed[1:]
        self._last = chunk[-2:] if len(chunk) > 1 else self._last[-1:] + chunk
        return stuffed

    def finish(self) -> bytes:
        """The end of data, after a CRLF where the content does not end in one."""
        return b".\r\n" if self._last == b"\r\n" else _END
