"""Tables of what is remembered: bounded, in memory, each change told to whoever makes it durable.  Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by key.  name: of the table.  most: keys; the one that was not written for longest is forgotten first."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self._values: OrderedDict[str, V] = OrderedDict()
        self.on_change: Callable[[str, V | None], None] = lambda key, value: None
        """Told of each value that is written, and (None) of each key that is forgotten."""

    def get(self, key: str) -> V | None:
        """The value of `key`."""
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        """Write a value."""
        self._values[key] = value
        self._values.move_to_end(key)
        self.on_change(key, value)
        while len(self._values) > self.most:
            self.on_change(self._values.popitem(last=False)[0], None)

    def drop(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        if self._values.pop(key, None) is None:
            return False
        self.on_change(key, None)
        return True

    def restore(self, key: str, value: V) -> None:
        """Take a value of before a restart."""
        self._values[key] = value
        if len(self._values) > self.most:
            self._values.popitem(last=False)

    def items(self) -> Iterator[tuple[str, V]]:
        """All, the one that was not written for longest first; the table may change meanwhile."""
        return iter(list(self._values.items()))

    def drop_where(self, is_gone: Callable[[str, V], bool]) -> int:
        """Forget what `is_gone` says; how many."""
        gone = [key for key, value in self._values.items() if is_gone(key, value)]
        for key in gone:
            self.drop(key)
        return len(gone)

    def __len__(self) -> int:
        return len(self._values)
