"""The views of the events that are stored and shown: built before the engine, closed after it."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from relayd.assembly.engine import Engine
from relayd.assembly.loaded import Loaded
from relayd.config.configuration import Config
from relayd.control.api.telemetry import Telemetry
from relayd.database.segments import Bounds, Series
from relayd.directory.options import AccountOptions
from relayd.events.event import Span
from relayd.reception.options import RcptOptions
from relayd.telemetry import history, points, traces
from relayd.telemetry.figures import Figures, MetricHistory, remembered
from relayd.telemetry.live import Live
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.options import MessageHistoryOptions, MetricHistoryOptions, TraceHistoryOptions
from relayd.telemetry.recording import Defer, Recording, Stores

DIRECTORY = "telemetry"

_COUNT_EVERY = 10.0
"""Seconds for which the number of queued messages is not counted anew."""


class Views:
    """Traces, history and metrics of one daemon.  span: the daemon's."""

    def __init__(self, loaded: Loaded, span: Span, metrics: Metrics, defer: Defer) -> None:
        self._span = span
        self._metrics = metrics
        self._directory = loaded.data / DIRECTORY
        self._options = loaded.config.section(MetricHistoryOptions)
        self.recording = Recording(self._stores(loaded.config), span, defer, span.stream.clock)
        self.live = Live(span)
        span.stream.subscribe(self.recording)

    def _stores(self, config: Config) -> Stores:
        """What is kept by a configuration; the files of what is kept on are gone on with."""
        kept = config.section(TraceHistoryOptions)
        messages = config.section(MessageHistoryOptions)
        metrics = config.section(MetricHistoryOptions)
        before = self.recording.stores if hasattr(self, "recording") else Stores(traces=None, history=None, points=None)
        return Stores(
            traces=self._kept(kept, before.traces, "traces", traces.Traces, traces) if kept.enable else None,
            history=self._kept(messages, before.history, "history", history.History, history)
            if messages.enable
            else None,
            points=self._kept(metrics, before.points, "metrics", points.Points, points) if metrics.enable else None,
        )

    def _kept(self, options: Any, before: Any, name: str, store: Any, module: Any) -> Any:
        bounds = Bounds(options.retention, options.max_size)
        if before is not None:
            before.series.bounds = bounds
            return before
        return store(Series(self._directory, name, module.VERSION, module.SCHEMA, bounds))

    def shown(self, engine: Engine) -> Telemetry:
        """What the control socket is given."""
        delivering, queue = engine.delivering, engine.opened.queue

        async def count() -> float:
            return (await queue.counts()).messages

        def connections() -> float:
            return delivering.pool.idle + delivering.scheduler.stats().running

        self._figures = Figures(
            self._metrics,
            {
                "queue.count": remembered(count, _COUNT_EVERY, time.monotonic),
                "delivery.active-connections": connections,
                "user.count": lambda: len(engine.loaded.config.records(AccountOptions)),
                "domain.count": lambda: len(engine.loaded.config.section(RcptOptions).relay_domains),
            },
        )
        return Telemetry(stores=lambda: self.recording.stores, figures=self._figures, live=self.live)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the engine, by name; after `shown`."""
        keeper = MetricHistory(
            self._figures, self.recording.keep, lambda: self._options.interval, self._span.stream.clock
        )
        return {"metric history": keeper.run()}

    def reload(self, config: Config) -> None:
        """Keep what another configuration says."""
        self._options = config.section(MetricHistoryOptions)
        self.recording.configure(self._stores(config))

    def close(self) -> None:
        """Write what waits; blocks for some seconds at most."""
        self._span.stream.unsubscribe(self.recording)
        self.recording.close()
