"""Health and metrics: `/healthz/live`, `/healthz/ready`, `/metrics`.

Alive means that the event loop answers.  Ready means that mail is taken: the `problems` that the daemon names are none.
The gauges of the queue are read from its durable rows when somebody scrapes, at most every few seconds.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from aiohttp import web

from relayd.mail.snowflake import issued_at
from relayd.queue.listing import Audit, Counts
from relayd.telemetry.metrics import CONTENT_TYPE, Metrics

Ready = Callable[[], list[str] | Awaitable[list[str]]]
"""What keeps the daemon from taking mail, in words; nothing when it is ready."""

_COUNT_EVERY = 10.0
_COUNT_SHARE = 0.02
"""Of the time, that counting may take: a million rows are counted less often than a thousand."""
_AUDIT_EVERY = 60.0
_LARGEST_ID = (1 << 63) - 1


class CountedQueue(Protocol):
    """What the gauges ask the queue."""

    async def counts(self) -> Counts:
        """Count the rows."""

    async def audit(self) -> Audit:
        """Compare counters with rows."""

    async def oldest(self, before: int, most: int) -> Sequence[tuple[str, int]]:
        """Destinations that mail waits for, and its oldest message; see `queue.listing.oldest`."""


class Health:
    """The three handlers.  clock: Unix time in seconds."""

    def __init__(self, queue: CountedQueue, metrics: Metrics, ready: Ready, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._metrics = metrics
        self._ready = ready
        self._clock = clock
        self._counted = self._audited = float("-inf")
        self._count_every = _COUNT_EVERY

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz/live", self.live)
        app.router.add_get("/healthz/ready", self.ready)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/metrics/prometheus", self.metrics)

    async def live(self, request: web.Request) -> web.Response:
        """200 while the loop turns."""
        return _json(200, {"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        """200 when mail is taken, else 503 and why not."""
        answer = self._ready()
        problems = await answer if inspect.isawaitable(answer) else answer
        if problems:
            return _json(503, {"status": "not ready", "problems": problems})
        return _json(200, {"status": "ready", "problems": []})

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format."""
        await self._refresh()
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _refresh(self) -> None:
        """Read the gauges of the queue anew; one that cannot be read keeps its last value."""
        now = self._clock()
        if not 0 <= now - self._counted < self._count_every:
            self._counted, began = now, time.monotonic()
            counts = await self._queue.counts()
            self._count_every = max(_COUNT_EVERY, (time.monotonic() - began) / _COUNT_SHARE)
            for name, doc, value in (
                ("messages", "Messages in the queue", counts.messages),
                ("bytes", "Octets of all messages in the queue", counts.bytes),
                ("recipients", "Recipients still to be delivered", counts.recipients),
                ("deferred", "Recipients whose last attempt failed for now", counts.deferred),
                ("held", "Messages held by an operator or a rule", counts.held),
                ("corrupt", "Messages whose body is missing", counts.corrupt),
                ("deleted", "Messages that an operator deleted, and that are kept for a while", counts.deleted),
            ):
                self._metrics.set(f"relayd_queue_{name}", doc, value)
        if not 0 <= now - self._audited < _AUDIT_EVERY:
            self._audited = now
            waiting = await self._queue.oldest(_LARGEST_ID, 1)
            age = max(0.0, now - issued_at(waiting[0][1])) if waiting else 0
            self._metrics.set("relayd_queue_oldest_seconds", "Age of the oldest message that waits for a next hop", age)
            audit = await self._queue.audit()
            doc = "Recipients accepted and not accounted for; 0 unless mail was lost or invented"
            self._metrics.set("relayd_queue_audit_difference", doc, audit.difference)


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
