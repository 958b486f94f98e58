"""Canonical forms of DKIM and ARC (RFC 6376 §3.4): of single header fields, and of a body as it streams by.

The body's form is ours and not dkimpy's, whose relaxed one takes time by the square of a run of blanks and wants the
whole body in memory.  Here every octet is touched a bounded number of times, by operations on whole blocks only, and
what is kept between two chunks is a handful of octets, whatever the body looks like: trailing blank lines are a
count.  One pass serves every signature of a message, because SHA-256 is the only hash that may be used (RFC 8301) and
`l=` asks for the hash of a prefix, which is a copy of the running one.
"""

from __future__ import annotations

import hashlib
from enum import Enum

_TABS = bytes.maketrans(b"\t", b" ")
BLOCK = 64 << 10
"""Octets worked on at once; what a call of `BodyDigests.feed` may hold twice."""


class Canonical(Enum):
    """The two algorithms of `c=`."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def canonical_field(raw: bytes, form: Canonical) -> bytes:
    """One header field as it is signed, with its CRLF.  raw: with colon, folds and CRLF, as it came (§3.4.1, §3.4.2).

    A line without a colon has no relaxed form; it comes back as it is.
    """
    name, colon, value = raw.partition(b":")
    if form is Canonical.SIMPLE or not colon:
        return raw
    value = value.replace(b"\r\n", b"").translate(_TABS)
    return name.rstrip(b" \t").lower() + b":" + _single_blanks(value).strip(b" ") + b"\r\n"


def _single_blanks(octets: bytes) -> bytes:
    """Runs of spaces become one: each round halves the runs that are left, so there are log2(longest run) of them."""
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets


class _Hash:
    """SHA-256 of a stream and of some of its prefixes."""

    __slots__ = ("_limits", "_running", "length", "prefixes")

    def __init__(self) -> None:
        self._running = hashlib.sha256()
        self._limits: list[int] = []  # still ahead, the nearest last
        self.length = 0
        self.prefixes: dict[int, bytes] = {}

    def want(self, limit: int) -> None:
        """Keep the hash of the first `limit` octets too."""
        if not limit:
            self.prefixes[0] = self._running.digest()
        elif limit not in self._limits:
            self._limits.append(limit)
            self._limits.sort(reverse=True)

    def update(self, octets: bytes) -> None:
        begin = 0
        while self._limits and self._limits[-1] <= self.length + len(octets) - begin:
            limit = self._limits.pop()
            end = begin + limit - self.length
            self._running.update(memoryview(octets)[begin:end])
            self.prefixes[limit] = self._running.digest()
            self.length, begin = limit, end
        self._running.update(memoryview(octets)[begin:] if begin else octets)
        self.length += len(octets) - begin

    def digest(self) -> bytes:
        return self._running.digest()


class _SimpleBody:
    """Body without the blank lines at its end (§3.4.3); they are counted until something follows them."""

    __slots__ = ("_carry", "_lines", "hash")

    def __init__(self) -> None:
        self.hash = _Hash()
        self._carry = b""  # a CR at the end of the chunk, whose LF may follow
        self._lines = 0

    def feed(self, octets: bytes) -> None:
        if self._carry:
            octets = self._carry + octets
            self._carry = b""
        if octets[-1:] == b"\r":
            self._carry = b"\r"
            octets = octets[:-1]
        end = _content_end(octets)
        if end:
            self._release()
            self.hash.update(octets if end == len(octets) else octets[:end])
        self._lines += (len(octets) - end) // 2

    def _release(self) -> None:
        step = BLOCK // 2
        while self._lines > 0:
            self.hash.update(b"\r\n" * min(self._lines, step))
            self._lines -= step
        self._lines = 0

    def finish(self) -> None:
        if self._carry:
            self._release()
            self.hash.update(self._carry)
            self._carry = b""
        self.end()

    def end(self) -> None:
        self.hash.update(b"\r\n")


class _RelaxedBody(_SimpleBody):
    """The same, with runs of blanks as one and none at the end of a line (§3.4.4)."""

    __slots__ = ("_blanks",)

    def __init__(self) -> None:
        super().__init__()
        self._blanks = b""  # blanks at the end of the chunk (as one), and a CR behind them

    def feed(self, octets: bytes) -> None:
        octets = (self._blanks + octets).translate(_TABS)
        line = octets.removesuffix(b"\r")
        content = line.rstrip(b" ")
        self._blanks = (b" " if len(content) < len(line) else b"") + octets[len(line) :]
        super().feed(_single_blanks(content).replace(b" \r\n", b"\r\n"))

    def finish(self) -> None:
        # The last line has no CRLF of its own: the one that is added makes its blanks trailing ones, a CR does not.
        super().feed(self._blanks if self._blanks.endswith(b"\r") else b"")
        self._blanks = b""
        super().finish()

    def end(self) -> None:
        if self.hash.length:
            super().end()


def _content_end(octets: bytes) -> int:
    """Where the CRLFs begin with which the octets end."""
    stripped = len(octets.rstrip(b"\r\n"))
    rest = octets[stripped:]
    # CR and LF alternate behind the last pair of equal ones
    begin = max(rest.rfind(b"\r\r"), rest.rfind(b"\n\n")) + 1
    if rest[begin : begin + 1] == b"\n":
        begin += 1
    return len(octets) if rest[-1:] == b"\r" else stripped + begin


class BodyDigests:
    """SHA-256 of a body's canonical forms.  Say what is wanted, feed the body, finish; then ask.

    The body is what stands behind the blank line that ends the header.  Cheap enough for the event loop up to a
    chunk at a time (about 10 ms a MB); who has a large body at once feeds it in a thread.  Not safe to feed from two
    threads at the same time.
    """

    __slots__ = ("_bodies", "finished", "received")

    def __init__(self) -> None:
        self._bodies: dict[Canonical, _SimpleBody] = {}
        self.received = 0
        self.finished = False

    @property
    def is_wanted(self) -> bool:
        """Whether anything was asked for; else there is no need to feed."""
        return bool(self._bodies)

    def want(self, form: Canonical, limit: int | None = None) -> None:
        """Ask for the hash of the body in this form, or of its first `limit` octets; before the first octet is fed."""
        if self.received or self.finished:
            raise ValueError("the body has begun")
        if form not in self._bodies:
            self._bodies[form] = _RelaxedBody() if form is Canonical.RELAXED else _SimpleBody()
        if limit is not None:
            self._bodies[form].hash.want(limit)

    def feed(self, octets: bytes) -> None:
        """The next octets of the body, in chunks of any size."""
        self.received += len(octets)
        if not self._bodies or not octets:
            return
        for begin in range(0, len(octets), BLOCK):
            block = octets[begin : begin + BLOCK]
            for body in self._bodies.values():
                body.feed(block)

    def finish(self) -> None:
        """The body has ended; the second time nothing happens."""
        if not self.finished:
            self.finished = True
            for body in self._bodies.values():
                body.finish()

    def digest(self, form: Canonical, limit: int | None = None) -> bytes | None:
        """The hash; None when the canonical body is shorter than `limit`.  KeyError for what was not wanted."""
        hash = self._bodies[form].hash
        return hash.digest() if limit is None else hash.prefixes.get(limit)

    def length(self, form: Canonical) -> int:
        """Octets of the whole canonical body."""
        return self._bodies[form].hash.length
