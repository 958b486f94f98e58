"""Room on the disk and in the queue: when new mail is put off, and when nothing new is attempted.

Below `queue.min-free`, what operators deleted is purged before its time (`upkeep`).  A reserve file is preallocated
beside the database; it is given up when a write finds the disk full and no file of deleted mail is left to go first,
so that the outcomes of attempts in flight can be recorded, and made again when there is room.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relayd.events import queue as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.queue.options import LimitOptions, SpaceOptions

RESERVE = "reserve"
"""Name of the reserve file in the data directory."""

_FRESH = 1.0  # seconds for which an answer of the file system is good
_FLOOR = 8  # the hard floor's default is this part of min-free


@dataclass(slots=True)
class Totals:
    """What is in the queue now, known without asking the disk."""

    messages: int = 0
    bytes: int = 0


def free_bytes(directory: Path) -> int:
    """Octets that we may still write on the file system of `directory`.  Raises OSError."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


class Space:
    """Knows the room in `directory` (the data directory).

    totals: kept by the queue.  clock: Unix time.  measure: free octets of a directory; a failure counts as none.
    """

    def __init__(
        self,
        directory: Path,
        totals: Totals,
        *,
        options: SpaceOptions,
        limits: LimitOptions,
        clock: Callable[[], float],
        span: Span,
        measure: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._directory = directory
        self._totals = totals
        self._clock = clock
        self._span = span
        self._measure = measure
        self._reserve = directory / RESERVE
        self._measured = 0
        self._until = float("-inf")
        self._is_low = False
        self._over: str | None = None
        self.configure(options, limits)

    def configure(self, options: SpaceOptions, limits: LimitOptions) -> None:
        """Take other options (a reload)."""
        self._options = options
        self._limits = limits
        self._floor = options.min_free // _FLOOR if options.hard_floor is None else options.hard_floor

    @property
    def free(self) -> int:
        """Free octets, at most a second old."""
        now = self._clock()
        if not now < self._until <= now + _FRESH:
            try:
                self._measured = self._measure(self._directory)
            except OSError:
                self._measured = 0  # what cannot be asked cannot be promised
            self._until = now + _FRESH
            self._note_low(self._measured < self._options.min_free)
        return self._measured

    def check(self, announced_size: int = 0) -> Reply | None:
        """The refusal of a message of `announced_size` octets (0: not announced), None when there is room."""
        if self.free - announced_size < self._options.min_free:
            return Reply(452, "4.3.1", "Insufficient system storage, try again later")
        over = self._exceeded(announced_size)
        if over != self._over:
            self._over = over
            if over is not None:
                limit = self._limits.messages if over == "messages" else self._limits.bytes
                events.QUOTA_EXCEEDED(self._span, limit=limit, reason=f"queue.limits.{over}")
        return None if over is None else Reply(452, "4.3.1", "The queue is full, try again later")

    @property
    def is_ready(self) -> bool:
        """Whether new mail is taken."""
        return self.free >= self._options.min_free and self._exceeded(0) is None

    @property
    def is_low(self) -> bool:
        """Whether less than `queue.min-free` is left: what is deleted is not kept then."""
        return self.free < self._options.min_free

    def look_again(self) -> None:
        """Ask the file system anew the next time: something was removed."""
        self._until = float("-inf")

    @property
    def may_attempt(self) -> bool:
        """Whether there is room to record what new attempts would bring."""
        return self.free >= self._floor

    def _exceeded(self, announced: int) -> str | None:
        limits, totals = self._limits, self._totals
        if limits.messages is not None and totals.messages >= limits.messages:
            return "messages"
        if limits.bytes is not None and totals.bytes + announced > limits.bytes:
            return "bytes"
        return None

    def _note_low(self, is_low: bool) -> None:
        if is_low != self._is_low:
            self._is_low = is_low
            kind = events.SPACE_LOW if is_low else events.SPACE_OK
            kind(self._span, path=str(self._directory), value=self._measured, limit=self._options.min_free)

    @property
    def has_reserve(self) -> bool:
        """Whether the reserve is there to be given up."""
        return self._reserve.exists()

    def release_reserve(self) -> bool:
        """Give the reserve up; whether there was one."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        self.look_again()
        return True

    def tend_reserve(self) -> bool:
        """Make the reserve when there is none, and room beyond what is kept free; blocks.  Whether there is one now."""
        if self._reserve.exists() or not self._options.reserve:
            return self._reserve.exists()
        if self.free < self._options.min_free + self._options.reserve:
            return False
        partial = self._reserve.with_name("reserve.new")
        try:
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._options.reserve)
            finally:
                os.close(handle)
            partial.rename(self._reserve)
        except OSError:
            partial.unlink(missing_ok=True)
            return False
        return True
