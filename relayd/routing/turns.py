"""Senders take turns: within one destination the next job is that of the sender who has waited longest for one.

So a single message does not stand behind the hundred thousand of another sender.  What is more urgent (MT-PRIORITY, RFC
6710) goes before what is less, but a level that was passed over `PATIENCE` times has its turn: none starves.  Pure; a
put or a take costs the same however much waits.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


PATIENCE = 8
"""How often others go before a level of priority that has something waiting."""


class _Round(Generic[T]):
    """Items of one priority: first come first served for one sender, round-robin between senders."""

    __slots__ = ("_length", "_order", "_queues", "passed")

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        self._order: deque[str] = deque()
        self._length = 0
        self.passed = 0

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


class Turns(Generic[T]):
    """Items that wait, in turns between senders, the urgent ones first."""

    __slots__ = ("_others", "_usual")

    def __init__(self) -> None:
        self._usual: _Round[T] = _Round()
        self._others: dict[int, _Round[T]] = {}

    def __len__(self) -> int:
        return len(self._usual) + sum(map(len, self._others.values())) if self._others else len(self._usual)

    @property
    def senders(self) -> int:
        """How many senders wait; one that waits at several priorities counts for each."""
        return self._usual.senders + sum(each.senders for each in self._others.values())

    def waiting(self, sender: str) -> int:
        """How many items of one sender wait."""
        return self._usual.waiting(sender) + sum(each.waiting(sender) for each in self._others.values())

    def put(self, sender: str, item: T, priority: int = 0) -> None:
        """Add an item; a sender who had none waits for the end of this round."""
        if not priority:
            self._usual.put(sender, item)
            return
        level = self._others.get(priority)
        if level is None:
            level = self._others[priority] = _Round()
        level.put(sender, item)

    def take(self) -> T:
        """The next item; IndexError when nothing waits."""
        if not self._others:
            return self._usual.take()
        levels = [(priority, each) for priority, each in self._others.items()]
        if self._usual:
            levels.append((0, self._usual))
        longest = max(levels, key=lambda level: level[1].passed)
        priority, chosen = longest if longest[1].passed >= PATIENCE else max(levels, key=lambda level: level[0])
        for _, each in levels:
            each.passed += 1
        chosen.passed = 0
        item = chosen.take()
        if not chosen and priority:
            del self._others[priority]
        return item

    def remove(self, sender: str) -> list[T]:
        """Take everything of one sender."""
        found = self._usual.remove(sender)
        for priority, level in list(self._others.items()):
            found += level.remove(sender)
            if not level:
                del self._others[priority]
        return found

    def drain(self) -> list[T]:
        """Take everything."""
        return [self.take() for _ in range(len(self))]
