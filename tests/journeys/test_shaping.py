"""A provider that says 421 is let alone for a while, over a kill too, and other mail goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.conftest import StartRelay, send, wait_gone, wait_logged, wait_until
from tests.rig.daemon import Daemon
from tests.rig.dns import serving_in_thread
from tests.rig.postfix import free_port
from tests.rig.sink import Delivery, Sink

NAMES: dict[str, dict[str, list[str] | str]] = {
    "mx1.big.test": {"A": ["127.0.0.2"]},
    "mx2.big.test": {"A": ["127.0.0.2"]},
    "mx.small.test": {"A": ["127.0.0.3"]},
    "first.test": {"MX": ["10 mx1.big.test."]},
    "second.test": {"MX": ["5 mx2.big.test.", "20 mx.small.test."]},
    "third.test": {"MX": ["10 mx.small.test."]},
}

RULES = """
[provider.big]
mx = ["big.test"]
messages-per-connection = 2
connections = 3
[[response]]
id = "big-busy"
providers = ["big"]
codes = [421]
text = ["unusual rate"]
action = "suspend"
for = "1h"
"""


@dataclass
class House:
    """A relay, and two providers; `refusing` says whether the big one does."""

    relay: Daemon
    big: Sink
    small: Sink
    refusing: bool = False


@pytest.fixture
def house(relay: StartRelay, tmp_path: Path) -> Iterator[House]:
    port = free_port()
    rules = tmp_path / "shaping.toml"
    rules.write_text(RULES)

    def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "421 4.7.28 an unusual rate of mail" if verb == "MAIL" and built.refusing else None

    with (
        serving_in_thread(NAMES) as dns,
        Sink(port=port, address="127.0.0.2", answer=answer) as big,
        Sink(port=port, address="127.0.0.3") as small,
    ):
        settings = {
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "queue.outbound.port": port,
            "queue.providers.rules": str(rules),
            "queue.schedule.retry": ["300ms"],
        }
        built = House(relay(None, settings), big, small)
        yield built


def command(daemon: Daemon, *words: str) -> str:
    """What `relayd` prints for an operator."""
    run = subprocess.run(
        [sys.executable, "-m", "relayd", *words, "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout


def test_a_421_suspends_its_provider_until_it_is_resumed(house: House) -> None:
    daemon = house.relay
    house.refusing = True
    send(daemon, to="x@first.test")
    wait_logged(daemon, "delivery.suspended", "provider:big", "big-busy")
    waiting = send(daemon, to="y@second.test")
    gone = send(daemon, to="z@third.test")
    house.small.wait_for_one(lambda each: each.recipients == ["z@third.test"])
    wait_gone(daemon, gone)
    shown = command(daemon, "queue", "suspensions")
    assert "provider" in shown
    assert "big" in shown
    assert "421 4.7.28 an unusual rate of mail" in shown
    explained = command(daemon, "explain", "--to", "new@second.test")
    assert "provider     big" in explained
    assert "messages-per-connection 2" in explained
    assert "an unusual rate of mail" in explained

    daemon.kill()
    daemon.start()
    assert daemon.data_of("GET", "/api/queue/suspensions")[0]["destination"] == "provider:big"
    send(daemon, to="w@third.test")
    house.small.wait_for_one(lambda each: each.recipients == ["w@third.test"])
    house.refusing = False
    assert not any(each.recipients == ["y@second.test"] for each in house.big.deliveries)
    assert daemon.data_of("GET", f"/api/queue/messages/{waiting}")["domains"][0]["retry_num"] == 0
    command(daemon, "queue", "resume", "--provider", "big")
    house.big.wait_for_one(lambda each: each.recipients == ["y@second.test"])
    house.big.wait_for_one(lambda each: each.recipients == ["x@first.test"])
    daemon.wait_empty()
    assert daemon.audit()["difference"] == 0


def test_an_operator_suspends_a_domain_and_resumes_it(house: House) -> None:
    daemon = house.relay
    command(daemon, "queue", "suspend", "--domain", "third.test", "--for", "1h", "--reason", "moving")
    held = send(daemon, to="x@third.test")
    send(daemon, to="x@first.test")
    house.big.wait_for(1)
    assert daemon.request("GET", f"/api/queue/messages/{held}")[0] == 200
    command(daemon, "queue", "resume", "--domain", "third.test")
    house.small.wait_for(1)
    daemon.wait_empty()


def test_a_connection_carries_no_more_than_its_provider_takes(house: House) -> None:
    daemon = house.relay
    for number in range(8):
        send(daemon, to=f"x{number}@{'first' if number % 2 else 'second'}.test")
    house.big.wait_for(8)
    wait_until(lambda: house.big.sessions >= 4, "a connection for every two messages")
    daemon.wait_empty()
