"""Metrics: counted from the events, exported for Prometheus when somebody scrapes.

`Metrics` subscribes to the event stream.  In the caller's turn an event costs one dictionary look-up and an addition,
and a few more for the handful of kinds that a histogram or a gauge is made of; no object of prometheus_client is
touched.  At a scrape a collector copies the plain numbers into metric families.  Labels are bounded: only ids of the
vocabulary.  Values that the engine holds (rows of the queue, open delivery connections) are set with `set`, or read
with `watch`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from relayd.events import delivery, queue, smtp
from relayd.events.event import Event, EventKind
from relayd.telemetry.render import milliseconds

_TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200, 172800)
_SIZES = (1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts by upper bound; `observe` costs a bisection."""

    __slots__ = ("bounds", "counts", "doc", "name", "total")

    def __init__(self, name: str, doc: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.doc = doc
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def family(self) -> HistogramMetricFamily:
        """The counts as prometheus_client wants them: cumulative."""
        buckets = []
        seen = 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            seen += count
            buckets.append((bound, seen))
        return HistogramMetricFamily(self.name, self.doc, buckets=buckets, sum_value=self.total)


class Metrics:
    """The subscriber that counts; call it with each event."""

    def __init__(self) -> None:
        self.events: dict[EventKind, int] = {}
        self.sessions = 0
        self.delivery_total_time = Histogram(
            "relayd_delivery_total_seconds", "From reception until nothing of the message was left to do", _TIMES
        )
        self.attempt_time = Histogram("relayd_delivery_attempt_seconds", "Duration of one delivery attempt", _TIMES)
        self.session_time = Histogram("relayd_smtp_session_seconds", "Duration of one SMTP session", _TIMES)
        self.message_size = Histogram("relayd_message_bytes", "Size of accepted messages", _SIZES)
        self._refusals: dict[tuple[str, str], int] = {}
        self._recipients = {"accepted": 0, "delivered": 0, "deferred": 0, "bounced": 0, "expired": 0}
        self._recipients |= {"maybe_delivered": 0, "maybe_delivered_again": 0}
        self._values: dict[str, tuple[str, float]] = {}
        self._watched: dict[str, tuple[str, Callable[[], float]]] = {}
        self._special: dict[EventKind, Callable[[dict[str, Any]], None]] = {
            smtp.CONNECTION_START: self._session_started,
            smtp.CONNECTION_END: self._session_ended,
            queue.QUEUE_MESSAGE: self._accepted,
            queue.QUEUE_MESSAGE_AUTHENTICATED: self._accepted,
            delivery.ATTEMPT_END: lambda fields: self.attempt_time.observe(_seconds(fields)),
            delivery.COMPLETED: lambda fields: self.delivery_total_time.observe(_seconds(fields)),
            delivery.DELIVERED: self._delivered,
            delivery.MAYBE_DELIVERED: lambda fields: self._settled("maybe_delivered", fields),
            delivery.DEFERRED: lambda fields: self._settled("deferred", fields),
            delivery.BOUNCED: lambda fields: self._settled("bounced", fields),
            delivery.EXPIRED: lambda fields: self._settled("expired", fields),
        }
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_EngineCollector(self))
        ProcessCollector(registry=self.registry)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        kind = event.kind
        events = self.events
        events[kind] = events.get(kind, 0) + 1
        special = self._special.get(kind)
        if special is not None:
            special(event.fields)

    def set(self, name: str, doc: str, value: float) -> None:
        """Set the gauge `name`."""
        self._values[name] = (doc, value)

    def watch(self, name: str, doc: str, read: Callable[[], float]) -> None:
        """Export the gauge `name`, read at each scrape."""
        self._watched[name] = (doc, read)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def families(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """The metric families as of now."""
        events = CounterMetricFamily("relayd_events", "Times an event occurred since the start", labels=["event"])
        for kind, count in sorted(self.events.items(), key=lambda item: item[0].id):
            events.add_metric([kind.id], count)
        yield events
        for name, count in self._recipients.items():
            yield CounterMetricFamily(
                f"relayd_recipients_{name}", f"Recipients {name.replace('_', ' ')} since the start", value=count
            )
        refusals = CounterMetricFamily(
            "relayd_refusals", "Recipients not delivered, by what became of them and why", labels=["outcome", "class"]
        )
        for labels, count in sorted(self._refusals.items()):
            refusals.add_metric(labels, count)
        yield refusals
        yield CounterMetricFamily(
            "relayd_messages_accepted", "Messages promised since the start", value=self._messages()
        )
        yield GaugeMetricFamily("relayd_smtp_active_connections", "Inbound SMTP sessions open", value=self.sessions)
        for name, (doc, value) in self._values.items():
            yield GaugeMetricFamily(name, doc, value=value)
        for name, (doc, read) in self._watched.items():
            yield GaugeMetricFamily(name, doc, value=read())
        for histogram in (self.delivery_total_time, self.attempt_time, self.session_time, self.message_size):
            yield histogram.family()

    def _messages(self) -> int:
        return self.events.get(queue.QUEUE_MESSAGE, 0) + self.events.get(queue.QUEUE_MESSAGE_AUTHENTICATED, 0)

    def _session_started(self, fields: dict[str, Any]) -> None:
        self.sessions += 1

    def _session_ended(self, fields: dict[str, Any]) -> None:
        self.sessions -= 1
        self.session_time.observe(_seconds(fields))

    def _accepted(self, fields: dict[str, Any]) -> None:
        self._recipients["accepted"] += _count(fields.get("to"))
        self.message_size.observe(fields.get("size") or 0)

    def _delivered(self, fields: dict[str, Any]) -> None:
        self._settled("delivered", fields)
        if fields.get("maybe_again"):
            self._settled("maybe_delivered_again", fields)

    def _settled(self, name: str, fields: dict[str, Any]) -> None:
        self._recipients[name] += _count(fields.get("to"))
        if "class_" in fields:
            key = (name, fields["class_"] or "unknown")
            self._refusals[key] = self._refusals.get(key, 0) + 1


class _EngineCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        return self._metrics.families()


def _count(to: Any) -> int:
    return len(to) if isinstance(to, list | tuple) else 1


def _seconds(fields: dict[str, Any]) -> float:
    return milliseconds(fields.get("elapsed") or 0) / 1000
