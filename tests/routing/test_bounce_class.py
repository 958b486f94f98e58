"""What refusals and whole bounces mean, by the shipped rules."""

from __future__ import annotations

import pytest

from relayd.config.bounces import shipped_rules
from relayd.mail.bounce import BounceKind
from relayd.mail.reply import Reply
from relayd.routing.bounce_class import Finding, classify_bounce, classify_code, classify_reply
from relayd.routing.bounce_rules import NO_RULES, BounceClass, build_rules

RULES = build_rules(shipped_rules())


@pytest.mark.parametrize(
    ("reply", "step", "class_", "hard"),
    [
        (Reply(550, "5.1.1", "<a@b.example>: Recipient address rejected: User unknown"), "RCPT", "bad-mailbox", True),
        (Reply(550, "5.1.1", ""), "RCPT", "bad-mailbox", True),
        (Reply(550, "", "No such user here"), "RCPT", "bad-mailbox", True),
        (Reply(550, "", "No such user here"), "end of data", "bad-mailbox", False),
        (Reply(450, "4.1.1", "User unknown"), "RCPT", "bad-mailbox", False),
        (Reply(550, "5.2.1", "The email account that you tried to reach is disabled"), "RCPT", "bad-mailbox", False),
        (Reply(552, "5.2.2", "Mailbox full"), "RCPT", "full", False),
        (Reply(452, "4.2.2", "The user you are trying to contact is over quota"), "RCPT", "full", False),
        (Reply(552, "5.3.4", "Message size exceeds fixed limit"), "MAIL", "size", False),
        (Reply(556, "5.1.10", ""), "", "bad-domain", True),
        (
            Reply(554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
            "RCPT",
            "reputation",
            False,
        ),
        (Reply(550, "5.7.25", "does not have a PTR record"), "end of data", "reputation", False),
        (
            Reply(550, "5.7.26", "Unauthenticated email from a.example is not accepted, DMARC policy"),
            "end of data",
            "auth",
            False,
        ),
        (Reply(421, "4.7.0", "Too many concurrent connections"), "connect", "rate", False),
        (Reply(451, "4.7.1", "Greylisting in action, please come back later"), "RCPT", "rate", False),
        (Reply(554, "5.7.1", "Message identified as SPAM"), "end of data", "content", False),
        (Reply(530, "5.7.0", "Must issue a STARTTLS command first"), "MAIL", "tls", False),
        (Reply(554, "5.7.1", "<x@y.example>: Relay access denied"), "RCPT", "policy", False),
        (Reply(553, "5.1.8", "Sender address rejected"), "MAIL", "policy", False),
        (Reply(503, "5.5.1", "Bad sequence of commands"), "RCPT", "protocol", False),
        (Reply(452, "4.3.1", "Insufficient system storage"), "MAIL", "system", False),
        (Reply(554, "", "No"), "connect", "reputation", False),
        (Reply(554, "", "No"), "MAIL", "policy", False),
        (Reply(554, "", "No"), "end of data", "content", False),
        (Reply(450, "4.0.0", "Hm"), "RCPT", "unknown", False),
    ],
)
def test_replies(reply: Reply, step: str, class_: str, hard: bool) -> None:
    finding = classify_reply(reply, RULES, step=step)
    assert (finding.class_.value, finding.hard) == (class_, hard)
    assert bool(finding.rule) == (class_ != "unknown")


@pytest.mark.parametrize(
    ("reply", "class_"),
    [
        (Reply(550, "5.1.2", "the domain does not exist"), "bad-domain"),
        (Reply(451, "4.4.3", "user unknown"), "dns"),
        (Reply(451, "4.4.1", "no connection"), "network"),
        (Reply(451, "4.7.5", "no TLS"), "tls"),
        (Reply(552, "5.3.4", "too large"), "size"),
        (Reply(451, "4.3.0", "a failure of our own"), "system"),
    ],
)
def test_of_what_we_say_ourselves_only_the_code_counts(reply: Reply, class_: str) -> None:
    assert classify_code(reply, RULES).class_.value == class_


def test_without_rules_everything_is_unknown() -> None:
    assert classify_reply(Reply(550, "5.1.1", "user unknown"), NO_RULES) == Finding(BounceClass.UNKNOWN)


def report(status: str, text: str = "", subject: str = "Undelivered Mail Returned to Sender") -> bytes:
    """A delivery status notification."""
    return (
        "From: MAILER-DAEMON@mx.example\nTo: sender@our.example\n"
        f"Subject: {subject}\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\n\n'
        f"--x\n\n{text}\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n{status}\n"
        "--x\nContent-Type: message/rfc822\n\nFrom: sender@our.example\nMessage-ID: <1@our.example>\n\nx\n--x--\n"
    ).encode()


def test_a_report_tells_its_recipients_apart() -> None:
    bounce = classify_bounce(
        report(
            "Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n"
            "Diagnostic-Code: smtp; 550 5.1.1 User unknown\n\n"
            "Final-Recipient: rfc822; c@d.example\nAction: failed\nStatus: 5.0.0\n"
            "Diagnostic-Code: smtp; 552 5.2.2 Mailbox\n full\n\n"
            "Final-Recipient: rfc822; e@f.example\nAction: delivered\nStatus: 2.1.5\n"
        ),
        RULES,
    )
    assert (bounce.kind, bounce.reporter, bounce.message_id) == (BounceKind.FAILURE, "mx.example", "<1@our.example>")
    first, second, third = bounce.recipients
    assert first.finding == Finding(BounceClass.BAD_MAILBOX, "mailbox-unknown", True)
    assert second.finding == Finding(BounceClass.FULL, "mailbox-full")
    assert (second.code, second.enhanced) == (552, "5.2.2")
    assert (third.kind, third.finding) == (BounceKind.SUCCESS, None)


def test_another_system_that_gave_up_expired() -> None:
    status = "Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 4.4.1\n"
    bounce = classify_bounce(report(status + "Diagnostic-Code: X-Postfix; connect: Connection timed out\n"), RULES)
    assert bounce.recipients[0].finding == Finding(BounceClass.EXPIRED, "connect-timeout")
    assert classify_reply(Reply(451, "4.4.1", "Connection timed out"), RULES).class_ is BounceClass.NETWORK


def test_a_delay_without_a_reason_is_about_time() -> None:
    bounce = classify_bounce(report("Final-Recipient: rfc822; a@b.example\nAction: delayed\n"), RULES)
    assert bounce.kind is BounceKind.DELAY
    assert bounce.recipients[0].finding == Finding(BounceClass.EXPIRED)
