"""A built-in alert reaches the postmaster as mail of our own, once, over a SIGKILL; and so does its end."""

from __future__ import annotations

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_until
from tests.rig.client import Client
from tests.rig.sink import Sink


def test_a_suspended_account_is_told_once_and_its_end_too(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(
            sink.port,
            {
                "server.postmaster": "ops@operators.test",
                "telemetry.alerts.every": "1s",
            },
        )
        jane = {"type": "individual", "name": "jane", "secrets": ["for-tests-only"], "suspended": "it sent spam"}
        daemon.data_of("POST", "/api/principal", jane)
        told = wait_until(lambda: list(sink.deliveries), "the postmaster is told")[0]
        assert told.recipients == ["ops@operators.test"]
        assert b"account jane is suspended: it sent spam" in told.content
        assert b"Auto-Submitted: auto-generated" in told.content
        wait_logged(daemon, "(telemetry.alert)", "account:jane")
        daemon.kill()
        daemon.start()
        send(daemon)
        wait_until(lambda: len(sink.deliveries) == 2, "the mail of after the restart")
        change = [{"action": "set", "field": "suspended", "value": ""}]
        daemon.data_of("PATCH", "/api/principal/jane", change)
        cleared = wait_until(lambda: sink.deliveries[2:], "the all-clear")[0]
        assert b"All clear" in cleared.content
        lines = daemon.output.read_text().splitlines()
        assert len([each for each in lines if "(telemetry.alert)" in each and "account:jane" in each]) == 1
        daemon.wait_empty()
        client = Client(daemon.http_port)

        def told_of() -> set[tuple[str, str]]:
            found = client.ask("GET", "/api/telemetry/messages", query={"address": "operators.test"}).data
            return {(each["origin"], each["state"]) for each in found["items"]}

        wait_until(lambda: told_of() == {("generated", "delivered")}, "the history of our own mail")
        assert daemon.audit()["difference"] == 0
