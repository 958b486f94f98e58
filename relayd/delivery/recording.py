"""Outcomes are kept until they are recorded.

The queue itself tries again while the database does not take an outcome, and says so (`Queue.unrecorded`).  What it
gives up because it cannot be used at all is kept here and tried again, a little later each time; meanwhile `stalled`
is true and nothing new starts, so that no more than what was in flight waits here.  If the process
ends first, the rows are due at the time that was recorded before the attempt: sent twice at worst, never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relayd.delivery.parts import QueueSide
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.queue.failure import QueueUnavailable
from relayd.queue.message import Job, NewMessage, Outcome

MOST = 1000
"""Outcomes on their way to the database past which nothing new starts."""

_TRIES = 3
"""How often a record that fails for a reason of its own is tried before its rows are left to their schedule."""


class Recorder:
    """Writes outcomes.  patience: seconds before the second try; it doubles up to twenty times that.

    on_recovery: called when the last failing record was made.
    """

    def __init__(self, queue: QueueSide, span: Span, *, patience: float = 0.5) -> None:
        self._queue = queue
        self._span = span
        self._patience = patience
        self._failing = 0
        self.on_recovery: Callable[[], None] = lambda: None

    @property
    def stalled(self) -> bool:
        """Whether an outcome could not be recorded and is not yet."""
        return self._failing > 0

    async def record(self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage] = ()) -> bool | None:
        """Record the outcomes of a job; returns when that is done, True when nothing is left of the message.

        None: the queue cannot take this very record, whatever it is; its rows are left to their schedule.
        """
        faults = 0
        failing = False
        delay = self._patience
        try:
            while True:
                try:
                    return await self._queue.settle(job, outcomes, generated)
                except QueueUnavailable as error:
                    if not failing:
                        self._failing += 1
                        failing = True
                        reason = f"the outcome could not be recorded, nothing new is started until it is: {error}"
                        events.FAILED(self._span, queue_id=job.message.id, reason=reason)
                except Exception as error:
                    faults += 1
                    reason = f"the outcome cannot be recorded: {error!r}"
                    events.FAILED(self._span, queue_id=job.message.id, reason=reason)
                    if faults == _TRIES:
                        return None
                await asyncio.sleep(delay)
                delay = min(delay * 2, self._patience * 20)
        finally:
            if failing:
                self._failing -= 1
                if not self._failing:
                    self.on_recovery()

    async def release(self, job: Job) -> None:
        """Give a job back that was not started; when that fails its rows are left to their schedule."""
        try:
            await self._queue.release_leases(job)
        except Exception as error:
            reason = f"the lease could not be given back: {error!r}"
            events.FAILED(self._span, queue_id=job.message.id, reason=reason)
