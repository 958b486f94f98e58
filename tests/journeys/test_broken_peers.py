"""Peers that break off: in DATA, after the final dot, or in TLS."""

from __future__ import annotations

from tests.journeys.conftest import StartRelay, send, wait_logged
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
        assert daemon.audit()["difference"] == 0


def test_broken_starttls_falls_back_to_plain_text(relay: StartRelay) -> None:
    def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "220 2.0.0 go ahead" if verb == "STARTTLS" else None  # and then speaks plain SMTP on: a broken handshake

    with Sink(answer=answer, extensions=("PIPELINING", "STARTTLS", "8BITMIME")) as sink:
        daemon = relay(sink.port)
        send(daemon)
        sink.wait_for(1)
        daemon.wait_empty()
        wait_logged(daemon, "delivery.downgraded")
