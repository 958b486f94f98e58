"""Held mail as a whole: how much there is and why, and what becomes of it when nobody decides.

What was held for longer than `quarantine.keep` is removed like what an operator deletes, so it counts as removed, its
cause is stated, and for a while it can be brought back.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from relayd.database.interface import Connection
from relayd.events import queue as events
from relayd.events.event import Span
from relayd.options import format_duration
from relayd.queue.actions import Actions
from relayd.queue.filter import Filter, Kind
from relayd.queue.options import QuarantineOptions
from relayd.queue.store import Queue

BY = "quarantine"
"""Who removes what nobody decided about."""
AT_ONCE = 1000
MAX_REASONS = 20


class Held(msgspec.Struct, frozen=True):
    """What is held.  oldest: since when the first of it is (Unix time), None: nothing is.  reasons: how many for each,
    the commonest first, MAX_REASONS at most.
    """

    total: int
    oldest: float | None
    reasons: tuple[tuple[str, int], ...]


class Quarantine:
    """options: those in force.  clock: Unix time."""

    def __init__(
        self, queue: Queue, actions: Actions, options: Callable[[], QuarantineOptions], clock: Callable[[], float],
        span: Span,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._actions = actions
        self._options = options
        self._clock = clock
        self._span = span

    async def held(self) -> Held:
        """What is held now.  Raises DatabaseError."""
        return await self._queue.database.read(_held)

    async def expire(self) -> int:
        """Remove what was held for too long; how many messages.  Raises DatabaseError, QueueUnavailable."""
        keep = self._options().keep
        if not keep:
            return 0
        limit = self._clock() - keep
        reason = f"held for {format_duration(keep)}, and nobody released it"
        total = 0
        while ids := await self._queue.database.read(lambda connection: _held_before(connection, limit)):
            removed = await self._actions.remove(Filter(ids=ids, kind=Kind.HELD), BY, reason)
            if not removed:
                break
            total += removed
        if total:
            events.QUARANTINE_EXPIRED(self._span, total=total, reason=reason)
        return total


def _held(connection: Connection) -> Held:
    where = "FROM messages WHERE held_since IS NOT NULL AND removal IS NULL"
    total, oldest = connection.execute(f"SELECT count(*), min(held_since) {where}").fetchone()
    reasons = connection.execute(
        f"SELECT held_reason, count(*) {where} GROUP BY held_reason ORDER BY count(*) DESC, held_reason LIMIT ?",
        (MAX_REASONS,),
    )
    return Held(total, oldest, tuple((str(reason or ""), number) for reason, number in reasons))


def _held_before(connection: Connection, limit: float) -> list[int]:
    found = connection.execute(
        "SELECT id FROM messages WHERE held_since IS NOT NULL AND held_since < ? AND removal IS NULL LIMIT ?",
        (limit, AT_ONCE),
    )
    return [id for (id,) in found]
