"""What happens now, as streams: the metrics every few seconds, and the events (operations 4 and 48)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from relayd.control.api.telemetry import Telemetry
from relayd.control.queries import FLAG, NUMBER, TEXT, WORDS, parameter
from relayd.control.routes import EVENTS, Call, Route
from relayd.control.streaming import Streams
from relayd.telemetry.matching import Wanted, keys_by_parameter

_INTERVAL = 30
_LONGEST_INTERVAL = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMetricsQuery:
    """Which metrics, and how often."""

    metrics: tuple[str, ...] = parameter(WORDS, "Ids of events (counters) and of metrics; without any: all of them.")
    interval: int | None = parameter(NUMBER, f"Seconds between two frames; {_INTERVAL} when absent or 0.")
    token: str | None = parameter(TEXT, "A token for the live metrics, where no header can be sent.")

    @property
    def seconds(self) -> int:
        """Between two frames."""
        return min(self.interval or _INTERVAL, _LONGEST_INTERVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTracesQuery:
    """Which events; besides these parameters each key of an event is one, as in `remote-ip=192.0.2.1`."""

    filter: str | None = parameter(TEXT, "What some value of the event must hold, in this case of letters.")
    raw: bool = parameter(FLAG, "The dialogues of SMTP too, line by line, without content and secrets.")
    token: str | None = parameter(TEXT, "A token for the live traces, where no header can be sent.")


class LiveOperations:
    """The handlers."""

    def __init__(self, telemetry: Telemetry, streams: Streams) -> None:
        self._telemetry = telemetry
        self._streams = streams
        self._keys: dict[str, str] = {}

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/telemetry/metrics/live",
            permission="metrics-live",
            handler=self.metrics,
            summary="Metrics as they change: a frame `metrics` at once and every interval",
            area="telemetry",
            query=LiveMetricsQuery,
            media=EVENTS,
            operation=4,
        )
        yield Route(
            method="GET",
            path="/telemetry/traces/live",
            permission="tracing-live",
            handler=self.traces,
            summary="Events as they happen: a frame `trace` with a list of them at most once a second, 5,000 events at "
            "most; `missed` with how many `events` were left out before it; `ping` when nothing came for half a "
            "minute. Besides the parameters each key of an event is one (queue-id, remote-ip, from, ...): numbers "
            "match as a whole, texts by a part. After the first event of a span that matches all of it is sent",
            area="telemetry",
            query=LiveTracesQuery,
            media=EVENTS,
            operation=48,
        )

    async def metrics(self, call: Call) -> web.StreamResponse:
        """4: snapshots of the metrics."""
        query: LiveMetricsQuery = call.query
        return await self._streams.serve(call, self._snapshots(frozenset(query.metrics) or None, query.seconds))

    async def _snapshots(self, names: frozenset[str] | None, interval: int) -> AsyncGenerator[tuple[str, Any], None]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            figures = await self._telemetry.figures.read(names)
            yield "metrics", [figure.shown() for figure in figures]
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())

    async def traces(self, call: Call) -> web.StreamResponse:
        """48: events."""
        query: LiveTracesQuery = call.query
        wanted = Wanted(query.filter or "", self._asked_keys(call.request), raw=query.raw)
        return await self._streams.serve(call, self._telemetry.live.watch(wanted))

    def _asked_keys(self, request: web.Request) -> dict[str, str]:
        """What the query says of the keys of events; names in any case of letters, the last of each counts."""
        if not self._keys:
            self._keys = keys_by_parameter()
        found = {}
        for name, value in request.query.items():
            key = self._keys.get(name.lower())
            if key is not None and value:
                found[key] = value
        return found
