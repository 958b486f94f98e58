"""Senders take turns: within one destination the next job is that of the sender who has waited longest for one.

So a single message does not stand behind the hundred thousand of another sender.  Pure; a put or a take costs the same
however much waits.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items that wait, first come first served for one sender, round-robin between senders."""

    __slots__ = ("_length", "_order", "_queues")

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        self._order: deque[str] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def senders(self) -> int:
        """How many senders wait."""
        return len(self._queues)

    def waiting(self, sender: str) -> int:
        """How many items of one sender wait."""
        queue = self._queues.get(sender)
        return 0 if queue is None else len(queue)

    def put(self, sender: str, item: T) -> None:
        """Add an item; a sender who had none waits for the end of this round."""
        queue = self._queues.get(sender)
        if queue is None:
            queue = self._queues[sender] = deque()
            self._order.append(sender)
        queue.append(item)
        self._length += 1

    def take(self) -> T:
        """The next item; IndexError when nothing waits."""
        sender = self._order.popleft()
        queue = self._queues[sender]
        item = queue.popleft()
        if queue:
            self._order.append(sender)
        else:
            del self._queues[sender]
        self._length -= 1
        return item

    def remove(self, sender: str) -> list[T]:
        """Take everything of one sender."""
        queue = self._queues.pop(sender, None)
        if queue is None:
            return []
        self._order.remove(sender)
        self._length -= len(queue)
        return list(queue)

    def drain(self) -> list[T]:
        """Take everything."""
        return [self.take() for _ in range(self._length)]
