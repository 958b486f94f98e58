"""Outcomes are kept until they are recorded.

The queue itself tries again while the database does not take an outcome, and says so (`Queue.unrecorded`).  What it
gives up because it cannot be used at all is kept here and tried again, a little later each time; meanwhile `stalled`
is true and nothing new starts, so that no more than what was in flight waits here.  If the process
ends first, the rows are due at the time that was recorded before the attempt: sent twice at worst, never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from relayd.delivery.parts import QueueSide
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.queue.failure import QueueUnavailable
from relayd.queue.message import Job, NewMessage, Outcome

MOST = 1000
"""Outcomes on their way to the database past which nothing new starts."""

_TRIES = 3
"""How often a record that fails for a reason of its own is tried before deferrals are recorded in its place."""

Instead = Callable[[], Sequence[Outcome]]


class Recorder:
    """Writes outcomes.  patience: seconds before the second try; it doubles up to twenty times that.

    on_recovery: called when the last failing record was made.
    """

    def __init__(self, queue: QueueSide, span: Span, *, patience: float = 0.5) -> None:
        self._queue = queue
        self._span = span
        self.patience = patience
        self.failing = 0
        self.on_recovery: Callable[[], None] = lambda: None

    @property
    def stalled(self) -> bool:
        """Whether an outcome could not be recorded and is not yet."""
        return self.failing > 0

    async def record(
        self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage] = (), *, instead: Instead = list
    ) -> bool | None:
        """Record the outcomes of a job; returns when that is done, True when nothing is left of the message.

        When the queue cannot take this very record, whatever it is, `instead` gives deferrals to record in its place:
        what was delivered is then delivered again.  None: not even that could be recorded; the rows stay leased, and
        are due at their recorded time after the next start.
        """
        faults = 0
        with self._patiently() as failed:
            while True:
                try:
                    return await self._queue.settle(job, outcomes, generated)
                except QueueUnavailable as error:
                    reason = f"the outcome could not be recorded, nothing new is started until it is: {error}"
                    if failed.note():
                        self._report(job, reason)
                except Exception as error:
                    faults += 1
                    self._report(job, f"the outcome cannot be recorded: {error!r}")
                    if faults == _TRIES:
                        outcomes, generated = instead(), ()
                    if faults == 2 * _TRIES:
                        return None
                await asyncio.sleep(failed.next_delay())

    async def release(self, job: Job) -> None:
        """Give a job back that was not started, until the queue takes it."""
        with self._patiently() as failed:
            while True:
                try:
                    await self._queue.release_leases(job)
                    return
                except QueueUnavailable as error:
                    if failed.note():
                        self._report(job, f"the lease could not be given back: {error}")
                await asyncio.sleep(failed.next_delay())

    @contextmanager
    def _patiently(self) -> Iterator[_Failing]:
        """Around a write that is tried until it is done; counts as failing from its first failure to its end."""
        failing = _Failing(self, self.patience)
        try:
            yield failing
        finally:
            if failing.noted:
                self.failing -= 1
                if not self.failing:
                    self.on_recovery()

    def _report(self, job: Job, reason: str) -> None:
        events.FAILED(self._span, queue_id=job.message.id, reason=reason)


class _Failing:
    """One write that is tried again and again."""

    __slots__ = ("_delay", "_most", "_recorder", "noted")

    def __init__(self, recorder: Recorder, patience: float) -> None:
        self._recorder = recorder
        self._delay = patience
        self._most = patience * 20
        self.noted = False

    def note(self) -> bool:
        """It failed because the queue cannot be used now; True the first time."""
        if self.noted:
            return False
        self.noted = True
        self._recorder.failing += 1
        return True

    def next_delay(self) -> float:
        """Seconds to wait this time."""
        delay = self._delay
        self._delay = min(delay * 2, self._most)
        return delay
