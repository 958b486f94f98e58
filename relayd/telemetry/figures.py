"""The metrics as the API names them: counters by event id, gauges and histograms by metric id (operations 2 and 4).

Counters and histograms count from the start of the daemon.  Durations are in milliseconds, sizes in octets.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

from relayd.events import auth, delivery, http, queue, security, smtp
from relayd.events.event import TABLE, EventKind
from relayd.telemetry.histogram import Histogram
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.points import Point

Gauge = Callable[[], float | Awaitable[float]]
"""Reads a gauge."""

_UNCOUNTED = frozenset(
    {kind for kind in TABLE.values() if kind.on_demand}
    | {smtp.CONNECTION_END, delivery.ATTEMPT_END, http.CONNECTION_END}
)
"""Octets on the wire, and ends of what was counted when it began."""

_KEPT_FAMILIES = ("incoming-report", "message-ingest")

KEPT_COUNTERS = frozenset(
    kind.id
    for kind in (
        smtp.CONNECTION_START,
        http.CONNECTION_START,
        delivery.ATTEMPT_START,
        delivery.DELIVERED,
        delivery.DEFERRED,
        delivery.BOUNCED,
        delivery.EXPIRED,
        queue.QUEUE_MESSAGE,
        queue.QUEUE_MESSAGE_AUTHENTICATED,
        queue.QUEUE_DSN,
        smtp.RCPT_TO_REJECTED,
        auth.FAILED,
        security.AUTHENTICATION_BAN,
        security.IP_BLOCKED,
    )
) | {"queue.queue-report", "security.scan-ban", "security.abuse-ban", "security.loiter-ban"}
"""Counters of which a history is kept, beside those of a few families."""

KEPT_GAUGES = frozenset({"queue.count", "server.memory"})
KEPT_HISTOGRAMS = frozenset(
    {"delivery.total-time", "delivery.attempt-time", "dns.lookup-time", "message.size", "message.authenticated-size"}
)


class Figure(NamedTuple):
    """What a metric is now.  value: of a histogram the sum; number: of a histogram how many values."""

    id: str
    type: str
    value: int
    number: int = 0

    def shown(self) -> dict[str, Any]:
        """As operation 4 shows it."""
        if self.type == "histogram":
            return {"id": self.id, "type": self.type, "count": self.number, "sum": self.value}
        return {"id": self.id, "type": self.type, "value": self.value}


class Figures:
    """Reads them.  gauges: by metric id, beside those that the metrics hold themselves."""

    def __init__(self, metrics: Metrics, gauges: Mapping[str, Gauge] | None = None) -> None:
        self._metrics = metrics
        self._gauges: dict[str, Gauge] = {
            "smtp.active-connections": lambda: metrics.sessions,
            "server.memory": resident_memory,
            **(gauges or {}),
        }
        self._histograms: dict[str, tuple[Histogram, int]] = {
            "delivery.total-time": (metrics.delivery_total_time, 1000),
            "delivery.attempt-time": (metrics.attempt_time, 1000),
            "dns.lookup-time": (metrics.lookup_time, 1000),
            "smtp.request-time": (metrics.session_time, 1000),
            "http.request-time": (metrics.request_time, 1000),
            "message.size": (metrics.message_size[False], 1),
            "message.authenticated-size": (metrics.message_size[True], 1),
        }

    async def read(self, names: Collection[str] | None = None) -> list[Figure]:
        """What they are now; names: ids of those asked for, None for all.  Counters at zero are left out."""
        found = [
            Figure(kind.id, "counter", count)
            for kind, count in sorted(self._metrics.events.items(), key=_by_id)
            if kind not in _UNCOUNTED and (names is None or kind.id in names)
        ]
        for id, gauge in self._gauges.items():
            if names is None or id in names:
                value = gauge()
                found.append(Figure(id, "gauge", round(await value if inspect.isawaitable(value) else value)))
        for id, (histogram, unit) in self._histograms.items():
            if names is None or id in names:
                found.append(Figure(id, "histogram", round(histogram.total * unit), histogram.count))
        return found


def _by_id(item: tuple[EventKind, int]) -> str:
    return item[0].id


def resident_memory() -> float:
    """Octets of the process that are in memory; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0.0


def is_kept(figure: Figure) -> bool:
    """Whether a history is kept of a metric."""
    if figure.type == "counter":
        return figure.id in KEPT_COUNTERS or figure.id.partition(".")[0] in _KEPT_FAMILIES
    return figure.id in (KEPT_GAUGES if figure.type == "gauge" else KEPT_HISTOGRAMS)


class MetricHistory:
    """Takes a point of each metric every interval, at whole multiples of it.

    interval: seconds, asked before each point; keep: takes the points; clock: Unix time.
    """

    def __init__(
        self,
        figures: Figures,
        keep: Callable[[list[Point]], None],
        interval: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._figures = figures
        self._keep = keep
        self._interval = interval
        self._clock = clock
        self._before: dict[str, Figure] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            interval = self._interval()
            await asyncio.sleep(interval - self._clock() % interval)
            await self.take()

    async def take(self) -> None:
        """One point of each metric that changed, or that is a gauge and not zero."""
        at = int(self._clock())
        points = []
        for figure in filter(is_kept, await self._figures.read()):
            value, number = figure.value, figure.number
            if figure.type != "gauge":
                before = self._before.get(figure.id)
                self._before[figure.id] = figure
                if before is not None:
                    value, number = value - before.value, number - before.number
            if value or number:
                points.append(Point(at, figure.id, figure.type, value, number))
        self._keep(points)
