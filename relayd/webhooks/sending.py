"""One webhook: reads on in the log from where its server is, posts, and moves its position when that was taken."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable

from relayd.database.interface import DatabaseError
from relayd.events import telemetry as events
from relayd.events.event import Span
from relayd.webhooks.eventlog import EventLog, Position, Selection
from relayd.webhooks.posting import Endpoint, Posted, Poster
from relayd.webhooks.request import LoggedEvent, body_of

LONGEST_DELAY = 300.0
"""Seconds before a post that failed is tried again, at most."""


class Sending:
    """The state of one webhook.  `run` sends what there is and ends; `Webhooks` starts it when there may be more.

    endpoint, selection: where what is sent; a reload replaces them.  chance: 0..1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        selection: Selection,
        log: EventLog,
        poster: Poster,
        span: Span,
        *,
        chance: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self.selection = selection
        self.failures = 0
        self.failing_since: float | None = None
        self.last_error = ""
        self.next_attempt: float | None = None
        self._log = log
        self._poster = poster
        self._span = span
        self._clock = span.stream.clock
        self._chance = chance
        self._has_more = True
        self._changed = asyncio.Event()
        self._is_over = False

    @property
    def position(self) -> Position:
        """How far it is; who is not in the log has taken nothing."""
        return self._log.positions.get(self.endpoint.id) or Position(position=0, since=0.0)

    def more(self) -> None:
        """There may be more in the log."""
        self._has_more = True

    def poke(self) -> None:
        """Something changed that a wait must not sleep through: the endpoint, or the position."""
        self._has_more = True
        self._changed.set()

    def stop(self) -> None:
        """The webhook is there no more: nothing is posted from now on."""
        self._is_over = True
        self._changed.set()

    async def run(self) -> None:
        """Send what is in the log; returns when there is nothing left."""
        while self._has_more and not self._is_over:
            self._has_more = False
            try:
                while await self._send_some():
                    pass
            except DatabaseError as error:  # the position is then at worst behind: it is sent again
                events.WEBHOOK_ERROR(self._span, id=self.endpoint.id, reason=f"the log: {error}")
                self._has_more = True
                await self._wait(LONGEST_DELAY / 10)

    async def _send_some(self) -> bool:
        """One post, whatever becomes of it, and the wait after it; False when there was nothing to post."""
        self._changed.clear()
        before = self.position
        found = await self._log.read(self.selection, before.position)
        if not found or self._is_over:
            return False
        endpoint = self.endpoint
        posted = await self._poster.post(endpoint, body_of(found))
        if posted.is_taken:
            await self._taken(endpoint, before, found)
            await self._wait(endpoint.throttle)
        else:
            delay = await self._failed(endpoint, before, found, posted)
            await self._wait(delay)
        return True

    async def _taken(self, endpoint: Endpoint, before: Position, found: list[LoggedEvent]) -> None:
        if self.failures:
            events.WEBHOOK_RECOVERED(self._span, id=endpoint.id, url=endpoint.shown_url, total=self.failures)
        self.failures, self.failing_since, self.next_attempt, self.last_error = 0, None, None, ""
        if self.position != before or self._is_over:
            return  # it was set by hand meanwhile
        after = dataclasses.replace(
            before, position=found[-1].id, taken=before.taken + len(found), last_taken=self._clock()
        )
        await self._log.move(endpoint.id, after)

    async def _failed(self, endpoint: Endpoint, before: Position, found: list[LoggedEvent], posted: Posted) -> float:
        """Note it, give up what is too old; seconds until it is tried again."""
        now = self._clock()
        self.failures += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.last_error = posted.reason
        delay = min(endpoint.backoff * 2.0 ** min(self.failures - 1, 20), LONGEST_DELAY) * (1 + self._chance() / 5)
        self.next_attempt = now + delay
        events.WEBHOOK_ERROR(
            self._span,
            id=endpoint.id,
            url=endpoint.shown_url,
            code=posted.status or None,
            reason=posted.reason,
            total=len(found),
            next_retry=self.next_attempt,
        )
        limit = now - endpoint.discard_after
        if before.since <= limit and found[0].at <= limit and self.position == before and not self._is_over:
            count, last = await self._log.count(self.selection, before.position, limit)
            await self._log.move(endpoint.id, dataclasses.replace(before, position=last))
            events.WEBHOOK_DROPPED(
                self._span, id=endpoint.id, reason="they could not be posted for too long", total=count
            )
        return delay

    async def _wait(self, seconds: float) -> None:
        """Sleep, or less when something changes, or did since the last look at the log."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
