"""`relayd explain`: what is asked of the control socket, what is printed, and the exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

Run = Callable[..., int]


@pytest.fixture
def run(control: FakeControl) -> Run:
    return lambda *words: main(["explain", *words, "--url", f"unix:{control.path}"])


def question(type: str, name: str, *records: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": type,
        "name": name,
        "outcome": "answer",
        "records": list(records),
        "problem": "",
        "elapsed": 0.0042,
        "ttl": 300,
        "secure": False,
        **fields,
    }


def inbound(**fields: Any) -> dict[str, Any]:
    """An answer of POST /api/explain/inbound."""
    spf: dict[str, Any] = {
        "scope": "mfrom",
        "domain": "b.test",
        "sender": "ann@b.test",
        "explanation": "not ours",
        "problem": "",
    }
    spf |= {"result": "fail", "mechanism": "-all", "steps": ["b.test: v=spf1 -all", "b.test: -all matches, fail"]}
    dkim = {"result": "pass", "domain": "c.test", "selector": "one", "bits": 2048, "problem": "", "steps": []}
    dmarc = {"result": "fail", "domain": "b.test", "policy": "reject", "policy_domain": "b.test", "spf": "", "dkim": []}
    iprev = {"result": "pass", "address": "192.0.2.1", "problem": "", "confirmed": ["mx.b.test"], "steps": []}
    return {
        "client": "192.0.2.1",
        "helo": "mx.b.test",
        "return_path": "ann@b.test",
        "session": "stranger",
        "origin": {"asn": 64500, "country": "DE", "network": "192.0.2.0/24", "holder": "Ex\x1b[31mample"},
        "notes": ["note\x1b[31m this"],
        "findings": {
            "spf_ehlo": None,
            "spf_mail_from": spf,
            "iprev": iprev,
            "ehlo": None,
            "dkim": [dkim],
            "arc": {"result": "none", "sets": [], "problem": "", "steps": []},
            "dmarc": {**dmarc, "problem": "", "steps": ["_dmarc.b.test: v=DMARC1; p=reject"]},
        },
        "verdict": {
            "action": "reject",
            "reply": {"code": 550, "enhanced": "5.7.1", "text": "Email rejected"},
            "reasons": ["DMARC fail of b.test, policy reject"],
            "is_suspicious": True,
            "override": None,
        },
        "authentication_results": "Authentication-Results: mx.test;\r\n\tspf=fail smtp.mailfrom=ann@b.test\r\n",
        "questions": [
            question("TXT", "b.test", "v=spf1 -all\x1b]0;owned\x07"),
            question("TXT", "x.test", outcome="no-name", problem="x.test does not exist"),
        ],
        "elapsed": {"dkim": 0.001},
        **fields,
    }


def outbound(**fields: Any) -> dict[str, Any]:
    """An answer of GET /api/explain/outbound."""
    outlook = {
        "address": "bob@b.test",
        "destination": "route:hub",
        "setting": 'queue.outbound.next-hop = "hub"',
        "why": "no setting names the domain, so the default counts",
        "route": "hub",
        "host": "hub.test",
        "port": 587,
        "protocol": "smtp",
        "use_mx": False,
        "tls": "verified",
        "tls_implicit": True,
        "tls_policy": "TLS with a certificate",
        "sign_in_as": "relay",
        "leaves_from": "",
        "smarthosts": [],
        "waits": "",
        "hosts": [
            {
                "host": "hub.test",
                "addresses": ["192.0.2.1", "2001:db8::1"],
                "port": 587,
                "preference": None,
                "tls": "TLS with a valid certificate",
                "tls_why": ["tls.mode is verified"],
                "tls_known": "",
            }
        ],
        "problem": "",
        "outcome": "",
        "notes": ["Private address: no\x1b[31m"],
        "running": 1,
        "waiting": 2,
        "limit": 20,
        "shaping": {
            "provider": "big",
            "is_named": True,
            "limits": [
                {"subject": "provider:big", "limit": "rate", "value": "5/s", "rule": "queue.shaping.big", "used": ""},
                {"subject": "provider:big", "limit": "daily", "value": "9", "rule": "own.toml: big", "used": "7"},
                {"subject": "", "limit": "recipients", "value": "50", "rule": "own.toml: big", "used": ""},
            ],
            "slowed": ["provider:big to 50% for 10m by too-many: 421 4.7.0 slow down"],
            "next_at": None,
            "held_by": "rate of provider:big",
            "suspended": "",
        },
        "retries": {"retry": ["2m", "5m"], "notify": ["1d"], "expire": "5d", "attempts": [{}, {}]},
        "questions": [question("A", "hub.test", "192.0.2.1", secure=True)],
    }
    trial = {"accepted": True, "reply": "250 2.1.5 ok", "return_path": "", "recipients": ["bob@b.test"], "steps": []}
    return {
        "recipient": "bob@b.test",
        "trial": {**trial, "held": None, "signers": [], **fields.pop("trial", {})},
        "paused": "",
        "roads": [
            {
                "outlook": {**outlook, **fields.pop("outlook", {})},
                "standing": {"suspended": "", "queued": 3, "deferred": 2, "held": 1, **fields.pop("standing", {})},
            }
        ],
        "unshown": 0,
        **fields,
    }


def test_inbound_prints_verdict_checks_steps_and_questions(
    run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["POST /api/explain/inbound"] = {"data": inbound()}
    assert run("--ip", "192.0.2.1", "--helo", "mx.b.test", "--from", "<ann@b.test>") == 0
    assert control.asked[0].query == [("remote-ip", "192.0.2.1"), ("helo", "mx.b.test"), ("from", "ann@b.test")]
    assert control.asked[0].body is None
    out = capsys.readouterr().out
    for line in (
        "Mail from <ann@b.test> by 192.0.2.1 (mx.b.test), a stranger",
        "  from: DE, AS64500, Ex\\x1b[31mample, 192.0.2.0/24",
        "Verdict: reject: 550 5.7.1 Email rejected",
        "  because DMARC fail of b.test, policy reject",
        "  b.test: -all matches, fail",
        "Authentication-Results: mx.test;",
    ):
        assert line in out.splitlines()
    rows = [line.split() for line in out.splitlines()]
    assert ["SPF,", "EHLO", "name", "disabled"] in rows
    assert ["SPF,", "return", "path", "fail", "ann@b.test", "-all;", '"not', 'ours"'] in rows
    assert ["DKIM", "pass", "c.test", "(one)", "2048-bit", "key"] in rows
    assert ["ARC", "none", "no", "chain"] in rows
    assert ["TXT", "x.test", "4", "no-name:", "x.test", "does", "not", "exist"] in rows
    assert "\x1b" not in out
    assert "note\\x1b[31m this" in out


@pytest.mark.parametrize(
    ("action", "is_suspicious", "said"),
    [
        ("tag", False, "Verdict: taken"),
        ("tag", True, "Verdict: taken, tagged as suspicious"),
        ("hold", True, "Verdict: hold"),
    ],
)
def test_inbound_says_what_follows(
    run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str], action: str, is_suspicious: bool, said: str
) -> None:
    verdict: dict[str, Any] = {
        "action": action,
        "reply": None,
        "reasons": [],
        "is_suspicious": is_suspicious,
        "override": "mailing_list",
    }
    nothing = dict.fromkeys(("spf_ehlo", "spf_mail_from", "iprev", "ehlo", "dkim", "arc", "dmarc"))
    answer = inbound(verdict=verdict, findings=nothing, questions=[], client="", session="trusted-relay")
    control.answers["POST /api/explain/inbound"] = {"data": answer}
    assert run("--ip", "2001:db8::1", "--helo", "x", "--from", "") == 0
    lines = capsys.readouterr().out.splitlines()
    assert said in lines
    assert "  the policy is not applied: mailing_list" in lines
    assert "by a client that is not known (mx.b.test), a relay of ours" in lines[0]


def test_the_message_is_sent_octet_by_octet(
    run: Run, control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.answers["POST /api/explain/inbound"] = {"data": inbound()}
    (tmp_path / "mail").write_bytes(b"From: a@b.test\n\n\xff\x00")
    words = ("--ip", "192.0.2.1", "--helo", "x", "--from", "a@b.test", "--message")
    assert run(*words, str(tmp_path / "mail")) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"From: c@d.test\n")))
    assert run(*words, "-") == 0
    assert [each.body for each in control.asked] == [b"From: a@b.test\n\n\xff\x00", b"From: c@d.test\n"]


def test_outbound_prints_the_road(run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/explain/outbound"] = {"data": outbound()}
    assert run("--to", "<bob@b.test>", "--from", "ann@a.test") == 0
    assert control.asked[0].query == [("to", "bob@b.test"), ("from", "ann@a.test")]
    out = capsys.readouterr().out
    for words in (
        "next hop     route hub: hub.test, port 587, SMTP",
        'because      queue.outbound.next-hop = "hub": no setting names the domain, so the default counts',
        "TLS          from the first octet; TLS with a certificate",
        "signs in as  relay",
        "queue        3 messages, 2 deferred, 1 held",
        "now          1 of at most 20 deliveries at once run, 2 wait in memory",
        "provider     big",
        "limit        rate 5/s of provider:big (queue.shaping.big)",
        "limit        daily 9 of provider:big, 7 used (own.toml: big)",
        "limit        recipients 50 (own.toml: big)",
        "slowed       provider:big to 50% for 10m by too-many: 421 4.7.0 slow down",
        "waits for    rate of provider:big",
        "If it fails for now: again after 2m, 5m (the last repeats);",
        "192.0.2.1 (DNSSEC)",
    ):
        assert words in out
    assert "\x1b" not in out


def test_outbound_prints_what_is_in_the_way(run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    answer = outbound(
        trial={"held": "look first", "recipients": ["a@x.test", "b@x.test"], "steps": ["Access rule (smtp.x) id = 1"]},
        outlook={"hosts": [], "problem": "550 5.1.2 no such domain", "outcome": "bounced", "host": "unix:/run/l.sock"},
        standing={"suspended": "until it is lifted, by breaker"},
        paused="since 2026 by root: maintenance",
        unshown=4,
    )
    control.answers["GET /api/explain/outbound"] = {"data": answer}
    assert run("--to", "bob@b.test") == 0
    out = capsys.readouterr().out
    for words in (
        "Held for an operator: look first",
        "it is queued for <a@x.test>, <b@x.test> instead",
        "Access rule (smtp.x) id = 1",
        "The queue is paused since 2026 by root: maintenance",
        "bounced      550 5.1.2 no such domain",
        "suspended    until it is lifted, by breaker",
        "route hub: unix:/run/l.sock, SMTP",
        "... and 4 recipients more",
    ):
        assert words in out


def test_outbound_tells_who_signs(run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    signers = [
        {"id": "a", "domain": "a.test", "selector": "one", "problem": ""},
        {"id": "b", "domain": "a.test", "selector": "two", "problem": "/k: gone"},
    ]
    control.answers["GET /api/explain/outbound"] = {
        "data": outbound(trial={"signers": signers, "return_path": "x@a.test"})
    }
    assert run("--to", "bob@b.test", "--from", "x@a.test") == 0
    out = capsys.readouterr().out
    assert "  it is signed by one._domainkey.a.test (signature.a)\n" in out
    assert "  it is signed by two._domainkey.a.test (signature.b), and waits: /k: gone\n" in out
    control.answers["GET /api/explain/outbound"] = {"data": outbound(trial={"return_path": "x@a.test"})}
    assert run("--to", "bob@b.test", "--from", "x@a.test") == 0
    assert "  it is not signed: no signature is for a.test\n" in capsys.readouterr().out


def test_outbound_refused(run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    answer = outbound(trial={"accepted": False, "reply": "550 5.7.1 Not from there"}, roads=[])
    control.answers["GET /api/explain/outbound"] = {"data": answer}
    assert run("--to", "bob@b.test") == 0
    assert capsys.readouterr().out == "Refused: mail from <> to <bob@b.test>: 550 5.7.1 Not from there\n"


def test_json_is_the_answer_of_the_api(run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/explain/outbound"] = {"data": outbound()}
    control.answers["POST /api/explain/inbound"] = {"data": inbound()}
    assert run("--to", "bob@b.test", "--json") == 0
    assert json.loads(capsys.readouterr().out) == outbound()
    assert run("--ip", "192.0.2.1", "--helo", "x", "--from", "", "--json") == 0
    assert json.loads(capsys.readouterr().out) == inbound()


IP = ("--ip", "192.0.2.1", "--helo", "x")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 64, "give --to ADDRESS"),
        (("--to", "a@b.test", *IP), 64, "give --to ADDRESS"),
        (("--to", "a@b.test", "--helo", "x"), 64, "--helo and --message belong to --ip"),
        (("--to", "a@b.test", "--message", "x"), 64, "--helo and --message belong to --ip"),
        (IP, 64, "--ip needs --helo and --from"),
        (("--ip", "192.0.2.1", "--from", ""), 64, "--ip needs --helo and --from"),
        (("--ip", "mx.test", "--helo", "x", "--from", ""), 64, '--ip: "mx.test" is no IP address'),
        ((*IP, "--from", "", "--message", "/dev/null"), 66, "/dev/null: there is no message in it"),
        ((*IP, "--from", "", "--message", "/nowhere/at/all"), 66, "/nowhere/at/all: No such file"),
    ],
)
def test_wrong_words(
    run: Run, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    assert run(*words) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(400, 65), (403, 77), (413, 65), (429, 75)])
def test_what_the_daemon_refuses(run: Run, control: FakeControl, status: int, code: int) -> None:
    control.answers["GET /api/explain/outbound"] = status
    assert run("--to", "a@b.test") == code


def test_a_message_that_is_none(run: Run, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"error": "other", "details": "Invalid message body", "reason": "Failed to parse message body"}
    control.answers["POST /api/explain/inbound"] = refusal
    assert run(*IP, "--from", "") == 65
    assert "Invalid message body: Failed to parse message body" in capsys.readouterr().err


def test_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--to", "a@b.test", "--url", f"unix:{tmp_path}/none"]) == 69
    assert "relayd does not answer" in capsys.readouterr().err
