"""Large things: 25 MB in one message, 1,000 recipients in one transaction."""

from __future__ import annotations

from tests.journeys.conftest import StartRelay, message, send
from tests.rig.sink import Sink


def test_25_megabytes_arrive_octet_for_octet(relay: StartRelay) -> None:
    body = "".join(f"{n:08d} the quick brown fox jumps over the lazy dog 0123456789\r\n" for n in range(400_000))
    content = message("large", body, **{"Message-ID": "<1@sender.test>", "Date": "Sat, 21 Nov 2026 05:00:00 +0000"})
    assert len(content) > 25_000_000
    with Sink() as sink:
        daemon = relay(sink.port)
        send(daemon, content)
        (delivery,) = sink.wait_for(1, 60)
        assert delivery.content.endswith(content)
        assert delivery.content[: -len(content)].startswith(b"Received: ")
        daemon.wait_empty()


def test_a_thousand_recipients_each_get_one_copy(relay: StartRelay) -> None:
    recipients = [f"r{n}@receiver.test" for n in range(1000)]
    with Sink() as sink:
        daemon = relay(sink.port)
        send(daemon, to=recipients)
        daemon.wait_empty()
        got = [each for delivery in sink.deliveries for each in delivery.recipients]
        assert sorted(got) == sorted(recipients)
        assert daemon.audit()["delivered"] == 1000
