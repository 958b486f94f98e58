"""Levels of events, logs and what is kept are changed through the API while the relay runs."""

from __future__ import annotations

import smtplib

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_until
from tests.rig.client import Client
from tests.rig.sink import Sink


def test_levels_and_stores_follow_the_settings(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        client = Client(daemon.http_port)

        def put(key: str, value: str) -> object:
            change = [{"type": "insert", "prefix": None, "values": [[key, value]], "assert_empty": False}]
            status, answer = daemon.request("POST", "/api/settings", change)
            assert status == 200
            if "error" not in answer:
                daemon.data_of("GET", "/api/reload/")
            return answer

        def noop() -> None:
            with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=20) as session:
                session.ehlo()
                session.noop()

        noop()
        put("tracing.level.smtp.noop", "warn")
        noop()
        assert " WARN " in wait_logged(daemon, "(smtp.noop)")
        refused = put("tracing.level.smtp.nop", "warn")
        assert "smtp.noop" in str(refused)  # the nearest that there is

        put("tracer.more.type", "log")
        put("tracer.more.prefix", "more")
        put("tracer.more.level", "debug")
        noop()
        more = daemon.data / "logs"
        wait_until(lambda: [f for f in more.glob("more.*") if "(smtp.quit)" in f.read_text()], "the new log")

        kept = client.ask("GET", "/api/telemetry/traces", query={"type": "smtp.connection-start"}).data["total"]
        put("tracing.history.enable", "false")
        noop()
        queue_id = send(daemon)
        assert client.ask("GET", "/api/telemetry/traces", query={"filter": "x"}).json["error"] == "unsupported"
        put("tracing.history.enable", "true")
        path = f"/api/telemetry/message/{queue_id}"
        wait_until(lambda: client.ask("GET", path).status == 200, "the message's history is kept all the while")
        assert not client.ask("GET", "/api/telemetry/traces", query={"queue_id": queue_id}).data["items"]
        assert client.ask("GET", "/api/telemetry/traces", query={"type": "smtp.connection-start"}).data["total"] >= kept
        daemon.wait_empty()
