"""Any octets are read as a bounce and classified: nothing raises, twice the octets cost twice as much."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.config.bounces import shipped_rules
from relayd.mail.bounce import BounceKind
from relayd.mail.delivery_status import MAX_RECIPIENTS, read_delivery_status
from relayd.mail.reading import MAX_TEXT, read_parts
from relayd.mail.reply import Reply
from relayd.routing.bounce_class import UNKNOWN, classify_bounce, classify_reply
from relayd.routing.bounce_rules import MAX_TEXT as MAX_PREPARED
from relayd.routing.bounce_rules import build_rules, prepared
from tests.fuzz.counting import steps

RULES = build_rules(shipped_rules())

LINES = st.sampled_from(
    [
        *(
            b"From: MAILER-DAEMON@mx.example",
            b"Subject: Undelivered Mail Returned to Sender",
            b"X-Failed-Recipients: a@b",
        ),
        *(b"Content-Type: multipart/report; boundary=x", b"--x", b"--x--", b"Content-Type: message/delivery-status"),
        *(
            b"Content-Type: message/rfc822",
            b"Content-Transfer-Encoding: base64",
            b"Content-Type: text/plain; charset=utf-7",
        ),
        *(b"Final-Recipient: rfc822; a@b.example", b"Action: failed", b"Status: 5.1.1", b"Original-Recipient: ;;"),
        *(b"Diagnostic-Code: smtp; 550 5.1.1 user unknown", b"Content-Type: message/feedback-report", b"", b"", b""),
        *(
            b"<c@d.example>: host said: 552 mailbox full",
            b'{"mail":{},"bounce":{"bouncedRecipients":[{}]}}',
            b">>> DATA",
        ),
        *(b"Feedback-Type: abuse", b"=?utf-8?b?=?=", b"Auto-Submitted: auto-replied", b"----- Original message -----"),
        *(b"Content-Type: text/html", b"\x1b$B%f!<", b"\xff\xfe\x00", b"Content-Type: message/global-delivery-status"),
    ]
)
MESSAGES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(LINES, st.binary(max_size=40)), max_size=30).map(b"\r\n".join),
    st.lists(LINES, max_size=30).map(b"\n".join),
)


@given(MESSAGES)
@example(b"")
@example(b"\r\n\r\n")
@example(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 5000)
@example(b"From: mailer-daemon@x\r\n\r\n" + b'{"mail":' + b"[" * 20000)
@example(b"Content-Type: text/plain; charset=punycode\r\nFrom: postmaster@x\r\n\r\nab-cd could not be delivered")
def test_any_octets_are_classified(content: bytes) -> None:
    bounce = classify_bounce(content, RULES)
    for recipient in bounce.recipients:
        assert recipient.address
        assert (recipient.finding is None) == (recipient.kind not in (BounceKind.FAILURE, BounceKind.DELAY))
        if recipient.finding is not None and recipient.finding.hard:
            assert recipient.finding.rule


@given(st.integers(200, 599), st.sampled_from(["", "5.1.1", "4.2.2", "5.0.0", "9"]), st.text(max_size=300), st.text())
def test_any_reply_is_classified(code: int, enhanced: str, text: str, host: str) -> None:
    finding = classify_reply(Reply(code, enhanced, text), RULES, step="RCPT", host=host)
    assert finding == UNKNOWN or finding.rule
    if code < 500 and not enhanced:
        assert not finding.hard


@given(st.text(max_size=300))
def test_what_phrases_are_looked_for_in_is_bounded_and_settled(text: str) -> None:
    once = prepared(text)
    assert len(once) <= MAX_PREPARED + 3
    assert "\n" not in once
    assert "  " not in once


@given(st.text(max_size=400))
def test_any_text_is_read_for_delivery_status_fields(text: str) -> None:
    assert len(read_delivery_status(text).recipients) <= MAX_RECIPIENTS


def test_recipients_parts_and_texts_are_bounded() -> None:
    blocks = "".join(f"Final-Recipient: rfc822; u{number}@b.example\nAction: failed\n\n" for number in range(3000))
    assert len(read_delivery_status(blocks).recipients) == MAX_RECIPIENTS
    parts = read_parts(b"Subject: x\r\n\r\n" + b"y" * (MAX_TEXT * 2))
    assert len(parts[1].text) == MAX_TEXT


HOSTILE = {
    "addresses": b"From: postmaster@x\r\n\r\n" + b"a@b " * 3000,
    "heads": b"From: postmaster@x\r\n\r\n" + b"<a@b>:\r\n" * 3000,
    "atoms": b"From: postmaster@x\r\n\r\n" + b"a." * 6000,
    "signs": b"From: postmaster@x\r\n\r\n" + b"@" * 12000,
    "tags": b"From: postmaster@x\r\nContent-Type: text/html\r\n\r\n" + b"<a " * 4000,
    "words": b"Subject: " + b"=?a?b?" * 2000 + b"\r\n\r\nx",
    "fields": b"From: postmaster@x\r\n\r\n" + b"Diagnostic-Code: smtp; 550\r\n" * 1000,
    "folded": b"From: postmaster@x\r\n\r\nDiagnostic-Code: smtp; 550\r\n" + b" folded\r\n" * 2000,
    "blocks": b"From: postmaster@x\r\n\r\n" + b"Final-Recipient: x;a@b\r\nAction: failed\r\n\r\n" * 300,
    "parts": b"Content-Type: multipart/report; boundary=x\r\n\r\n" + b"--x\r\n\r\nmailbox full\r\n" * 400,
    "returned": b"From: postmaster@x\r\n\r\n" + b"Original message:\r\n" * 1000,
    "mailbox": b"From: postmaster@x\r\n\r\n<a@b>: " + b"mailbox " * 1500,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_cost_grows_with_the_octets_and_no_faster(name: str) -> None:
    head, blank, body = HOSTILE[name].partition(b"\r\n\r\n")
    if name == "words":
        small, large = HOSTILE[name], b"Subject: " + b"=?a?b?" * 4000 + b"\r\n\r\nx"
    else:
        small, large = HOSTILE[name], head + blank + body * 2
    assert steps(lambda: classify_bounce(large, RULES)) < 2.5 * steps(lambda: classify_bounce(small, RULES)) + 500
