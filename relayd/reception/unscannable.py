"""Messages whose scan goes over its limits: deferred a few times, then held, by the hash of their bodies.

A scan may fail because the machine was busy: the peer is asked to come again.  One that fails again and again is held
for an operator: it is neither lost, nor does it pass unscanned.  The memory of it is bounded and ends with the process,
which costs the peer no more than to come again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

DEFERRALS = 2
MAX_REMEMBERED = 10_000
REMEMBERED_FOR = 7 * 86400.0
"""Seconds; a peer gives up sooner."""
_BLOCK = 1 << 20


class Unscannable:
    """clock: any seconds, steady."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def again(self, digest: bytes) -> int:
        """Count a failure of a body: how many there were, this one included."""
        now = self._clock()
        times, at = self._seen.pop(digest, (0, now))
        times = 1 if now - at > REMEMBERED_FOR else times + 1
        self._seen[digest] = (times, now)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return times


def body_digest(content: bytes | Path, begin: int) -> bytes:
    """The hash of a body, which begins at that octet; reads the file.  OSError."""
    hasher = blake3()
    if isinstance(content, bytes):
        return hasher.update(content[begin:]).digest()
    with content.open("rb") as file:
        file.seek(begin)
        while octets := file.read(_BLOCK):
            hasher.update(octets)
    return hasher.digest()
