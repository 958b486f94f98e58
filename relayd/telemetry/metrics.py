"""Metrics: counted from the events, exported for Prometheus when somebody scrapes.

`Metrics` subscribes to the event stream.  In the caller's turn an event costs one dictionary look-up and an addition,
and a few more for the handful of kinds that a histogram or a gauge is made of; no object of prometheus_client is
touched.  At a scrape a collector copies the plain numbers into metric families.  Labels are bounded: ids of the
vocabulary, listeners, providers and classes of refusals, never an address.  Values that the engine holds (rows of the
queue, open delivery connections) are set with `set`, or read with `watch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relayd.events import delivery, dns, http, queue, smtp
from relayd.events.event import Event, EventKind
from relayd.telemetry.histogram import SIZES, TIMES, Histogram, Labelled, family, labelled
from relayd.telemetry.render import milliseconds

DELAYS = ("before_queue", "in_queue", "connecting", "transmitting")
"""The parts of a recipient's delay, as Postfix has them: until the message was queued; until its last attempt began;
until the transaction began (look-ups, connection, TLS, EHLO); until the peer took it."""

OTHER = "other"
"""The provider of hosts that are nobody's in particular."""

NOBODY = "none"
"""What stands for a provider where no host was reached."""

_MOST_HOSTS = 1000
"""Hosts whose provider is remembered."""

_MOST_LABELS = 200
"""Values of a label: what comes past them is counted as "other"."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The subscriber that counts; call it with each event."""

    def __init__(self) -> None:
        self.events: dict[EventKind, int] = {}
        self.sessions = 0
        self.delivery_total_time = Histogram(TIMES)
        self.attempt_time = Histogram(TIMES)
        self.session_time = Histogram(TIMES)
        self.lookup_time = Histogram(TIMES)
        self.request_time = Histogram(TIMES)
        self.message_size = {False: Histogram(SIZES), True: Histogram(SIZES)}
        """By whether the session was trusted."""
        self.delays = {part: Histogram(TIMES) for part in DELAYS}
        self._provider_of: Callable[[str], str] = lambda host: ""
        self._providers: dict[str, str] = {}
        self.deliveries: dict[tuple[str, str], int] = {}
        """Recipients by provider and outcome."""
        self._listeners: dict[tuple[str, str], int] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._recipients = {"accepted": 0, "delivered": 0, "deferred": 0, "bounced": 0, "expired": 0}
        self._recipients |= {"maybe_delivered": 0, "maybe_delivered_again": 0}
        self._values: dict[str, tuple[str, float]] = {}
        self._watched: dict[str, tuple[str, Callable[[], float]]] = {}
        self._watched_each: dict[str, tuple[str, str, Callable[[], Mapping[str, float]]]] = {}
        self._special: dict[EventKind, Callable[[Event], None]] = {
            smtp.CONNECTION_START: self._session_started,
            smtp.CONNECTION_END: self._session_ended,
            smtp.RCPT_TO_REJECTED: lambda event: self._at_listener(event, "rejected"),
            queue.QUEUE_MESSAGE: lambda event: self._accepted(event, trusted=False),
            queue.QUEUE_MESSAGE_AUTHENTICATED: lambda event: self._accepted(event, trusted=True),
            delivery.ATTEMPT_END: lambda event: self.attempt_time.observe(_seconds(event.fields)),
            delivery.COMPLETED: lambda event: self.delivery_total_time.observe(_seconds(event.fields)),
            delivery.DELIVERED: self._delivered,
            delivery.MAYBE_DELIVERED: lambda event: self._settled("maybe_delivered", event.fields),
            delivery.DEFERRED: lambda event: self._settled("deferred", event.fields),
            delivery.BOUNCED: lambda event: self._settled("bounced", event.fields),
            delivery.EXPIRED: lambda event: self._settled("expired", event.fields),
            dns.LOOKUP: lambda event: self.lookup_time.observe(_seconds(event.fields)),
            dns.LOOKUP_ERROR: lambda event: self.lookup_time.observe(_seconds(event.fields)),
            http.REQUEST_URL: lambda event: self.request_time.observe(_seconds(event.fields)),
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
            special(event)

    def name_providers(self, provider_of: Callable[[str], str]) -> None:
        """Name the providers of hosts from now on by `provider_of`, "" for one that is none; they must be few."""
        self._provider_of = provider_of
        self._providers.clear()

    def set(self, name: str, doc: str, value: float) -> None:
        """Set the gauge `name`."""
        self._values[name] = (doc, value)

    def watch(self, name: str, doc: str, read: Callable[[], float]) -> None:
        """Export the gauge `name`, read at each scrape."""
        self._watched[name] = (doc, read)

    def watch_each(self, name: str, doc: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Export the gauge `name` with one label, whose values `read` gives at each scrape; they must be few."""
        self._watched_each[name] = (doc, label, read)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def families(self) -> Iterator[Metric]:
        """The metric families as of now."""
        yield from self._counters()
        yield GaugeMetricFamily("relayd_smtp_active_connections", "Inbound SMTP sessions open", value=self.sessions)
        for name, (doc, value) in self._values.items():
            yield GaugeMetricFamily(name, doc, value=value)
        for name, (doc, read) in self._watched.items():
            yield GaugeMetricFamily(name, doc, value=read())
        for name, (doc, label, read_each) in self._watched_each.items():
            gauge = GaugeMetricFamily(name, doc, labels=[label])
            for each, number in read_each().items():
                gauge.add_metric([each], number)
            yield gauge
        yield from self._histograms()

    def _counters(self) -> Iterator[Metric]:
        events = CounterMetricFamily("relayd_events", "Times an event occurred since the start", labels=["event"])
        for kind, count in sorted(self.events.items(), key=lambda item: item[0].id):
            events.add_metric([kind.id], count)
        yield events
        for name, count in self._recipients.items():
            yield CounterMetricFamily(
                f"relayd_recipients_{name}", f"Recipients {name.replace('_', ' ')} since the start", value=count
            )
        yield _counted(
            "relayd_refusals",
            "Recipients not delivered, by what became of them and why",
            ("outcome", "class"),
            self._refusals,
        )
        yield _counted(
            "relayd_deliveries",
            "Recipients attempted, by whose hosts decided and what became of them",
            ("provider", "outcome"),
            self.deliveries,
        )
        yield _counted(
            "relayd_listener_recipients",
            "Recipients offered, by listener and answer",
            ("listener", "answer"),
            self._listeners,
        )
        yield CounterMetricFamily(
            "relayd_messages_accepted", "Messages promised since the start", value=self._messages()
        )

    def _histograms(self) -> Iterator[Metric]:
        for name, doc, histogram in (
            (
                "relayd_delivery_total_seconds",
                "From reception until nothing of the message was left to do",
                self.delivery_total_time,
            ),
            ("relayd_delivery_attempt_seconds", "Duration of one delivery attempt", self.attempt_time),
            ("relayd_smtp_session_seconds", "Duration of one SMTP session", self.session_time),
            ("relayd_dns_lookup_seconds", "Duration of one DNS look-up", self.lookup_time),
            ("relayd_http_request_seconds", "Duration of one request to the control socket", self.request_time),
        ):
            yield family(name, doc, histogram)
        parts: Labelled = {(part,): histogram for part, histogram in self.delays.items()}
        yield labelled("relayd_delivery_delay_seconds", "Parts of the delay of delivered recipients", ("part",), parts)
        sizes: Labelled = {
            ("trusted" if trusted else "stranger",): histogram for trusted, histogram in self.message_size.items()
        }
        yield labelled("relayd_message_bytes", "Size of accepted messages, by class of session", ("class",), sizes)

    def _messages(self) -> int:
        return self.events.get(queue.QUEUE_MESSAGE, 0) + self.events.get(queue.QUEUE_MESSAGE_AUTHENTICATED, 0)

    def _session_started(self, event: Event) -> None:
        self.sessions += 1

    def _session_ended(self, event: Event) -> None:
        self.sessions -= 1
        self.session_time.observe(_seconds(event.fields))

    def _accepted(self, event: Event, *, trusted: bool) -> None:
        fields = event.fields
        count = _count(fields.get("to"))
        self._recipients["accepted"] += count
        self.message_size[trusted].observe(fields.get("size") or 0)
        self._at_listener(event, "accepted", count)

    def _at_listener(self, event: Event, answer: str, count: int = 1) -> None:
        span = event.span
        listener = str(span.keys.get("listenerId") or "") if span is not None else ""
        _add(self._listeners, (listener, answer), count)

    def _delivered(self, event: Event) -> None:
        self._settled("delivered", event.fields)
        delays = event.fields.get("delays")
        if delays is not None:
            for histogram, seconds in zip(self.delays.values(), delays, strict=False):
                histogram.observe(seconds)
        if event.fields.get("maybe_again"):
            self._settled("maybe_delivered_again", event.fields)

    def _settled(self, name: str, fields: dict[str, Any]) -> None:
        count = _count(fields.get("to"))
        self._recipients[name] += count
        if "class_" in fields:
            _add(self._refusals, (name, fields["class_"] or "unknown"), 1)
        _add(self.deliveries, (self._provider(fields.get("hostname") or ""), name), count)

    def _provider(self, host: str) -> str:
        known = self._providers.get(host)
        if known is None:
            if len(self._providers) >= _MOST_HOSTS:
                self._providers.clear()
            known = self._providers[host] = (self._provider_of(host) or OTHER) if host else NOBODY
        return known


class _EngineCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        return self._metrics.families()


def _counted(name: str, doc: str, labels: tuple[str, ...], counts: dict[tuple[str, str], int]) -> Metric:
    found = CounterMetricFamily(name, doc, labels=labels)
    for values, count in sorted(counts.items()):
        found.add_metric(values, count)
    return found


def _add(counts: dict[tuple[str, str], int], labels: tuple[str, str], count: int) -> None:
    if labels not in counts and len(counts) >= _MOST_LABELS:
        labels = ("other", labels[1])
    counts[labels] = counts.get(labels, 0) + count


def _count(to: Any) -> int:
    return len(to) if isinstance(to, list | tuple) else 1


def _seconds(fields: dict[str, Any]) -> float:
    return milliseconds(fields.get("elapsed") or 0) / 1000
