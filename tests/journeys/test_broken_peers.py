"""Peers that break off: in DATA, after the final dot, or in TLS."""

from __future__ import annotations

import subprocess
import sys

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_status
from tests.journeys.test_refused_mail_bounces import report_of
from tests.rig.sink import DROP, Delivery, Sink


def drop_first(wanted: str) -> tuple[list[str], object]:
    """An answer that drops the connection the first time `wanted` comes."""
    seen: list[str] = []

    def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
        if verb == wanted:
            seen.append(argument)
            if len(seen) == 1:
                return DROP
        return None

    return seen, answer


def test_a_peer_that_drops_in_data_gets_the_mail_again(relay: StartRelay) -> None:
    seen, answer = drop_first("DATA")
    with Sink(answer=answer) as sink:  # type: ignore[arg-type]
        daemon = relay(sink.port)
        send(daemon)
        sink.wait_for(1)
        daemon.wait_empty()
        assert len(seen) == 2
        assert len(sink.deliveries) == 1


def test_a_peer_that_drops_after_the_final_dot_may_get_it_twice(relay: StartRelay) -> None:
    _, answer = drop_first(".")
    with Sink(answer=answer) as sink:  # type: ignore[arg-type]
        daemon = relay(sink.port)
        send(daemon)
        sink.wait_for(2)
        daemon.wait_empty()
        wait_logged(daemon, "maybe-delivered")
        assert "maybeDelivered = true" in wait_logged(daemon, "(delivery.deferred)")
        assert "maybeAgain = true" in wait_logged(daemon, "(delivery.delivered)")
        assert daemon.audit()["difference"] == 0
        _, metrics = daemon.request("GET", "/metrics")
        assert "relayd_recipients_maybe_delivered_total 1.0" in metrics
        assert "relayd_recipients_maybe_delivered_again_total 1.0" in metrics


def test_what_may_have_arrived_is_shown_and_reported_whatever_comes_after(relay: StartRelay) -> None:
    seen: list[str] = []

    def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
        if verb == "." and not seen:
            seen.append(verb)
            return DROP
        return "550 5.7.1 not any more" if verb == "RCPT" and "receiver" in argument and seen else None

    with Sink(answer=answer) as sink:
        daemon = relay(sink.port, {"queue.schedule.retry": ["1h"]})
        id = send(daemon)
        text = wait_status(daemon, id, "temp_fail")
        assert text.endswith("after the final dot (maybe delivered)")
        daemon.kill()
        daemon.start()
        (recipient,) = daemon.data_of("GET", f"/api/queue/messages/{id}")["domains"][0]["recipients"]
        assert "maybe_delivered" in recipient, "it is remembered"
        shown = subprocess.run(
            [sys.executable, "-m", "relayd", "queue", "show", id, "--config", str(daemon.config)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "maybe delivered" in shown
        daemon.data_of("PATCH", f"/api/queue/messages/{id}")
        bounce = sink.wait_for(2)[-1]
        _, status = report_of(bounce)
        assert "X-Relayd-Maybe-Delivered: " in status
        assert b"A copy may have arrived all the same" in bounce.content
        daemon.wait_empty()


def test_broken_starttls_falls_back_to_plain_text(relay: StartRelay) -> None:
    def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "220 2.0.0 go ahead" if verb == "STARTTLS" else None  # and then speaks plain SMTP on: a broken handshake

    with Sink(answer=answer, extensions=("PIPELINING", "STARTTLS", "8BITMIME")) as sink:
        daemon = relay(sink.port)
        send(daemon)
        sink.wait_for(1)
        daemon.wait_empty()
        wait_logged(daemon, "delivery.downgraded")
