"""What waits in the queue: over a restart, held past its expiry, until it expires."""

from __future__ import annotations

import signal
import time

from tests.journeys.conftest import StartRelay, send, wait_logged
from tests.rig.postfix import free_port
from tests.rig.sink import Delivery, Sink


def test_a_restart_keeps_deferred_mail(relay: StartRelay) -> None:
    port = free_port()
    daemon = relay(port)
    queue_id = send(daemon)
    wait_logged(daemon, "delivery.deferred")
    daemon.kill()
    with Sink(port=port) as sink:
        daemon.start()
        assert [each["id"] for each in daemon.queued()] in ([], [int(queue_id)])
        (delivery,) = sink.wait_for(1)
        assert delivery.recipients == ["b@receiver.test"]
        daemon.wait_empty()
        assert daemon.audit()["difference"] == 0


def test_mail_held_past_its_expiry_is_tried_when_released(relay: StartRelay) -> None:
    port = free_port()
    daemon = relay(port, {"queue.schedule.expire": "1s", "queue.schedule.retry": ["10m"]})
    daemon.data_of("PATCH", "/api/queue/status/stop")
    send(daemon)
    assert daemon.data_of("POST", "/api/queue/hold", {"reason": "look first"})["matched"] == 1
    daemon.data_of("PATCH", "/api/queue/status/start")
    (held,) = daemon.queued()
    assert held["hold"]["reason"] == "look first"
    expires = held["domains"][0]["expires"]
    until = time.monotonic() + 10
    while time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) <= expires:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert daemon.queued()[0]["id"] == held["id"]
    with Sink(port=port) as sink:
        daemon.data_of("POST", "/api/queue/release")
        (delivery,) = sink.wait_for(1)
        assert delivery.return_path == "a@sender.test"
        daemon.wait_empty()


def test_mail_that_fails_past_its_expiry_is_reported_to_the_sender(relay: StartRelay) -> None:
    def busy(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "451 4.7.1 come back later" if verb == "RCPT" and "b@receiver.test" in argument else None

    with Sink(answer=busy) as sink:
        daemon = relay(sink.port, {"queue.schedule.expire": "500ms"})
        send(daemon)
        (report,) = sink.wait_for(1)
        assert report.return_path == ""
        assert b"b@receiver.test" in report.content
        assert b"Action: failed" in report.content
        daemon.wait_empty()
        audit = daemon.audit()
        assert audit["expired"] == 1
        assert audit["difference"] == 0


def test_pause_survives_a_restart_and_says_who_and_why(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        daemon.data_of("PATCH", "/api/queue/status/stop", {"reason": "the sink is moved"})
        send(daemon)
        daemon.stop()
        daemon.start()
        detail = daemon.data_of("GET", "/api/queue/status?detail=1")
        assert detail["running"] is False
        assert detail["reason"] == "the sink is moved"
        assert detail["by"]
        assert sink.deliveries == []
        daemon.data_of("PATCH", "/api/queue/status/start")
        sink.wait_for(1)


def test_a_bad_reload_keeps_what_was_in_force(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        good = daemon.config.read_text()
        daemon.config.write_text(good + '\nqueue.schedul.retry = ["1h"]\n')
        daemon.signal(signal.SIGHUP)
        wait_logged(daemon, "config.parse-error")
        assert "queue.schedule.retry" in daemon.output.read_text()
        send(daemon)
        sink.wait_for(1)
        daemon.config.write_text(good)
        daemon.signal(signal.SIGHUP)
        wait_logged(daemon, "config.reloaded")
