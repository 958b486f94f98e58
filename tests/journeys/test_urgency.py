"""Mail that is not to go yet, not to go any more, or before other mail: over a kill, in the API, at the next hop."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from tests.journeys.conftest import StartRelay, message, send, wait_gone, wait_until
from tests.rig.daemon import Daemon, free_port
from tests.rig.sink import Sink

SECRET = "$argon2id$v=19$m=8,t=1,p=1$Td1xjnUCpnYaeUMRc2naqw$qf7ermvJdy30iC2ywc9tCRFPVScAad5lFwEdSc8yrjA"
"""The hash of for-tests-only, at the least cost."""


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


@dataclass
class House:
    """A relay that the quick tests share; account app signs in on `submission`."""

    relay: Daemon
    submission: int
    sink: Sink


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    port = free_port()
    settings = {
        "server.listener.submission.bind": [f"127.0.0.1:{port}"],
        "server.listener.submission.protocol": "smtp",
        "server.listener.submission.role": "submission",
        "account.app.type": "individual",
        "account.app.secret": SECRET,
        "account.app.emails": ["@sender.test"],
    }
    with Sink() as sink:
        yield House(module_relay(sink.port, settings), port, sink)


def test_it_goes_out_at_its_release(house: House) -> None:
    before = time.monotonic()
    send(house.relay, message("released"), mail_options=("HOLDFOR=2",))
    delivery = house.sink.wait_for_one(lambda each: b"Subject: released" in each.content, timeout=30)
    assert delivery.at >= before + 2


def test_who_signed_in_may_ask_without_another_ehlo(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.submission, "client.test", timeout=60) as client:
        client.login("app", "for-tests-only")
        code, text = client.mail("a@sender.test", ("HOLDFOR=86400", "RET=HDRS"))
        assert code == 250, text
        client.rcpt("b@receiver.test")
        code, text = client.data(message())
        assert code == 250, text
    queued = house.relay.data_of("GET", f"/api/queue/messages/{text.decode().rpartition(' ')[2]}")
    assert seconds(queued["domains"][0]["next_retry"]) > time.time() + 86000


def test_an_operator_may_release_it_sooner(house: House) -> None:
    queue_id = send(house.relay, message("sooner"), mail_options=("HOLDFOR=86400",))
    house.relay.data_of("PATCH", f"/api/queue/messages/{queue_id}")
    house.sink.wait_for_one(lambda each: b"Subject: sooner" in each.content)
    wait_gone(house.relay, queue_id)


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
