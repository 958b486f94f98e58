"""How many deliveries one destination may have at once.

Two rules.  The window of a destination shrinks while its hosts cannot be reached and opens again with each success,
so that a dead one holds few slots.  And of the slots that all destinations share, one destination gets no more than a
quarter of what is still free, so that a few slow ones leave some for the next (dynamic thresholds, Choudhury and
Hahne 1998); when the slots are gone all the same, a destination that has nothing running may still start one, from
`SPARE` times as many slots: so hundreds of tarpits do not delay the next destination.  Pure.
"""

from __future__ import annotations

from enum import Enum

SPARE = 4
"""How many times the shared slots are there beside them for destinations that have nothing running."""

_PART = 4


class Standing(Enum):
    """What is known of a destination."""

    ANSWERS = 0
    """A host of it answered the last attempt."""
    FRESH = 1
    """It was not tried yet."""
    FAILING = 2
    """No host answered the last attempt, or the first one hangs."""


class Window:
    """The window of one destination.  most: its largest size; a quarter of it is the smallest.

    answers: whether a host of it answered the last attempt; False before the first.  failed_once: one attempt failed,
    or hung.
    """

    __slots__ = ("answers", "failed_once", "least", "limit", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.least = max(1, most // 4)
        self.limit = most
        self.answers = False
        self.failed_once = False

    def succeeded(self) -> None:
        """A host of the destination answered."""
        self.answers = True
        if self.limit < self.most:
            self.limit += 1

    def failed(self) -> None:
        """No host of the destination could be reached, or none took mail at all."""
        self.answers, self.failed_once = False, True
        self.limit = max(self.least, self.limit // 2)

    def hung(self) -> None:
        """An attempt runs for long: one that never was answered is not fresh any more."""
        self.failed_once = True

    @property
    def standing(self) -> Standing:
        """What is known of the destination."""
        if self.answers:
            return Standing.ANSWERS
        return Standing.FAILING if self.failed_once else Standing.FRESH

    def resize(self, most: int) -> None:
        """The configuration changed."""
        if most != self.most:
            self.most = most
            self.least = max(1, most // 4)
            self.limit = most

    def allows(self, running: int, total: int, slots: int) -> bool:
        """Whether one more may start beside `running` ones, when `total` run everywhere on `slots` shared slots."""
        if running == 0:
            return total < slots * (1 + SPARE)
        return running < self.limit and running * _PART < slots - total
