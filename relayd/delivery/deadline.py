"""One timer for a whole connection: every phase moves its deadline, which costs no timer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `on_passed` once no `move` has put it off.

    The timer behind it is set anew only when it must be earlier.
    """

    __slots__ = ("_at", "_loop", "_on_passed", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed = on_passed
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def move(self, seconds: float) -> None:
        """It is now `seconds` from now."""
        self._at = at = self._loop.time() + seconds
        if self._timer is not None:
            if at >= self._timer_at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def clear(self) -> None:
        """There is none any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        left = self._at - self._loop.time()
        if left > 0.001:
            self.move(left)
        else:
            self._on_passed()
