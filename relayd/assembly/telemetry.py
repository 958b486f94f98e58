"""The views of the events that are stored and shown: built before the engine, closed after it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from relayd.assembly.alerts import alerts
from relayd.assembly.engine import Engine
from relayd.assembly.loaded import Loaded
from relayd.config.configuration import Config
from relayd.control.api.telemetry import Telemetry
from relayd.database.segments import Bounds, Series
from relayd.directory.entry import Type
from relayd.directory.rows import Selection
from relayd.events import telemetry
from relayd.events.event import Span
from relayd.telemetry import history, points, traces
from relayd.telemetry.figures import Figures, MetricHistory
from relayd.telemetry.forgetting import Forgotten, Oblivion
from relayd.telemetry.levels import put_in_demand, put_in_force
from relayd.telemetry.live import Live
from relayd.telemetry.log import LogFiles
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.options import MessageHistoryOptions, MetricHistoryOptions, TraceHistoryOptions, TracerOptions
from relayd.telemetry.pseudonyms import Pseudonyms, load_key
from relayd.telemetry.recording import Defer, Recording, Stores

DIRECTORY = "telemetry"
PSEUDONYM_KEY = "pseudonym.key"

_USERS = Selection(types=frozenset({Type.INDIVIDUAL}))
_DOMAINS = Selection(types=frozenset({Type.DOMAIN}))

_PATIENCE = 600.0
"""Seconds that forgetting may take: every row and every line is read."""


class Views:
    """Logs, traces, history and metrics of one daemon.  span: the daemon's."""

    def __init__(self, loaded: Loaded, span: Span, metrics: Metrics, defer: Defer) -> None:
        put_in_force(loaded.levels)
        metrics.name_providers(loaded.settings.shaping.provider_of)
        self._pseudonyms = _pseudonyms(loaded)
        tracers = loaded.config.records(TracerOptions)
        self.log = LogFiles(tracers, loaded.data / "logs", span, defer, pseudonyms=self._pseudonyms)
        span.stream.subscribe(self.log)
        span.stream.subscribe(metrics)
        self._span = span
        self._metrics = metrics
        self._directory = loaded.data / DIRECTORY
        self._options = loaded.config.section(MetricHistoryOptions)
        self.recording = Recording(self._stores(loaded.config), span, defer, span.stream.clock)
        self.live = Live(span, self._put_in_demand)
        self._put_in_demand(False)
        span.stream.subscribe(self.recording)

    def _put_in_demand(self, is_watched: bool) -> None:
        put_in_demand(self.log.wants, is_watched)

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

        def connections() -> float:
            return delivering.pool.idle + delivering.scheduler.stats().running

        self._alerts = alerts(engine, self._metrics, self._span, self._directory)
        self._figures = Figures(
            self._metrics,
            {
                "queue.count": lambda: queue.totals.messages,
                "delivery.active-connections": connections,
                "user.count": lambda: engine.principals.count(_USERS),
                "domain.count": lambda: engine.principals.count(_DOMAINS),
            },
        )
        self._watch(engine)
        return Telemetry(
            stores=lambda: self.recording.stores, figures=self._figures, live=self.live, forget=self._forget
        )

    def _watch(self, engine: Engine) -> None:
        """What Prometheus is shown beside what is counted."""
        space, queue, watch = engine.opened.space, engine.opened.queue, self._metrics.watch
        watch("relayd_data_free_bytes", "Free space where the queue is", lambda: space.free)
        watch(
            "relayd_destinations_suspended", "Destinations to which nothing is sent", lambda: len(queue.suspensions())
        )
        watch("relayd_queue_paused", "1 while the whole queue is paused", lambda: int(queue.paused is not None))
        watch("relayd_telemetry_lost", "Events that the stores had no room for", lambda: self.recording.dropped)
        self._metrics.watch_each("relayd_alerts_open", "Built-in alerts that are not over", "watch", self._alerts.open)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the engine, by name; after `shown`."""
        keeper = MetricHistory(
            self._figures, self.recording.keep, lambda: self._options.interval, self._span.stream.clock
        )
        return {"metric history": keeper.run(), "alerts": self._alerts.run()}

    def _forget(self, address: str) -> Forgotten:
        """See control.api.telemetry.Telemetry."""
        pseudonym = "" if self._pseudonyms is None else self._pseudonyms.of(address)
        oblivion = Oblivion(address, pseudonym)
        traces, history = self.recording.forget(oblivion, _PATIENCE)
        return Forgotten(traces=traces, history=history, logs=self.log.forget(oblivion, _PATIENCE))

    def reload(self, loaded: Loaded) -> None:
        """Keep and show what another configuration says."""
        config = loaded.config
        put_in_force(loaded.levels)
        self._metrics.name_providers(loaded.settings.shaping.provider_of)
        try:
            self._pseudonyms = _pseudonyms(loaded)
        except OSError as error:
            path = str(loaded.data / PSEUDONYM_KEY)
            telemetry.LOG_ERROR(self._span, path=path, reason=f"logged as before: {error}", total=0)
        else:
            self.log.configure(config.records(TracerOptions), self._pseudonyms)
        self.log.forget_levels()
        self._put_in_demand(self.live.is_asked_for_raw)
        self._options = config.section(MetricHistoryOptions)
        self.recording.configure(self._stores(config))

    def close(self) -> None:
        """Write what waits; blocks for some seconds at most."""
        self._span.stream.unsubscribe(self.recording)
        self.recording.close()
        self.log.close()


def _pseudonyms(loaded: Loaded) -> Pseudonyms | None:
    """What replaces addresses, where any tracer wants that or did; raises OSError when there is no key to be had."""
    key = loaded.data / PSEUDONYM_KEY
    if any(each.pseudonyms for each in loaded.config.records(TracerOptions).values()):
        return Pseudonyms(load_key(key))
    try:  # for what older files hold
        return Pseudonyms(load_key(key)) if key.exists() else None
    except OSError:
        return None
