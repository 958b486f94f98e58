"""Mail that is not to go yet, not to go any more, or before other mail: over a kill, in the API, at the next hop."""

from __future__ import annotations

import time
from datetime import datetime

from tests.journeys.conftest import StartRelay, message, send, wait_gone, wait_until
from tests.rig.daemon import free_port
from tests.rig.sink import Sink


def seconds(text: str) -> float:
    """An RFC 3339 time as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def test_a_message_is_held_until_its_release_over_a_kill(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        before = time.time()
        queue_id = send(daemon, message("held"), mail_options=("HOLDFOR=86400",))
        after = time.time()
        daemon.kill()
        daemon.start()
        send(daemon, message("not held"))
        sink.wait_for(1)
        [domain] = daemon.data_of("GET", f"/api/queue/messages/{queue_id}")["domains"]
        assert domain["status"] == "scheduled"
        assert before + 86399 <= seconds(domain["next_retry"]) <= after + 86401
        assert seconds(domain["expires"]) > before + 6 * 86400 - 2
        assert [b"Subject: not held" in each.content for each in sink.deliveries] == [True]


def test_it_goes_out_at_its_release(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        before = time.monotonic()
        send(daemon, message("held"), mail_options=("HOLDFOR=3",))
        [delivery] = sink.wait_for(1)
        assert delivery.at >= before + 3


def test_an_operator_may_release_it_sooner(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        queue_id = send(daemon, mail_options=("HOLDFOR=86400",))
        daemon.data_of("PATCH", f"/api/queue/messages/{queue_id}")
        sink.wait_for(1)
        wait_gone(daemon, queue_id)


def test_late_mail_comes_back_or_its_sender_is_told(relay: StartRelay) -> None:
    with Sink() as reports:
        daemon = relay(
            reports.port,
            {
                "queue.route.dead.address": "127.0.0.1",
                "queue.route.dead.port": free_port(),
                "queue.outbound.domain.'late.test'": "dead",
                "queue.schedule.retry": ["1h"],
            },
        )
        returned = send(daemon, message("returned"), to="b@late.test", mail_options=("BY=2;R",))
        told = send(daemon, message("told"), to="c@late.test", mail_options=("BY=2;N",))
        failed = reports.wait_for_one(lambda each: b"b@late.test" in each.content)
        assert b"Action: failed" in failed.content
        assert b"Status: 5.4.7" in failed.content
        assert b"Deliver-By-Date: " in failed.content
        delayed = reports.wait_for_one(lambda each: b"c@late.test" in each.content)
        assert b"Action: delayed" in delayed.content
        wait_gone(daemon, returned)
        assert [each["id"] for each in daemon.queued()] == [int(told)]


def test_priority_is_shown_and_passed_on_and_urgent_mail_goes_first(relay: StartRelay) -> None:
    offers = ("PIPELINING", "8BITMIME", "MT-PRIORITY", "DELIVERBY")
    with Sink(extensions=offers) as sink:
        daemon = relay(sink.port, {"queue.outbound.concurrency.per-destination": 1})
        daemon.data_of("PATCH", "/api/queue/status/stop", {"reason": "to fill it"})
        sent = {
            priority: send(
                daemon, message(f"priority {priority}"), mail_options=(f"MT-PRIORITY={priority}", "BY=900;N")
            )
            for priority in (-9, 0, 9)
        }
        shown = {each["id"]: each.get("priority") for each in daemon.queued()}
        assert shown == {int(sent[-9]): -9, int(sent[0]): None, int(sent[9]): 9}
        daemon.data_of("PATCH", "/api/queue/status/start")
        deliveries = sink.wait_for(3)
        assert [b"Subject: priority 9\r\n" in each.content for each in deliveries] == [True, False, False]
        assert "MT-PRIORITY=9" in deliveries[0].parameters
        assert "BY=8" in deliveries[0].parameters
        wait_until(lambda: not daemon.queued(), "all is delivered")
