"""A next hop that says 4xx gets the mail again, and takes it."""

from __future__ import annotations

from tests.journeys.conftest import StartRelay, send
from tests.rig.sink import Delivery, Sink


def test_a_4xx_defers_and_the_next_attempt_delivers(relay: StartRelay) -> None:
    tries: list[str] = []

    def once(verb: str, argument: str, delivery: Delivery) -> str | None:
        if verb == "RCPT":
            tries.append(argument)
            if len(tries) == 1:
                return "450 4.2.1 mailbox busy"
        return None

    with Sink(answer=once) as sink:
        daemon = relay(sink.port)
        send(daemon)
        (delivery,) = sink.wait_for(1)
        daemon.wait_empty()
        assert delivery.recipients == ["b@receiver.test"]
        assert len(tries) == 2
        assert daemon.audit()["difference"] == 0
