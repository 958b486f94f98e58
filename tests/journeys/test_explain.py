"""An operator asks why: `relayd explain` on the command line against a live daemon and a real DNS server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.mailauth.signing_key import record_name
from tests.journeys.conftest import StartRelay, send, wait_status
from tests.mailauth.signing import DOMAIN, MESSAGE, key, pem, rule, signed
from tests.rig.daemon import Daemon
from tests.rig.dns import DnsServer, serving_in_thread
from tests.rig.postfix import free_port

_ROOT = Path(__file__).resolve().parents[2]


def quoted(text: str) -> str:
    """A TXT record of several strings."""
    return " ".join(f'"{text[begin : begin + 250]}"' for begin in range(0, len(text), 250))


NAMES: dict[str, dict[str, list[str] | str]] = {
    "bank.test": {
        "TXT": ['"v=spf1 ip4:192.0.2.0/28 include:_spf.mailer.test exp=why.bank.test -all"'],
        "MX": ["20 mx2.bank.test.", "10 mx1.bank.test."],
    },
    "why.bank.test": {"TXT": ['"%{i} is not one of our hosts"']},
    "_spf.mailer.test": {"TXT": ['"v=spf1 ip4:198.51.100.0/24 -all"']},
    "_dmarc.bank.test": {"TXT": ['"v=DMARC1; p=reject"']},
    "mx1.bank.test": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "TXT": ['"v=spf1 a -all"']},
    "mx2.bank.test": {"A": ["192.0.2.2"]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mx1.bank.test."]},
    "9.113.0.203.in-addr.arpa": {"PTR": ["host9.pool.test."]},
    "down.test": {"A": ["127.0.0.9"]},
    record_name("rsa", DOMAIN): {"TXT": [quoted(key().record())]},
}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with serving_in_thread(NAMES) as server:
        yield server


@pytest.fixture(scope="module")
def relay(module_relay: StartRelay, dns: DnsServer) -> Daemon:
    checks = ("spf.verify.ehlo", "spf.verify.mail-from", "dkim.verify", "arc.verify", "iprev.verify")
    return module_relay(
        settings={
            **{f"auth.{check}": "relaxed" for check in checks},
            "auth.dmarc.verify": "strict",
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "queue.outbound.port": free_port(),
            "queue.schedule.retry": ["1h"],
            'queue.outbound.domain."partner.test"': "hub",
            "queue.route.hub.address": "127.0.0.1",
            "queue.route.hub.auth.username": "relay",
            "queue.route.hub.auth.secret": "hunter2",
            "signature.ours.private-key": pem(),
            "signature.ours.domain": "sender.test",
            "signature.ours.selector": "one",
            "server.aliases": ["sales: ann@bank.test, bob@partner.test"],
        }
    )


def explain(relay: Daemon, *words: str, message: bytes | None = None, code: int = 0) -> str:
    """What `relayd explain` prints: on stdout when it exits 0, else on stderr."""
    command = [sys.executable, "-m", "relayd", "explain", "--config", str(relay.config), *words]
    done = subprocess.run(command, input=message, capture_output=True, cwd=_ROOT, timeout=60)
    assert done.returncode == code, done.stderr.decode()
    return (done.stderr if code else done.stdout).decode()


def told(relay: Daemon, *words: str, message: bytes | None = None) -> Any:
    return json.loads(explain(relay, *words, "--json", message=message))


def test_a_forgery_is_explained(relay: Daemon) -> None:
    words = ("--ip", "203.0.113.9", "--helo", "mail.bank.test", "--from", "ann@bank.test")
    out = explain(relay, *words)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "Verdict: reject: 550 5.7.1 Email rejected per DMARC policy for bank.test" in lines
    assert "because DMARC fail of bank.test, policy reject" in lines
    assert 'SPF, return path fail ann@bank.test -all; "203.0.113.9 is not one of our hosts"' in lines
    assert "bank.test: include:_spf.mailer.test does not match" in lines
    assert "Authentication-Results: relay.test;" in lines
    for asked in ("TXT bank.test", "TXT _spf.mailer.test", "TXT why.bank.test", "PTR 203.0.113.9"):
        assert any(line.startswith(asked) for line in lines), asked
    found = told(relay, *words)
    assert found["findings"]["spf_mail_from"]["explanation"] == "203.0.113.9 is not one of our hosts"
    assert found["verdict"]["action"] == "reject"


def test_an_honest_host_and_a_signature(relay: Daemon, tmp_path: Path) -> None:
    words = ("--ip", "192.0.2.1", "--helo", "mx1.bank.test", "--from", "ann@bank.test")
    found = told(relay, *words)
    results = {name: each["result"] for name, each in found["findings"].items() if isinstance(each, dict)}
    assert results == {
        "spf_ehlo": "pass",
        "spf_mail_from": "pass",
        "iprev": "pass",
        "ehlo": "pass",
        "arc": "none",
        "dmarc": "pass",
    }
    message = signed(MESSAGE, rule())
    (tmp_path / "signed").write_bytes(message)
    found = told(relay, *words, "--message", str(tmp_path / "signed"))
    assert [each["result"] for each in found["findings"]["dkim"]] == ["pass"]
    found = told(relay, *words, "--message", "-", message=message.replace(b"Bye", b"Buy"))
    assert found["findings"]["dkim"][0]["problem"] == "the body was changed"


def test_what_is_explained_is_what_happens(relay: Daemon) -> None:
    queue_id = send(relay, to="bob@down.test")
    status = wait_status(relay, queue_id, "temp_fail")
    assert "127.0.0.9" in status or "down.test" in status
    (road,) = told(relay, "--to", "bob@down.test")["roads"]
    port = relay.settings["queue.outbound.port"]
    host = {"host": "down.test", "addresses": ["127.0.0.9"], "port": port, "preference": None}
    host |= {"tls": "TLS where offered", "tls_why": ["tls.mode is opportunistic"], "tls_known": ""}
    assert road["outlook"]["hosts"] == [host]
    assert road["standing"] == {"suspended": "", "queued": 1, "deferred": 1, "held": 0}
    (road,) = told(relay, "--to", "bob@nowhere.test")["roads"]
    assert (road["outlook"]["outcome"], road["outlook"]["hosts"]) == ("bounced", [])


def test_the_way_out(relay: Daemon) -> None:
    out = explain(relay, "--to", "bob@bank.test", "--from", "a@sender.test")
    rows = [line.split() for line in out.splitlines()]
    port = str(relay.settings["queue.outbound.port"])
    place = rows.index(["10", "mx1.bank.test", "2001:db8::1", "192.0.2.1", port])
    assert rows[place + 1] == ["20", "mx2.bank.test", "192.0.2.2", port]
    assert 'because      queue.outbound.next-hop = "mx"' in out
    assert "tls          mx1.bank.test: TLS where offered; tls.mode is opportunistic" in out
    assert "it is signed by one._domainkey.sender.test (signature.ours)" in out
    assert "again after 1h (the last repeats)" in out
    out = explain(relay, "--to", "sales")
    assert "it is queued for <ann@bank.test>, <bob@partner.test> instead" in out
    assert 'because      queue.outbound.domain.partner.test = "hub"' in out
    assert "signs in as  relay" in out
    assert "hunter2" not in out


def test_suspension_and_pause_are_told(relay: Daemon) -> None:
    relay.data_of("PATCH", "/api/queue/status/stop", {"reason": "maintenance"})
    try:
        assert "The queue is paused since" in explain(relay, "--to", "bob@bank.test")
    finally:
        relay.data_of("PATCH", "/api/queue/status/start")


def test_refusals(relay: Daemon) -> None:
    assert "to: expected an address" in explain(relay, "--to", "a b@c.test", code=65)
    assert "is no IP address" in explain(relay, "--ip", "x", "--helo", "x", "--from", "", code=64)
    words = ("--ip", "192.0.2.1", "--helo", "x", "--from", "", "--message", "-")
    assert "Invalid message body" in explain(relay, *words, message=b"nothing\n", code=65)
    large = b"From: a@b.test\n\n" + b"x" * (2 << 20)
    assert "larger than this server accepts" in explain(relay, *words, message=large, code=65)


def test_a_reload_is_seen(relay: Daemon) -> None:
    values = [["auth.dmarc.verify", "relaxed"]]
    relay.data_of("POST", "/api/settings", [{"type": "insert", "values": values, "assert_empty": False}])
    relay.data_of("GET", "/api/reload")
    found = told(relay, "--ip", "203.0.113.9", "--helo", "mail.bank.test", "--from", "ann@bank.test")
    assert found["verdict"]["action"] == "tag"
    assert found["verdict"]["is_suspicious"] is True
    assert "suspicious" in found["authentication_results"]
