"""Whatever happens to telemetry - killed, deleted, damaged, without a disk - mail does not notice."""

from __future__ import annotations

import shutil
from typing import Any

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_until
from tests.rig.client import Client
from tests.rig.daemon import Daemon
from tests.rig.sink import Sink


def attempts(daemon: Daemon, **query: object) -> Any:
    asked = {"type": "delivery.attempt-start", **query}
    return Client(daemon.http_port).ask("GET", "/api/telemetry/traces", query=asked).data["items"]


def test_the_directory_may_be_deleted_damaged_and_unusable_while_mail_flows(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        telemetry = daemon.data / "telemetry"
        send(daemon)
        wait_until(lambda: attempts(daemon), "the first attempt")
        shutil.rmtree(telemetry)
        send(daemon)
        assert len(wait_until(lambda: attempts(daemon), "the attempt after the deletion")) == 1
        shutil.rmtree(telemetry)
        telemetry.write_text("no directory any more")
        queue_id = send(daemon)
        wait_until(lambda: len(sink.deliveries) == 3, "the mail without a disk")
        wait_logged(daemon, "(telemetry.store-error)", 'id = "traces"')
        answer = Client(daemon.http_port).ask("GET", f"/api/telemetry/message/{queue_id}").json
        assert answer["details"] == "The telemetry store cannot be read"
        telemetry.unlink()
        queue_id = send(daemon)
        wait_until(lambda: attempts(daemon, queue_id=queue_id), "the attempt once there is a disk again")
        wait_logged(daemon, "(telemetry.store-error)", "written again")
        daemon.kill()
        for path in telemetry.glob("*.db"):
            path.write_bytes(b"not what it was" * 5000)
        daemon.start()
        queue_id = send(daemon)
        wait_until(lambda: attempts(daemon, queue_id=queue_id), "the attempt after the damage")
        daemon.wait_empty()
        assert len(sink.deliveries) == 5
        assert daemon.audit()["difference"] == 0


def test_a_kill_loses_moments_of_telemetry_and_no_file(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        first = send(daemon)
        wait_until(lambda: attempts(daemon, queue_id=first), "the attempt is stored")
        for _ in range(20):
            send(daemon)
        daemon.kill()
        daemon.start()
        assert attempts(daemon, queue_id=first)
        last = send(daemon)
        wait_until(lambda: attempts(daemon, queue_id=last), "an attempt of the next life")
        history = Client(daemon.http_port).ask("GET", f"/api/telemetry/message/{first}").data
        assert history["state"] == "delivered"
        daemon.wait_empty()
