"""What a relay knows of the TLS of hosts, and how an operator sees and steers it: API, command line, metrics."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_until
from tests.rig.daemon import Daemon
from tests.rig.dns import serving_in_thread
from tests.rig.peer import Peer, Script, running_in_thread
from tests.routing.authority import made

ZONE = {"x.test": {"MX": ["10 mx.x.test."]}, "mx.x.test": {"A": ["127.0.0.1"]}}


@pytest.fixture
def house(relay: StartRelay, tmp_path: Path) -> Iterator[tuple[Daemon, Peer]]:
    (tmp_path / "mx.pem").write_bytes(made("mx.x.test", moment=datetime.now(UTC)).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "mx.pem")
    with running_in_thread(Script(), tls=context) as peer, serving_in_thread(ZONE) as dns:
        settings = {"resolver.custom": [f"udp://127.0.0.1:{dns.port}"], "queue.outbound.port": peer.port}
        yield relay(None, settings | {"queue.outbound.reuse.idle": "0s", "server.hostname": "relay"}), peer


def relayd(daemon: Daemon, *arguments: str) -> str:
    """What the command line prints."""
    done = subprocess.run(
        [sys.executable, "-m", "relayd", *arguments, "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def deliver(daemon: Daemon, peer: Peer) -> bool:
    """Whether a message went over TLS."""
    before = len(peer.taken)
    send(daemon, to="b@x.test")
    wait_until(lambda: len(peer.taken) > before, "the message at the peer")
    daemon.wait_empty()
    return peer.taken[-1].tls


def test_tls_that_goes_away_is_an_alarm_across_a_restart(house: tuple[Daemon, Peer]) -> None:
    relay, peer = house
    assert deliver(relay, peer)
    assert "mx.x.test  TLSv1.3" in relayd(relay, "tls", "hosts")
    assert relayd(relay, "tls", "results").split() == ["x.test"]
    assert "no-policy-found: 1 session went well, 0 did not" in relayd(relay, "tls", "results", "x.test")
    assert relay.stop() == 0
    relay.start()
    peer.tls = None
    assert not deliver(relay, peer)
    assert "WARN" in wait_logged(relay, "delivery.tls-gone", "mx.x.test")
    assert "no STARTTLS on 2" in relayd(relay, "tls", "hosts", "--gone")
    assert 'relayd_events_total{event="delivery.tls-gone"} 1.0' in relay.request("GET", "/metrics")[1]
    assert "it gave TLS before, and offered none on" in relayd(relay, "explain", "--to", "b@x.test")
    found = json.loads(relayd(relay, "tls", "results", "x.test", "--json"))
    [policy] = found["policies"]
    assert policy["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 1}
    [failure] = policy["failure-details"]
    assert failure == {
        "result-type": "starttls-not-supported",
        "sending-mta-ip": "127.0.0.1",
        "receiving-mx-hostname": "mx.x.test",
        "receiving-ip": "127.0.0.1",
        "failure-reason-code": "STARTTLS is not offered",
        "failed-session-count": 1,
    }
    assert relayd(relay, "tls", "forget", "mx.x.test") == "mx.x.test is forgotten\n"
    assert relayd(relay, "tls", "hosts") == "No such host is known\n"


def test_broken_tls_is_left_out_until_somebody_says_otherwise(house: tuple[Daemon, Peer]) -> None:
    relay, peer = house
    peer.script.broken_tls = True
    assert not deliver(relay, peer)
    assert "left out until" in relayd(relay, "tls", "hosts", "--broken")
    assert "relayd_tls_broken_hosts 1.0" in relay.request("GET", "/metrics")[1]
    assert "TLS failed there, so it is left out until" in relayd(relay, "explain", "--to", "b@x.test")
    peer.script.broken_tls = False
    assert not deliver(relay, peer)
    assert relayd(relay, "tls", "retry") == "TLS is tried again with 1 host\n"
    assert deliver(relay, peer)
    status, answer = relay.request("DELETE", "/api/tls/hosts/unknown.test")
    assert (status, answer["error"]) == (404 if status == 404 else 200, "notFound")
    assert relay.request("GET", "/api/tls/results?day=yesterday")[0] == 400
    assert relay.request("GET", "/api/tls/results/unknown.test")[1]["error"] == "notFound"


def test_explain_speaks_to_the_hosts_and_sends_nothing(house: tuple[Daemon, Peer]) -> None:
    relay, peer = house
    wait_logged(relay, "delivery.missing-outbound-hostname", "relay")
    text = relayd(relay, "explain", "--to", "b@x.test", "--connect", "--timeout", "5")
    for line in ("MX of x.test", "STARTTLS", "RCPT TO", "It would be taken; nothing was sent."):
        assert line in text
    peer.script.rcpt = "550 5.1.1 Nobody here"
    text = relayd(relay, "explain", "--to", "b@x.test", "--connect", "--direct")
    assert "FAILED: certificate not valid" in text  # self-signed, and --direct wants authorities
    assert "No host could be asked about the recipient." in text
    text = relayd(relay, "explain", "--to", "b@x.test", "--connect")
    assert "FAILED: 550 5.1.1 Nobody here" in text
    assert "The recipient would not be taken now." in text
    found = json.loads(relayd(relay, "explain", "--to", "b@x.test", "--connect", "--json"))
    assert found["stages"][-1] == {"type": "completed"}
    assert not peer.taken
