"""Work that may outlast its request: changes to many messages.

The request waits for a few seconds; then it is answered with what is known, and the work goes on, owned here.  Its
failure is an event; at the stop it is waited for, as long as there is time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from relayd.events import manage
from relayd.events.event import Span

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that a request waits."""


class Background:
    """Owner of work that outlasts its request."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T], span: Span, details: str) -> T | None:
        """The result of `work`, raising what it raises; None when it goes on in the background."""
        task = asyncio.create_task(work, name=details)
        self._tasks.add(task)
        done, _ = await asyncio.wait([task], timeout=self._patience)
        if done:
            self._tasks.discard(task)
            return task.result()
        task.add_done_callback(lambda ended: self._ended(ended, span, details))
        return None

    async def close(self, timeout: float) -> None:
        """Wait for what still runs, at most `timeout` seconds; then it is stopped between two of its transactions."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._tasks.clear()

    def _ended(self, task: asyncio.Task[Any], span: Span, details: str) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            manage.ERROR(span, details=details, reason=repr(task.exception()))
