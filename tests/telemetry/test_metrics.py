"""What the metrics count, and what Prometheus is shown."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from relayd.config.shaping import shipped_shaping
from relayd.events import delivery, queue, smtp
from relayd.routing.shaping.rules import ShapingRules
from relayd.telemetry.metrics import Metrics
from tests.telemetry.conftest import Recorder


def samples(metrics: Metrics) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_events_are_counted_by_id(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    for _ in range(3):
        smtp.EHLO(recorder.session, domain="x")
    assert samples(metrics)["relayd_events_total{event=smtp.ehlo}"] == 3


def test_sessions_and_their_time(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    smtp.CONNECTION_START(recorder.session)
    smtp.CONNECTION_START(recorder.session)
    smtp.CONNECTION_END(recorder.session, elapsed=40)
    found = samples(metrics)
    assert found["relayd_smtp_active_connections"] == 1
    assert found["relayd_smtp_session_seconds_count"] == 1
    assert found["relayd_smtp_session_seconds_sum"] == 0.04
    assert found["relayd_smtp_session_seconds_bucket{le=0.025}"] == 0
    assert found["relayd_smtp_session_seconds_bucket{le=0.05}"] == 1
    assert found["relayd_smtp_session_seconds_bucket{le=+Inf}"] == 1


def test_recipients_by_outcome_and_messages(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    queue.QUEUE_MESSAGE(recorder.session, queue_id=1, to=["a@x", "b@x", "c@x"], size=4096)
    queue.QUEUE_MESSAGE_AUTHENTICATED(recorder.session, queue_id=2, to=["a@x"], size=4097)
    delivery.DELIVERED(recorder.daemon, queue_id=1, to="a@x", elapsed=0.5)
    delivery.DEFERRED(recorder.daemon, queue_id=1, to="b@x")
    delivery.BOUNCED(recorder.daemon, queue_id=1, to="c@x")
    delivery.EXPIRED(recorder.daemon, queue_id=1, to="b@x")
    delivery.ATTEMPT_END(recorder.daemon, queue_id=1, elapsed=0.5)
    delivery.COMPLETED(recorder.daemon, queue_id=1, elapsed=100_000.0)
    found = samples(metrics)
    assert found["relayd_messages_accepted_total"] == 2
    assert found["relayd_recipients_accepted_total"] == 4
    for outcome in ("delivered", "deferred", "bounced", "expired"):
        assert found[f"relayd_recipients_{outcome}_total"] == 1
    assert found["relayd_message_bytes_bucket{class=stranger,le=4096.0}"] == 1
    assert found["relayd_message_bytes_bucket{class=trusted,le=4096.0}"] == 0
    assert found["relayd_message_bytes_bucket{class=trusted,le=16384.0}"] == 1
    assert found["relayd_delivery_attempt_seconds_sum"] == 0.5
    assert found["relayd_delivery_total_seconds_bucket{le=43200.0}"] == 0
    assert found["relayd_delivery_total_seconds_bucket{le=172800.0}"] == 1


def test_gauges_that_are_set_and_watched() -> None:
    metrics = Metrics()
    metrics.set("relayd_queue_messages", "Messages", 7)
    metrics.watch("relayd_delivery_active_connections", "Connections", lambda: 5)
    found = samples(metrics)
    assert found["relayd_queue_messages"] == 7
    assert found["relayd_delivery_active_connections"] == 5
    assert found["process_resident_memory_bytes"] > 0


def test_labels_are_bounded_by_the_vocabulary(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    before = len(samples(metrics))
    for number in range(100):
        smtp.EHLO(recorder.session, domain=f"host{number}.example")
    assert len(samples(metrics)) == before + 1


def test_refusals_by_outcome_and_class(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    for class_ in ("full", "full", "reputation", ""):
        delivery.DEFERRED(recorder.daemon, queue_id=1, to="b@x", class_=class_, rule="x")
    delivery.BOUNCED(recorder.daemon, queue_id=1, to="c@x", class_="bad-mailbox", rule="x")
    found = samples(metrics)
    assert found["relayd_refusals_total{class=full,outcome=deferred}"] == 2
    assert found["relayd_refusals_total{class=reputation,outcome=deferred}"] == 1
    assert found["relayd_refusals_total{class=unknown,outcome=deferred}"] == 1
    assert found["relayd_refusals_total{class=bad-mailbox,outcome=bounced}"] == 1


def test_a_gauge_with_one_label() -> None:
    metrics = Metrics()
    metrics.watch_each("relayd_x", "X", "host", lambda: {"a": 1.0, "b": 2.5})
    text = metrics.exposition().decode()
    assert 'relayd_x{host="a"} 1.0' in text
    assert 'relayd_x{host="b"} 2.5' in text


def test_deliveries_by_provider_listener_and_part_of_the_delay(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    metrics.name_providers(ShapingRules([shipped_shaping()]).provider_of)
    for host in ("aspmx.l.google.com", "alt1.aspmx.l.GOOGLE.com", "mx.example.org"):
        delivery.DELIVERED(recorder.daemon, queue_id=1, to="a@x", hostname=host, delays=[0.1, 2.0, 0.3, 0.04])
    delivery.BOUNCED(recorder.daemon, queue_id=1, to="a@x", hostname="")
    smtp.RCPT_TO_REJECTED(recorder.session, to="a@x", code=550)
    found = samples(metrics)
    assert found["relayd_deliveries_total{outcome=delivered,provider=google}"] == 2
    assert found["relayd_deliveries_total{outcome=delivered,provider=other}"] == 1
    assert found["relayd_deliveries_total{outcome=bounced,provider=none}"] == 1
    assert found["relayd_listener_recipients_total{answer=rejected,listener=smtp}"] == 1
    sums = [
        found[f"relayd_delivery_delay_seconds_sum{{part={part}}}"]
        for part in ("before_queue", "in_queue", "connecting", "transmitting")
    ]
    assert [round(each, 3) for each in sums] == [0.3, 6.0, 0.9, 0.12]


def test_labels_never_grow_past_their_bound(recorder: Recorder) -> None:
    metrics = Metrics()
    recorder.stream.subscribe(metrics)
    metrics.name_providers(lambda host: host)
    for number in range(2000):
        delivery.DELIVERED(recorder.daemon, queue_id=1, to="a@x", hostname=f"host{number}")
    assert len(metrics.deliveries) <= 201
    assert metrics.deliveries["other", "delivered"] == 1800
