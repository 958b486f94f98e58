"""How many deliveries one destination may have at once.

Two rules.  The window of a destination shrinks while its hosts cannot be reached and opens again with each success,
so that a dead one holds few slots.  And of the slots that all destinations share, one destination gets no more than
half of what is still free, so that slow ones, however many, always leave some for the next (dynamic thresholds,
Choudhury and Hahne 1998).  Pure.
"""

from __future__ import annotations


class Window:
    """The window of one destination.  most: its largest size; a quarter of it is the smallest."""

    __slots__ = ("least", "limit", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.least = max(1, most // 4)
        self.limit = most

    def succeeded(self) -> None:
        """A host of the destination answered."""
        if self.limit < self.most:
            self.limit += 1

    def failed(self) -> None:
        """No host of the destination could be reached, or none took mail at all."""
        self.limit = max(self.least, self.limit // 2)

    def resize(self, most: int) -> None:
        """The configuration changed."""
        if most != self.most:
            self.most = most
            self.least = max(1, most // 4)
            self.limit = most

    def allows(self, running: int, free: int) -> bool:
        """Whether one more may start beside `running` ones, when `free` of the shared slots are free."""
        if free <= 0:
            return False
        return running == 0 or (running < self.limit and running < free // 2)
