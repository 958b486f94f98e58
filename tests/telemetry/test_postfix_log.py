"""The Postfix-style log, read by the programs that read Postfix's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from relayd.events import auth, delivery, queue, smtp
from relayd.events.event import Event, Span
from relayd.telemetry.postfix_log import PostfixLog
from tests.rig.peers import require_program
from tests.telemetry.conftest import NOW, SESSION, Recorder, utc

MILLISECOND = 1 << 21
ID = int((NOW - 1632280000.0) * 1000) << 21


def lines(events: list[Event]) -> list[str]:
    log = PostfixLog("mx", utc)
    rendered = [log.render(event) for event in events if log.wants(event.kind)]
    return [line for text in rendered if text for line in text.split("\n")]


def accept(recorder: Recorder, number: int, sender: str, to: list[str], size: int = 1000) -> Span:
    """One session that sends one message."""
    keys = {**SESSION, "remoteIp": f"192.0.2.{number}"}
    span = Span(recorder.stream, ID + number * MILLISECOND, keys)
    smtp.CONNECTION_START(span)
    smtp.EHLO(span, domain="client.example")
    smtp.MAIL_FROM(span, from_=sender, size=size)
    for address in to:
        smtp.RCPT_TO(span, to=address)
    queue.QUEUE_MESSAGE(span, queue_id=span.id, from_=sender, to=to, size=size, message_id=f"<{number}@client.example>")
    smtp.CONNECTION_END(span, elapsed=5)
    return Span(recorder.stream, span.id + MILLISECOND // 2, {"queueId": span.id})


def refuse(recorder: Recorder, number: int, to: str) -> None:
    """One session whose relaying is refused."""
    span = Span(recorder.stream, ID + (500 + number) * MILLISECOND, {**SESSION, "remoteIp": f"198.51.100.{number}"})
    smtp.CONNECTION_START(span)
    smtp.EHLO(span, domain="spam.example")
    smtp.MAIL_FROM(span, from_="a@spam.example", size=0)
    smtp.RELAY_NOT_ALLOWED(span, to=to)
    smtp.RCPT_TO_REJECTED(span, to=to, code=550, reason="Relaying denied")
    smtp.CONNECTION_END(span, elapsed=5)


def test_the_lines_of_a_message(recorder: Recorder) -> None:
    attempt = accept(recorder, 1, "a@example.org", ["b@example.net", "c@example.net"])
    recorder.now = NOW + 2
    id = attempt.keys["queueId"]
    delivery.DELIVERED(
        attempt, queue_id=id, hostname="mx.example.net", to="b@example.net", code=250, details="2.0.0 Ok", elapsed=0.5
    )
    delivery.BOUNCED(
        attempt,
        queue_id=id,
        hostname="mx.example.net",
        to="c@example.net",
        code=550,
        details="Unexpected response from 'mx.example.net': Code: 550, Enhanced code: 5.1.1, Message: unknown",
        reason="550 5.1.1 unknown",
    )
    delivery.COMPLETED(attempt, queue_id=id, elapsed=2.0)
    found = lines(recorder.events)
    text = re.sub(r"\[\d+\]:", "[N]:", "\n".join(found))
    assert text.split("\n") == [
        "Nov 21 05:00:00 mx postfix/smtpd[N]: connect from unknown[192.0.2.1]",
        f"Nov 21 05:00:00 mx postfix/smtpd[N]: {id}: client=unknown[192.0.2.1]",
        f"Nov 21 05:00:00 mx postfix/cleanup[N]: {id}: message-id=<1@client.example>",
        f"Nov 21 05:00:00 mx postfix/qmgr[N]: {id}: from=<a@example.org>, size=1000, nrcpt=2 (queue active)",
        "Nov 21 05:00:00 mx postfix/smtpd[N]: disconnect from unknown[192.0.2.1]",
        f"Nov 21 05:00:02 mx postfix/smtp[N]: {id}: to=<b@example.net>, relay=mx.example.net, delay=2, "
        "delays=1.5/0/0/0.5, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
        f"Nov 21 05:00:02 mx postfix/smtp[N]: {id}: to=<c@example.net>, relay=mx.example.net, delay=2, "
        "delays=2/0/0/0, dsn=5.1.1, status=bounced (host mx.example.net said: 550 5.1.1 unknown)",
        f"Nov 21 05:00:02 mx postfix/qmgr[N]: {id}: removed",
    ]
    pids = {re.search(r"smtpd\[(\d+)\]", line).group(1) for line in found if "smtpd" in line}  # type: ignore[union-attr]
    assert len(pids) == 1


def test_a_refusal_is_one_line_in_postfix_words(recorder: Recorder) -> None:
    refuse(recorder, 7, "victim@elsewhere.example")
    assert [re.sub(r"\[\d+\]:", "[N]:", line) for line in lines(recorder.events)][1:-1] == [
        "Nov 21 05:00:00 mx postfix/smtpd[N]: NOQUEUE: reject: RCPT from unknown[198.51.100.7]: 550 5.7.1 "
        "<victim@elsewhere.example>: Relay access denied; from=<a@spam.example> to=<victim@elsewhere.example> "
        "proto=ESMTP helo=<spam.example>"
    ]


def test_text_from_peers_cannot_forge(recorder: Recorder) -> None:
    span = Span(recorder.stream, ID, dict(SESSION, hostname="x]: evil[203.0.113.9"))
    smtp.CONNECTION_START(span)
    smtp.EHLO(span, domain="a>\r\nNov 21 05:00:00 mx postfix/smtpd[1]: forged")
    smtp.MAIL_FROM(span, from_="a> to=<b>\u202e", size=0)
    smtp.RCPT_TO_REJECTED(span, to="c>: Relay access denied; x=<", code=450, reason="later\nforged line")
    found = lines(recorder.events)
    assert len(found) == 2
    assert all("unknown[192.0.2.1]" in line and "203.0.113.9" not in line for line in found)
    assert all(line.isprintable() for line in found)
    assert "from=<a??to=?b??> to=<c?:?Relay?access?denied;?x=?>" in found[1]


def test_mail_from_the_submit_socket_was_picked_up(recorder: Recorder) -> None:
    span = Span(recorder.stream, ID, dict(SESSION, remoteIp="unix", uid=1000))
    queue.QUEUE_MESSAGE_AUTHENTICATED(span, queue_id=ID, from_="root@mx", to=["b@x"], size=5, account_name=None)
    assert "postfix/pickup" in lines(recorder.events)[0]
    assert f"{ID}: uid=1000 from=<root@mx>" in lines(recorder.events)[0]


def test_sessions_remembered_are_bounded(recorder: Recorder) -> None:
    log = PostfixLog("mx", utc)
    for number in range(10_050):
        smtp.CONNECTION_START(Span(recorder.stream, ID + number * MILLISECOND, dict(SESSION)))
        log.render(recorder.last)
    assert len(log._sessions) == 10_000


def figure(report: str, name: str) -> int:
    match = re.search(rf"^\s*(\d+)\s+{name}", report, re.MULTILINE)
    assert match is not None, report
    return int(match[1])


def test_pflogsumm_counts_what_happened(recorder: Recorder, tmp_path: Path) -> None:
    program = require_program("pflogsumm")
    reply = {"code": 450, "details": "Connection to 'mx' failed: timed out", "reason": "450 4.4.1 timed out"}
    for number in range(1, 11):
        attempt = accept(recorder, number, f"s{number % 3}@example.org", ["b@example.net"], size=100)
        id = attempt.keys["queueId"]
        if number <= 2:
            delivery.DEFERRED(attempt, queue_id=id, hostname="mx.example.net", to="b@example.net", **reply)
        if number <= 7:
            delivery.DELIVERED(
                attempt, queue_id=id, hostname="mx", to="b@example.net", code=250, details="ok", elapsed=1
            )
        elif number <= 9:
            delivery.BOUNCED(attempt, queue_id=id, hostname="mx", to="b@example.net", code=550, reason="550 5.1.1 no")
        else:
            delivery.EXPIRED(attempt, queue_id=id, hostname="", to="b@example.net", reason="450 4.4.1 timed out")
        delivery.COMPLETED(attempt, queue_id=id, elapsed=1.0)
    for number in range(1, 5):
        refuse(recorder, number, "x@elsewhere.example")
    log = tmp_path / "mail.log"
    log.write_text("\n".join(lines(recorder.events)) + "\n")
    report = subprocess.run([program, "--smtpd_stats", str(log)], capture_output=True, text=True, check=True).stdout
    assert figure(report, "received") == 10
    assert figure(report, "delivered") == 7
    assert figure(report, "deferred") == 2
    assert figure(report, "bounced") == 3
    assert figure(report, "rejected") == 4
    assert figure(report, "bytes received") == 1000
    assert figure(report, "bytes delivered") == 700
    assert figure(report, "senders") == 3
    assert figure(report, "connections") == 14
    assert "Relay access denied" in report


@pytest.mark.parametrize(("mode", "expected"), [("normal", 4), ("auth", 3), ("extra", 7)])
def test_fail2ban_finds_the_offenders(recorder: Recorder, tmp_path: Path, mode: str, expected: int) -> None:
    program = require_program("fail2ban-regex")
    accept(recorder, 1, "a@example.org", ["b@example.net"])
    for number in range(1, 4):
        refuse(recorder, number, "x@elsewhere.example")
    span = Span(recorder.stream, ID, dict(SESSION, remoteIp="2001:db8::5"))
    smtp.CONNECTION_START(span)
    smtp.MAILBOX_DOES_NOT_EXIST(span, to="nobody@example.net")
    smtp.RCPT_TO_REJECTED(span, to="nobody@example.net", code=550, reason="no such user")
    for _ in range(3):
        auth.FAILED(span, account_name="root", type_="smtp", remote_ip="2001:db8::5")
    smtp.CONNECTION_END(span, elapsed=5)
    auth.FAILED(Span(recorder.stream, ID + 1, {"remoteIp": "127.0.0.1"}), type_="http", remote_ip="127.0.0.1")
    log = tmp_path / "mail.log"
    log.write_text("\n".join(lines(recorder.events)) + "\n")
    run = subprocess.run([program, str(log), f"postfix[mode={mode}]"], capture_output=True, text=True, check=False)
    match = re.search(r"Lines: (\d+) lines, \d+ ignored, (\d+) matched", run.stdout)
    assert match is not None, run.stdout + run.stderr
    assert int(match[2]) == expected
