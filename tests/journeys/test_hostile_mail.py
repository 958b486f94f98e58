"""The whole hostile set and a message of 100 MB: all of it is answered, none passes unscanned, the loop goes on."""

from __future__ import annotations

import smtplib

import pytest

from tests.journeys.conftest import StartRelay
from tests.rig.daemon import Daemon
from tests.spam.hostile import HOSTILE, large, on_the_wire

TRIES = 3
"""What a worker cannot scan is deferred twice, and then held."""


def hand_over(relay: Daemon, content: bytes) -> tuple[int, bytes]:
    """A stranger who comes again after a 4xx; the last reply."""
    code, text = 0, b""
    for _ in range(TRIES):
        with smtplib.SMTP("127.0.0.1", relay.smtp_port, "client.test", timeout=120) as client:
            client.ehlo()
            client.mail("ann@outside.test")
            client.rcpt("joe@any.test")
            assert client.docmd("DATA")[0] == 354
            assert client.sock is not None
            client.sock.sendall(content)
            code, text = client.getreply()
            if code < 400 or code >= 500:
                break
    return code, text


@pytest.mark.long
@pytest.mark.timeout(400)
def test_hostile_mail_is_scanned_or_held_and_never_lost(relay: StartRelay) -> None:
    daemon = relay(
        None,
        {
            "session.rcpt.relay-networks": [],
            "session.rcpt.relay-domains": ["any.test"],
            "session.rcpt.known.c.domains": ["any.test"],
            "session.rcpt.known.c.check": "any",
            "session.data.limits.line": 60_000_000,
            "session.data.limits.size": 200_000_000,
            "spam-filter.enable": True,
            "spam-filter.hosts.enable": False,
            "tracer.out.type": "stdout",
            "tracer.out.level": "debug",
        },
    )
    daemon.request("PATCH", "/api/queue/status/stop")
    taken: list[str] = []
    refused: dict[str, tuple[int, bytes]] = {}
    for name, make in [*HOSTILE.items(), ("100 MB", large)]:
        code, text = hand_over(daemon, on_the_wire(make()))
        if code == 250:
            taken.append(text.decode().rpartition(" ")[2])
        else:
            refused[name] = (code, text[:5])
    assert refused == {"NUL": (550, b"5.6.0"), "every octet": (550, b"5.6.0")}
    said = daemon.output.read_text(errors="replace").splitlines()
    told = [line for line in said if "spam.classify" in line or "spam.unscannable" in line]
    assert [id for id in taken if not any(id in line for line in told)] == []
    assert "server.loop-stalled" not in "\n".join(said)
    audit = daemon.audit()
    assert (audit["difference"], audit["delivered"]) == (0, 0)
    assert daemon.data_of("GET", "/api/queue/messages?limit=1")["total"] == len(taken)
