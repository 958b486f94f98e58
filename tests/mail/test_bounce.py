"""Bounces without a standard, told from other mail, and what they say of whom."""

from __future__ import annotations

import pytest

from relayd.mail.bounce import BounceKind, read_bounce
from relayd.mail.bounce_text import Step, addresses_in, find_mentions, split_returned, step_of


def letter(
    text: str, *, sender: str = "MAILER-DAEMON@mx.example", subject: str = "failure notice", more: str = ""
) -> bytes:
    """A message of one text."""
    return f"From: {sender}\nTo: me@our.example\nSubject: {subject}\n{more}\n{text}".encode()


@pytest.mark.parametrize(
    ("text", "addresses", "step"),
    [
        ("Hi.\n<a@b.example>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 no\n\n"
         "--- Below this line is a copy of the message.\n\nTo: z@z.example\n", ["a@b.example"], Step.RCPT),
        ("The following failed:\n\n  a@b.example\n    SMTP error after end of data:\n  c@d.example\n    x\n",
         ["a@b.example", "c@d.example"], Step.DOT),
        ("----- Transcript of session follows -----\n554 <a@b.example>... 550 Host unknown\n", ["a@b.example"], None),
        ("Your message to <a@b.example> could not be delivered. Please contact <help@mx.example>.\n",
         ["a@b.example"], None),
        ("a@b.example: 550 5.1.1 no such user\n", ["a@b.example"], None),
        ("Recipient: <a@b.example>\n>>> MAIL FROM:<me@our.example>\n<<< 550 no\n", ["a@b.example"], Step.MAIL),
        ("Not delivered.\n\n----- Original message -----\nFrom: me@our.example\nTo: a@b.example\n",
         ["a@b.example"], None),
    ],
)  # fmt: skip
def test_recipients_of_free_texts(text: str, addresses: list[str], step: Step | None) -> None:
    bounce = read_bounce(letter(text))
    assert bounce.kind is BounceKind.FAILURE
    assert [each.address for each in bounce.recipients] == addresses
    assert bounce.recipients[0].step is step


def test_sections_are_each_recipients_own() -> None:
    mentions = find_mentions("a@b.example:\n  full\nc@d.example:\n  unknown\n", ())
    assert [(each.address, each.section.split()[1]) for each in mentions] == [
        ("a@b.example", "full"),
        ("c@d.example", "unknown"),
    ]


def test_failed_recipients_of_the_header_go_before_the_text() -> None:
    bounce = read_bounce(
        letter("kitten@our.example:\nit failed\n", more="X-Failed-Recipients: a@b.example,\n c@d.example\n")
    )
    assert [each.address for each in bounce.recipients] == ["a@b.example", "c@d.example"]


def test_a_warning_is_a_delay() -> None:
    text = "THIS IS A WARNING MESSAGE ONLY.\nDelivery has been delayed:\n\n a@b.example\n"
    assert read_bounce(letter(text)).kind is BounceKind.DELAY


@pytest.mark.parametrize(
    ("content", "kind", "addresses"),
    [
        (letter("I am away.", sender="a@b.example", subject="Automatic reply: x"),
         BounceKind.AUTO_REPLY, ["a@b.example"]),
        (letter("I am away.", sender="a@b.example", subject="x", more="Auto-Submitted: auto-replied\n"),
         BounceKind.AUTO_REPLY, ["a@b.example"]),
        (letter("Hello c@d.example", sender="a@b.example", subject="Lunch?"), BounceKind.OTHER, []),
        (letter("", sender="a@b.example", subject="unsubscribe", more="Auto-Submitted: auto-replied\n"),
         BounceKind.FEEDBACK, ["a@b.example"]),
        (letter('{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"a@b.example",'
                '"status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 no"}]},"mail":{}}\n\n--\nStop?',
                sender="x@sns.example"),
         BounceKind.FAILURE, ["a@b.example"]),
        (letter('{"notificationType":"Complaint","complaint":{"complainedRecipients":[{"emailAddress":"a@b.example"}]},'
                '"mail":{}}', sender="x@sns.example"), BounceKind.FEEDBACK, ["a@b.example"]),
        (b"Content-Type: multipart/report; report-type=feedback-report; boundary=x\n\n--x\n\ncomplaint\n--x\n"
         b"Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: <a@b.example>\n--x--\n",
         BounceKind.FEEDBACK, ["a@b.example"]),
        (b"", BounceKind.OTHER, []),
    ],
)  # fmt: skip
def test_kinds_of_mail(content: bytes, kind: BounceKind, addresses: list[str]) -> None:
    bounce = read_bounce(content)
    assert (bounce.kind, [each.address for each in bounce.recipients]) == (kind, addresses)


def test_a_bounce_of_a_bounce_is_about_the_outer_recipient() -> None:
    inner = "Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; z@z.example\nAction: failed\n"
    content = (
        "From: MAILER-DAEMON@mx.example\nContent-Type: multipart/report; boundary=x\n\n--x\n"
        "Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\n\n--x\n"
        f"Content-Type: message/rfc822\n\nContent-Type: multipart/report; boundary=y\n\n--y\n{inner}--y--\n--x--\n"
    )
    assert [each.address for each in read_bounce(content.encode()).recipients] == ["a@b.example"]


def test_texts_taken_apart() -> None:
    assert split_returned("a\nb\n  ---- Original message ----\nc") == ("a\nb", "  ---- Original message ----\nc")
    assert split_returned("The original message was received\nx")[1] == ""
    assert addresses_in("<a@b.example>, 'c@d.example'. @ e@ A@B.example") == ["a@b.example", "c@d.example"]
    assert step_of(">>> DATA\n<<< 550 no\nRCPT TO") is Step.DATA
    assert step_of("no") is None
