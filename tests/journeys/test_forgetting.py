"""An address that is forgotten is in no trace, history or log of a relay, whatever was configured when it was noted."""

from __future__ import annotations

from pathlib import Path

from tests.journeys.conftest import StartRelay, send
from tests.rig.sink import Sink

HIDDEN = {"tracer.hidden.type": "log", "tracer.hidden.prefix": "hidden", "tracer.hidden.pseudonyms": True}
PLAIN = {"tracer.plain.type": "log", "tracer.plain.level": "trace"}


def noted(data: Path) -> str:
    """Everything in logs and telemetry."""
    files = [path for name in ("logs", "telemetry") for path in (data / name).iterdir()]
    return b"".join(path.read_bytes() for path in files).decode("utf-8", "replace").lower()


def test_an_address_leaves_nothing_but_that_it_was_there(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, HIDDEN | PLAIN)
        send(daemon, sender="jane@sender.test", to=["jane+shop@receiver.test", "ann@receiver.test"])
        daemon.wait_empty()
        daemon.stop()
        (line,) = [each for each in noted(daemon.data).splitlines() if "(smtp.mail-from)" in each and "p-" in each]
        pseudonym = line.rpartition('from = "')[2].rstrip('"')
        assert pseudonym.startswith("p-")
        daemon.settings["tracer.hidden.pseudonyms"] = False  # those that were written are still there
        daemon.start()
        for address in ("jane@sender.test", "JANE@receiver.test"):
            found = daemon.data_of("POST", "/api/telemetry/forget", {"address": address})
            assert all(found.values()), found
        left = noted(daemon.data)
        assert "jane" not in left
        assert pseudonym not in left
        assert "ann@receiver.test" in left
        (message,) = daemon.data_of("GET", "/api/telemetry/messages")["items"]
        assert (message["from"], message["to"]) == ("forgotten", ["forgotten", "ann@receiver.test"])
