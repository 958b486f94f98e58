"""Strangers' mail is scored before its 250; operators ask why, teach the model, and change the rules."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message, send, wait_logged, wait_until
from tests.rig.daemon import Daemon
from tests.rig.mmdb import ASN, COUNTRY, write_mmdb
from tests.rig.postfix import free_port
from tests.rig.sink import Sink
from tests.rig.usage import descendants
from tests.spam.hostile import HOSTILE

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@dataclass
class House:
    """A relay that scores mail for any.test, before a sink."""

    relay: Daemon
    sink: Sink
    port: int
    rules: Path
    networks: Path

    def send(self, content: bytes, to: str = "joe@any.test") -> None:
        """From a stranger at 198.51.100.7."""
        with Proxied(self.port) as client:
            client.ehlo()
            client.sendmail("ann@outside.test", [to], content)

    def arrived(self, mark: bytes) -> bytes:
        """What the sink got."""
        return self.sink.wait_for_one(lambda delivery: mark in delivery.content).content

    def relayd(self, *arguments: str, stdin: bytes = b"") -> str:
        """The command line; what it printed."""
        command = [sys.executable, "-m", "relayd", *arguments, "--config", str(self.relay.config)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
        return (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def house(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    port = free_port()
    rules = tmp_path_factory.mktemp("rules") / "spam.toml"
    networks = write_mmdb(rules.with_name("asn.mmdb"), {"198.51.100.0/24": ASN | COUNTRY})
    with Sink() as sink:
        settings = {
            "server.listener.outside.bind": [f"127.0.0.1:{port}"],
            "server.listener.outside.proxy-protocol": ["127.0.0.0/8"],
            "session.rcpt.relay-domains": ["any.test"],
            "session.rcpt.known.c.domains": ["any.test"],
            "session.rcpt.known.c.check": "any",
            "session.data.limits.line": 10_000_000,
            "spam-filter.enable": True,
            "spam-filter.hosts.enable": False,
            "spam-filter.rule.watches.pattern": "(?i)cheap watches",
            "spam-filter.rule.watches.score": 3.5,
            "spam-filter.recipient.strict.match": ["strict@any.test"],
            "spam-filter.recipient.strict.reject": 100,
            "spam-filter.bayes.min-learns": 2,
            "spam-filter.submitted.enable": True,
            "spam-filter.replies.enable": True,
            "spam-filter.update.source": str(rules),
            "geo.asn-file": str(networks),
            "geo.country-file": str(networks),
        }
        yield House(module_relay(sink.port, settings), sink, port, rules, networks)


def test_mail_arrives_with_what_was_found(house: House) -> None:
    house.send(b"Subject: one\r\nX-Spam-Status: No, score=-9\r\n\r\nCheap watches for you\r\n")
    content = house.arrived(b"Subject: one")
    assert content.startswith(b"X-Spam-Result: ")
    assert b"WATCHES (3.50)" in content
    assert b"X-Spam-Status: Yes, score=" in content
    assert b"score=-9" not in content


def test_a_strict_recipient_refuses_at_the_end_of_data_and_nobody_else(house: House) -> None:
    spam = b"Subject: two\r\n\r\n" + GTUBE + b"\r\n"
    with Proxied(house.port) as client:
        client.ehlo()
        client.mail("ann@outside.test")
        client.rcpt("strict@any.test")
        code, text = client.data(spam)
        assert (code, text[:5]) == (550, b"5.7.1")
        client.mail("ann@outside.test")
        client.rcpt("strict@any.test")
        client.rcpt("joe@any.test")
        assert client.data(spam)[0] == 250  # the mildest verdict
    assert b"GTUBE (1000.00)" in house.arrived(b"Subject: two")


@pytest.mark.parametrize("name", ["nested 10,000 multiparts", "HTML: nested divs"])
def test_hostile_mail_is_scanned_by_a_worker_and_goes_on(name: str, house: House) -> None:
    mark = f"X-Mark: {name}".encode()
    house.send(mark + b"\r\n" + HOSTILE[name]())
    assert b"SCAN_PARTIAL (0.00)" in house.arrived(mark)


@pytest.mark.parametrize("spoiled", ["version = ", 'version = "9"\n[rules.odd]\npattern = "(("\n'])
def test_rules_that_somebody_spoiled_stop_no_mail(relay: StartRelay, tmp_path: Path, spoiled: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "9"\n[scores.x]\nMISSING_MID = 42\n')
    daemon = relay(None, {"spam-filter.update.source": str(rules)})
    assert daemon.data_of("GET", "/api/update/spam-filter") == "9"
    assert daemon.stop() == 0
    (daemon.data / "spam-rules" / "9.toml").write_text(spoiled)
    daemon.start()
    assert "spam.rules-broken" in wait_logged(daemon, "spam.rules-broken")
    assert daemon.data_of("GET", "/api/update/spam-filter/versions")["version"] != "9"
    assert daemon.data_of("GET", "/api/update/spam-filter?force=1") == "9"


def test_a_rule_of_the_operator_that_hangs_stops_nothing_else(relay: StartRelay) -> None:
    settings = {
        "server.listener.smtp.relay-networks": [],
        "session.rcpt.relay-networks": [],
        "session.rcpt.relay-domains": ["any.test"],
        "session.rcpt.known.c.domains": ["any.test"],
        "session.rcpt.known.c.check": "any",
        "spam-filter.enable": True,
        "spam-filter.hosts.enable": False,
        "spam-filter.plugins": ["tests.scanning.odd_rules:spin"],
        "spam-filter.scan.cpu": "200ms",
    }
    with Sink() as sink:
        daemon = relay(sink.port, settings)
        for code in (451, 451, 250):  # deferred twice, then held
            with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
                client.ehlo()
                client.mail("ann@outside.test")
                client.rcpt("joe@any.test")
                assert client.data(b"Subject: odd\r\n\r\nhello\r\n")[0] == code
        (held,) = daemon.data_of("GET", "/api/quarantine")["items"]
        assert held["reason"].startswith("unscannable: ")
        send(daemon, message("even"), to="joe@any.test")
        sink.wait_for_one(lambda delivery: b"Subject: even" in delivery.content)
        assert daemon.data_of("DELETE", f"/api/quarantine/{held['id']}") is True  # it cannot be learnt either


def test_a_worker_that_is_killed_costs_no_mail(house: House) -> None:
    large = b"Subject: %s\r\n\r\n" + b"word word word\r\n" * 5_000
    house.send(large % b"before")
    house.arrived(b"Subject: before")
    workers = [pid for pid in descendants(house.relay.pid) if pid != house.relay.pid]
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for _ in range(3):  # 451 at the worst: the peer comes again
        with Proxied(house.port) as client:
            client.ehlo()
            client.mail("ann@outside.test")
            client.rcpt("joe@any.test")
            if client.data(large % b"after")[0] == 250:
                break
    assert house.arrived(b"Subject: after").startswith(b"X-Spam-Result: ")


def test_the_filter_says_why_and_learns(house: House, tmp_path: Path) -> None:
    spam = b"From: x@y.test\nSubject: offer\n\nbuy pills now, cheap pills, best offer of pills, click, order, today\n"
    ham = b"From: z@w.test\nSubject: lunch\n\nsee you at noon tomorrow near the old bridge, bring the maps along\n"
    assert "PILLS" not in house.relayd("spam", "classify", stdin=spam)
    explained = house.relayd("spam", "explain", "--to", "joe@any.test", stdin=spam)
    assert "there is no Message-ID" in explained
    assert "would be another without" in explained
    for kind, text in (("spam", spam), ("ham", ham), ("spam", spam), ("ham", ham)):
        assert f"1 message learnt as {kind}" in house.relayd("spam", "train", kind, stdin=text)
    assert "BAYES_SPAM (5.10)" in house.relayd("spam", "classify", stdin=spam)
    assert "BAYES_HAM (-3.00)" in house.relayd("spam", "classify", stdin=ham)
    assert "1 message forgotten" in house.relayd("spam", "train", "spam", "--forget", stdin=spam)
    assert json.loads(house.relayd("spam", "models", "--json")) == [
        {"account": "", "spam": 1, "ham": 2, "speaks": False}
    ]
    kept = tmp_path / "copy"
    house.relayd("backup", str(kept))
    assert (kept / "bayes.db").stat().st_size > 0
    assert house.relay.request("GET", "/api/store/purge/in-memory/default/bayes-global") == (200, {"data": None})
    assert json.loads(house.relayd("spam", "models", "--json")) == []
    with contextlib.closing(sqlite3.connect(kept / "bayes.db")) as copy:
        assert copy.execute("SELECT account, spam, ham FROM models").fetchall() == [("", 1, 2)]
    assert "notFound" in house.relayd("spam", "train", "ham", "--account", "nobody", stdin=ham)
    assert "Failed to parse message" in house.relayd("spam", "train", "ham", stdin=b"no message\n")


def test_rules_are_updated_and_gone_back_from(house: House) -> None:
    message = b"From: x@y.test\nSubject: offer\n\nhello\n"
    assert "could not be updated" in house.relayd("spam", "update")
    house.rules.write_text('version = "7"\n[scores.x]\nMISSING_MID = 42\n')
    assert "version 7 is in force" in house.relayd("spam", "update")
    assert "already in force" in house.relayd("spam", "update")
    assert "MISSING_MID (42.00)" in house.relayd("spam", "classify", stdin=message)
    house.rules.write_text("version = 7")
    assert "no set of rules" in house.relayd("spam", "update")
    assert "MISSING_MID (42.00)" in house.relayd("spam", "classify", stdin=message)
    assert "is in force" in house.relayd("spam", "rollback")
    assert "MISSING_MID (2.50)" in house.relayd("spam", "classify", stdin=message)
    assert "no rules to go back to" in house.relayd("spam", "rollback")


def test_an_update_that_cannot_be_put_in_force_changes_nothing(house: House) -> None:
    relay = house.relay
    mail = {
        "message": "Subject: x\n\nhello\n",
        "remoteIp": "192.0.2.1",
        "envFrom": "",
        "envFromFlags": 0,
        "envRcptTo": [],
    }

    def score() -> float:
        found: float = relay.data_of("POST", "/api/spam-filter/classify", mail)["tags"]["MISSING_MID"]["value"]
        return found

    house.rules.write_text('version = "7"\n[scores.x]\nMISSING_MID = 42\n')
    assert relay.data_of("GET", "/api/update/spam-filter") == "7"
    own = [["spam-filter.list.scores.MISSING_MID", "43"]]
    relay.data_of("POST", "/api/settings", [{"type": "insert", "values": own, "assert_empty": False}])
    house.rules.write_text('version = "7"\n[rules.odd]\npattern = "(("\n')
    for flag in ("force", "overwrite"):
        assert "missing )" in relay.request("GET", f"/api/update/spam-filter?{flag}=1")[1]["reason"]
    assert relay.data_of("GET", "/api/update/spam-filter/versions") == {"version": "7", "previous": [""]}
    relay.data_of("GET", "/api/reload")
    assert score() == 43
    house.rules.write_text('version = "8"\n[scores.x]\nMISSING_MID = 44\n')
    assert relay.data_of("GET", "/api/update/spam-filter?overwrite=1") == "8"
    assert score() == 44
    assert relay.data_of("POST", "/api/update/spam-filter/rollback") == "7"
    assert score() == 42
    relay.data_of("POST", "/api/update/spam-filter/rollback")
    assert score() == 2.5


def test_classify_as_the_api_has_it(house: House) -> None:
    body = {
        "message": "From: a@b.test\nTo: c@d.test\nSubject: Testing, please ignore\nContent-Type: text/plain; "
        'charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\nTesting 1, 2, 3\n',
        "remoteIp": "192.0.2.1", "ehloDomain": "foo.test", "authenticatedAs": None, "isTls": True,
        "envFrom": "x@y.test", "envFromFlags": 0, "envRcptTo": ["z@w.test"],
    }  # fmt: skip
    status, answer = house.relay.request("POST", "/api/spam-filter/classify", body)
    assert status == 200
    data = answer["data"]
    assert data["tags"]["MISSING_MID"] == {"action": "allow", "value": 2.5}
    assert data["score"] == pytest.approx(sum(each["value"] for each in data["tags"].values()))
    assert data["disposition"]["action"] == "allow"
    assert data["disposition"]["value"].endswith(f"X-Spam-Status: Yes, score={data['score']:.2f}\r\n")
    assert {"X_HDR_FROM", "SINGLE_SHORT_PART", "RCVD_TLS_LAST", "FROM_NEQ_ENV_FROM"} <= data["tags"].keys()
    explained = house.relay.data_of("POST", "/api/spam-filter/classify?explain=1", body)["explain"]
    assert explained["tags"]["FORGED_RECIPIENTS"]["evidence"] == "z@w.test"
    assert house.relay.request("POST", "/api/spam-filter/classify", {**body, "remoteIp": "nowhere"})[0] == 400
    assert house.relay.request("POST", "/api/spam-filter/classify", {"message": "x"})[0] == 400
    assert house.relay.request("POST", "/api/spam-filter/classify", {**body, "envFromFlags": 1 << 64})[0] == 400
    status, answer = house.relay.request("POST", "/api/spam-filter/classify", {**body, "message": "no header"})
    assert (status, answer["details"]) == (200, "Failed to parse message.")


def test_what_our_own_people_submit_is_held_and_released_as_it_was(house: House) -> None:
    before = house.relay.audit()
    held = send(house.relay, b"Subject: own\r\n\r\n" + GTUBE + b"\r\n", to="joe@any.test")
    fields = {"Message-ID": "<1@sender.test>", "Date": formatdate(), "MIME-Version": "1.0"}
    send(house.relay, message("ours", **fields), to="joe@any.test")
    house.arrived(b"Subject: ours")
    assert held in house.relayd("quarantine", "list")
    assert not [each for each in house.sink.deliveries if b"Subject: own\r\n" in each.content]
    house.relayd("quarantine", "release", held)
    assert GTUBE in house.arrived(b"Subject: own\r\n")
    assert house.relay.audit()["difference"] == before["difference"] == 0


def test_where_a_client_is_counts_where_the_operator_says_so(house: House) -> None:
    def sessions() -> list[str]:
        found: list[str] = house.relay.data_of("GET", "/api/telemetry/traces?type=smtp.connection-start")["items"]
        return found

    def scored(mark: str) -> tuple[list[str], bytes]:
        before = sessions()
        house.send(f"Subject: {mark}\r\n\r\nHello\r\n".encode())
        content = house.arrived(f"Subject: {mark}".encode())
        (new,) = wait_until(lambda: set(sessions()) - set(before), "the session is stored")
        events = house.relay.data_of("GET", f"/api/telemetry/trace/{new}")
        return next(each["data"]["tags"] for each in events if each["type"] == "spam.classify"), content

    tags, content = scored("near")
    assert tags[-2:] == ["SOURCE_ASN_64500", "SOURCE_COUNTRY_DE"]
    assert b"SOURCE_" not in content
    explained = house.relayd("spam", "explain", "--ip", "198.51.100.9", stdin=b"Subject: x\n\nx\n")
    assert "198.51.100.0/24 Example Net" in explained
    explained = house.relayd("explain", "--ip", "198.51.100.9", "--helo", "mx.any.test", "--from", "")
    assert "  from: DE, AS64500, Example Net, 198.51.100.0/24\n" in explained
    write_mmdb(house.networks, {"198.51.100.0/24": ASN | {"country": {"iso_code": "NL"}}})
    house.relayd("settings", "set", "spam-filter.list.scores.SOURCE_COUNTRY_NL", "2.5")
    house.relayd("reload")
    tags, content = scored("far")
    assert "SOURCE_COUNTRY_NL=2.5" in tags
    assert b"SOURCE_COUNTRY_NL (2.50)" in content
    house.networks.write_bytes(b"nothing")
    refused = house.relayd("reload")
    assert refused.startswith("error: geo.asn-file: ")
    assert "expected an .mmdb file" in refused
    assert "SOURCE_COUNTRY_NL (2.50)" in house.relayd(
        "spam", "classify", "--ip", "198.51.100.9", stdin=b"Subject: x\n\n"
    )


def test_an_answer_to_what_our_own_people_sent_is_welcome(house: House) -> None:
    fields = {"Message-ID": "<lunch@sender.test>", "Date": formatdate(), "MIME-Version": "1.0"}
    send(house.relay, message("our question", **fields), sender="joe@any.test", to="ann@outside.test")
    house.send(b"Subject: Re: our question\r\nIn-Reply-To: <lunch@sender.test>\r\n\r\nat noon\r\n")
    assert b"TRUSTED_REPLY (-7.00)" in house.arrived(b"Subject: Re: our question")
