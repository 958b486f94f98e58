"""The example of the API's page about traces, as it stands, and the other pages about telemetry: operations 2, 3, 4,
18 and 46 to 48."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message, send, wait_logged, wait_until
from tests.rig.client import Client
from tests.rig.daemon import Daemon, free_port
from tests.rig.dns import Names, serving_in_thread
from tests.rig.shapes import TIME, check
from tests.rig.sink import Sink
from tests.rig.sse import EventSource

CLIENT = "198.51.100.7"
NAMES: Names = {"localhost.test": {"A": [CLIENT]}, "7.100.51.198.in-addr.arpa": {"PTR": ["localhost.test."]}}

RELAXED = dict.fromkeys(
    (
        "auth.spf.verify.ehlo",
        "auth.spf.verify.mail-from",
        "auth.dkim.verify",
        "auth.arc.verify",
        "auth.dmarc.verify",
        "auth.iprev.verify",
    ),
    "relaxed",
)

NESTED = {"type": re.compile(r"[a-z]+\.[a-z-]+"), "text": str, "details": str, "data": dict}
CHECKED = {"domain": str, "result": NESTED, "elapsed": int}

SEED: list[tuple[str, str, str, Any]] = [
    (
        "smtp.connection-start",
        "SMTP connection started",
        "A new SMTP connection was started",
        {"listenerId": str, "localPort": int, "remoteIp": CLIENT, "remotePort": int},
    ),
    ("smtp.ehlo", "SMTP EHLO command", "The remote server sent an EHLO command", {"domain": "test.eml"}),
    ("smtp.spf-ehlo-fail", "SPF EHLO check failed", "EHLO identity failed SPF check", CHECKED),
    ("smtp.iprev-pass", "IPREV check passed", "Reverse IP check passed", CHECKED),
    ("smtp.spf-from-fail", "SPF From check failed", "MAIL FROM identity failed SPF check", CHECKED),
    ("smtp.mail-from", "SMTP MAIL FROM command", "The remote server sent a MAIL FROM command", {"from": "a@test.eml"}),
    ("smtp.rcpt-to", "SMTP RCPT TO command", "The remote server sent an RCPT TO command", {"to": "b@receiver.test"}),
    (
        "smtp.dkim-fail",
        "DKIM verification failed",
        "Failed to verify DKIM signature",
        {"strict": False, "result": [], "elapsed": int},
    ),
    (
        "smtp.arc-pass",
        "ARC verification passed",
        "Successful ARC verification",
        {"strict": False, "result": {**NESTED, "type": "dkim.none", "data": {}}, "elapsed": int},
    ),
    (
        "smtp.dmarc-fail",
        "DMARC check failed",
        "Failed to verify DMARC policy",
        {
            "strict": False,
            "domain": "example.org",
            "policy": str,
            "result": {**NESTED, "type": "dmarc.none", "data": {}},
            "elapsed": int,
        },
    ),
]
"""Type, text, details and data of the events of the example, in its order."""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def relay(module_relay: StartRelay, port: int) -> Iterator[Daemon]:
    with serving_in_thread(NAMES) as dns, Sink() as sink:
        yield module_relay(
            sink.port,
            {
                "server.listener.outside.bind": [f"127.0.0.1:{port}"],
                "server.listener.outside.proxy-protocol": ["127.0.0.0/8"],
                "session.rcpt.relay-domains": ["receiver.test"],
                "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
                "metrics.history.interval": "1s",
                **RELAXED,
            },
        )


@pytest.fixture(scope="module")
def client(relay: Daemon) -> Client:
    return Client(relay.http_port)


def session(port: int) -> str:
    """The session of the example; the queue id."""
    with Proxied(port, f"PROXY TCP4 {CLIENT} 192.0.2.1 57513 25\r\n".encode()) as stranger:
        stranger.ehlo("test.eml")
        assert stranger.mail("a@test.eml")[0] == 250
        assert stranger.rcpt("b@receiver.test")[0] == 250
        code, text = stranger.data(message(From="author@example.org"))
        assert code == 250, text
        return text.decode().rpartition(" ")[2]


def spans(client: Client, **query: object) -> list[int]:
    found: list[int] = client.ask("GET", "/api/telemetry/traces", query=query).data["items"]
    return found


def test_46_the_session_of_the_example_has_the_events_of_the_example(client: Client, port: int) -> None:
    queue_id = session(port)
    ended = time.monotonic()
    asked = {"queue_id": queue_id, "type": "smtp.connection-start"}
    [id] = wait_until(lambda: spans(client, **asked), "the trace is stored")
    assert time.monotonic() - ended < 2.0
    events = client.ask("GET", f"/api/telemetry/trace/{id}").data
    for found, (type, text, details, data) in zip(events, SEED, strict=False):
        expected = {"text": text, "details": details, "createdAt": TIME, "type": type, "data": data}
        check(found, expected, type)
    assert [each["type"] for each in events[len(SEED) :]] == [
        "queue.queue-message",
        "smtp.quit",
        "smtp.connection-end",
    ]
    assert client.ask("GET", "/api/telemetry/trace/7").data == []
    assert client.ask("GET", "/api/telemetry/trace/none").data == []
    both = client.ask("GET", f"/api/telemetry/trace/{id},7").data
    assert both == [events, []]
    assert client.ask("GET", "/api/telemetry/trace/0", query={"id": id}).data == [events]


def test_18_a_page_of_attempts_with_their_first_events(client: Client, relay: Daemon) -> None:
    queue_id = int(send(relay))
    wait_until(lambda: spans(client, queue_id=queue_id, type="delivery.attempt-start"), "the attempt is stored")
    query = {"page": 1, "type": "delivery.attempt-start", "limit": 1, "values": 1}
    found = client.ask("GET", "/api/telemetry/traces", query=query).data
    data = {"queueId": int, "from": str, "to": [str], "size": int, "total": int, "spanId": int}
    item = {"createdAt": TIME, "type": "delivery.attempt-start", "data": data}
    check(found, {"items": [item], "total": int})
    assert len(found["items"]) == 1
    assert client.ask("GET", "/api/telemetry/traces").data == {"items": [], "total": 0}


def test_47_and_48_a_viewer_sees_what_it_asked_for(client: Client, relay: Daemon, port: int) -> None:
    token = client.ask("GET", "/api/telemetry/live/tracing-token").data
    with EventSource(relay.http_port, "/api/telemetry/traces/live", {"token": token, "From": "a@test.eml"}) as source:
        assert (source.status, source.headers["content-type"]) == (200, "text/event-stream")
        assert source.headers["cache-control"] == "no-store"
        send(relay)
        session(port)
        seen: list[Any] = []
        for name, events in source.frames():
            assert name == "trace"
            seen += events
            if {"smtp.quit", "delivery.attempt-end"} <= {each["type"] for each in seen}:
                break
    types = [each["type"] for each in seen]
    assert types[0] == "smtp.mail-from"
    assert {"smtp.dmarc-fail", "smtp.quit", "queue.queue-message", "delivery.delivered"} <= set(types)
    assert all("a@sender.test" not in str(each) for each in seen)
    keys = {"listenerId": str, "localPort": int, "remoteIp": CLIENT, "remotePort": int}
    check(seen[0]["data"], {**keys, "from": "a@test.eml"})
    for path, given in (("traces", "made up"), ("metrics", token)):
        with EventSource(relay.http_port, f"/api/telemetry/{path}/live", {"token": given}) as refused:
            assert refused.status == 401


def test_48_the_dialogues_are_for_who_asks_for_them(client: Client, relay: Daemon) -> None:
    token = client.ask("GET", "/api/telemetry/live/tracing-token").data
    with EventSource(relay.http_port, "/api/telemetry/traces/live", {"token": token, "raw": 1}) as source:
        send(relay, message("unseen", body="not to be seen\r\n"))
        said: dict[str, list[str]] = {}
        for _, events in source.frames():
            for each in events:
                said.setdefault(each["type"], []).append(each["data"].get("contents", ""))
            if "delivery.attempt-end" in said:
                break
    assert {"smtp.raw-output", "delivery.raw-input"} <= said.keys()
    for kind in ("smtp.raw-input", "delivery.raw-output"):
        assert any("FROM:<a@sender.test>" in each for each in said[kind])
    assert "seen" not in str(said)
    send(relay)
    wait_logged(relay, "delivery.domain-delivery-start", "receiver.test")
    assert "raw-input" not in relay.output.read_text()


def test_48_a_queue_id_is_matched_as_the_number_it_is(client: Client, relay: Daemon) -> None:
    relay.data_of("PATCH", "/api/queue/status/stop")
    queue_id = int(send(relay))
    token = client.ask("GET", "/api/telemetry/live/tracing-token").data
    query = {"token": token, "queue-id": queue_id}
    with EventSource(relay.http_port, "/api/telemetry/traces/live", query) as source:
        relay.data_of("PATCH", "/api/queue/status/start")
        name, events = next(source.frames())
    assert name == "trace"
    assert {each["data"]["queueId"] for each in events} == {queue_id}


def test_3_and_4_the_metrics_of_a_dashboard(client: Client, relay: Daemon) -> None:
    names = "server.memory,queue.count,user.count,domain.count,smtp.active-connections,delivery.active-connections"
    token = client.ask("GET", "/api/telemetry/live/metrics-token").data
    query = {"token": token, "interval": 1, "metrics": names + ",smtp.ehlo,delivery.total-time,unknown.name"}
    send(relay)
    relay.wait_empty()
    with EventSource(relay.http_port, "/api/telemetry/metrics/live", query) as source:
        frames = source.frames()
        for _ in range(2):
            name, figures = next(frames)
            assert name == "metrics"
    found = {each["id"]: each for each in figures}
    assert set(found) == {*names.split(","), "smtp.ehlo", "delivery.total-time"}
    check(found["server.memory"], {"id": str, "type": "gauge", "value": int})
    assert found["server.memory"]["value"] > 1 << 20
    assert found["smtp.active-connections"]["value"] == 0
    assert found["smtp.ehlo"]["type"] == "counter"
    check(found["delivery.total-time"], {"id": str, "type": "histogram", "count": int, "sum": int})
    with EventSource(relay.http_port, "/api/telemetry/metrics/live", {"token": token}) as source:
        name, everything = next(source.frames())
    ids = {each["id"] for each in everything}
    assert {"queue.count", "smtp.ehlo", "message.size"} <= ids
    assert not ids & {"smtp.connection-end", "delivery.attempt-end"}


def test_2_points_of_the_metrics_are_stored(client: Client, relay: Daemon) -> None:
    send(relay)

    def found() -> Any:
        points = client.ask("GET", "/api/telemetry/metrics").data
        return points if any(each["id"] == "delivery.delivered" for each in points) else None

    points = wait_until(found, "a point of the deliveries")
    for each in points:
        value = {"count": int, "sum": int} if each["type"] == "histogram" else {"value": int}
        check(each, {"type": str, "id": str, "timestamp": TIME, **value})
        assert each.get("value", each.get("count")) > 0
    assert [each["timestamp"] for each in points] == sorted(each["timestamp"] for each in points)
    later = {"after": "2090-01-01T00:00:00Z"}
    assert client.ask("GET", "/api/telemetry/metrics", query=later).data == []


def test_without_stores_they_say_so_in_the_words_of_the_pages(relay: Daemon, module_relay: StartRelay) -> None:
    bare = module_relay(
        None,
        {"tracing.history.enable": False, "metrics.history.enable": False, "telemetry.history.enable": False},
    )
    client = Client(bare.http_port)
    assert client.ask("GET", "/api/telemetry/metrics").json == {
        "error": "other",
        "details": "No metrics store has been defined",
        "reason": "You need to configure a metrics store in order to use this feature.",
    }
    for path in ("/api/telemetry/traces", "/api/telemetry/trace/1"):
        assert client.ask("GET", path).json == {
            "error": "unsupported",
            "details": "No tracing store has been configured",
        }
    assert client.ask("GET", "/api/telemetry/messages").json["error"] == "unsupported"
