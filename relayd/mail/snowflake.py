"""64-bit ids that say whose they are, sort by time, and survive JavaScript (queue ids, span ids).

43 bits of milliseconds since 2021-09-22T03:06:40Z, 9 bits of node, 12 bits of sequence.  The sequence advances in
steps of 128, so the low 7 bits are zero and every id is exact as an IEEE double until 2039.
"""

from __future__ import annotations

EPOCH = 1632280000.0
"""Unix time of id 0."""

_STEP = 128
_SEQUENCES = 4096


class Snowflakes:
    """Issues ids of one node; 32 in a millisecond, then the next millisecond's are taken."""

    def __init__(self, node: int = 1) -> None:
        if not 0 <= node < 512:
            raise ValueError("a node number is 0 to 511")
        self._node = node << 12
        self._millisecond = 0
        self._sequence = 0

    def issue(self, now: float) -> int:
        """The next id at Unix time `now`; ids never go back, even when the clock does."""
        millisecond = int((now - EPOCH) * 1000)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._sequence = 0
        else:
            self._sequence += _STEP
            if self._sequence >= _SEQUENCES:
                self._millisecond += 1
                self._sequence = 0
        return self._millisecond << 21 | self._node | self._sequence


def issued_at(snowflake: int) -> float:
    """Unix time, to the millisecond, at which an id was issued."""
    return EPOCH + (snowflake >> 21) / 1000


def least_issued_at(at: float) -> int:
    """The least id that may be issued at Unix time `at` or later; within what 63 bits hold."""
    return min(max(0, int((at - EPOCH) * 1000)) << 21, (1 << 63) - 1)


def parse_snowflake(text: str) -> int | None:
    """The id meant by `text` as JavaScript may print it: the double nearest to it; None if it is no number."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    value = int(float(text))
    return value if 0 <= value < 1 << 64 else None
