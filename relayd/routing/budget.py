"""How many messages something may be given in a time: a window that slides, in parts.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

_PARTS = 24


class Budget:
    """At most `limit` within `window` seconds (0: no limit); the window slides in steps of a twenty-fourth."""

    __slots__ = ("_parts", "_width", "limit", "spent")

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.spent = 0
        self._width = window / _PARTS
        self._parts: dict[int, int] = {}

    def left(self, now: float) -> int:
        """How many there still are, 0 or more; a large number where there is no limit."""
        if not self.limit:
            return 1 << 53
        self._slide(now)
        return max(0, self.limit - self.spent)

    def spend(self, now: float, count: int = 1) -> None:
        """Note `count` more; a negative one takes back what was noted and not used."""
        self._slide(now)
        part = int(now // self._width)
        self._parts[part] = self._parts.get(part, 0) + count
        self.spent += count

    def free_at(self, now: float) -> float:
        """When one more is there: `now`, or when the oldest part that counts has left the window."""
        if self.left(now):
            return now
        over = self.spent - self.limit
        for part in sorted(self._parts):
            over -= self._parts[part]
            if over < 0:
                return (part + _PARTS) * self._width
        return now + self._width

    def kept(self) -> list[tuple[int, int]]:
        """What `restore` takes."""
        return sorted(self._parts.items())

    def restore(self, parts: Iterable[tuple[int, int]]) -> None:
        """Take up what `kept` gave, perhaps in another process."""
        self._parts = dict(parts)
        self.spent = sum(self._parts.values())

    def _slide(self, now: float) -> None:
        """Forget the parts that have left the window, and those of a future that a clock set back has undone."""
        newest = int(now // self._width)
        for part in [each for each in self._parts if not newest - _PARTS < each <= newest]:
            self.spent -= self._parts.pop(part)
