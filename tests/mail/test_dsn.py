"""Delivery status notifications."""

from __future__ import annotations

import binascii
import email
import email.message
from dataclasses import replace

import pytest

from relayd.mail.dsn import (
    MAX_RETURNED_HEADER,
    Action,
    DsnRequest,
    ReportedRecipient,
    compose_dsn,
    split_orcpt,
    status_of,
)
from relayd.mail.reply import Reply

NOW = 1667843664.0
FAILED = ReportedRecipient(
    address="gone@b.example",
    action=Action.FAILED,
    reply=Reply(550, "5.1.1", "No such user\nreally"),
    remote="mx.b.example",
    orcpt="rfc822;Old+2Bname@a.example",
    last_attempt=NOW - 5,
)
DELAYED = ReportedRecipient(
    address="slow@c.example",
    action=Action.DELAYED,
    reply=Reply(421, "4.4.2", "Connection lost"),
    will_retry_until=NOW + 86400,
)
REQUEST = DsnRequest(
    hostname="mx.example.org",
    now=NOW,
    message_id="<1@mx.example.org>",
    boundary="5eed",
    to="sender@x.example",
    recipients=(FAILED,),
    queue_id="217700302698266624",
    arrival=NOW - 60,
    envid="QQ+20314",
    original_message_id="<orig@x.example>",
    header=b"From: sender@x.example\r\nSubject: hi\r\n",
)


def parts_of(content: bytes) -> tuple[email.message.Message, list[email.message.Message]]:
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(content)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3
    return message, [part for part in parts if isinstance(part, email.message.Message)]


def global_text(content: bytes, kind: str) -> str:
    """Decoded text of a message/global* part, which `email` takes for a message that is not encoded."""
    part = next(part for part in content.split(b"\r\n--relayd-5eed") if f"Content-Type: {kind}\r\n".encode() in part)
    header, _, body = part.partition(b"\r\n\r\n")
    assert b"Content-Transfer-Encoding: quoted-printable" in header
    return binascii.a2b_qp(body).decode().replace("\r\n", "\n")


def text_of(part: email.message.Message) -> str:
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode().replace("\r\n", "\n")


def test_a_failure_is_reported_to_people_and_programs() -> None:
    content = compose_dsn(REQUEST)
    message, (text, status, returned) = parts_of(content)
    assert content.isascii()
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example.org>"
    assert message["To"] == "<sender@x.example>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["References"] == message["In-Reply-To"] == "<orig@x.example>"
    assert message["Message-ID"] == "<1@mx.example.org>"
    assert message["Date"] == "Mon, 07 Nov 2022 17:54:24 +0000"
    assert "Undelivered" in message["Subject"]
    for word in (
        "<gone@b.example>",
        "you wrote to Old+name@a.example",
        "550 5.1.1 No such user really",
        "not be tried",
    ):
        assert word in text_of(text)
    groups = status.get_payload()
    assert isinstance(groups, list)
    about, recipient = groups
    assert isinstance(about, email.message.Message)
    assert isinstance(recipient, email.message.Message)
    assert dict(about.items()) == {
        "Original-Envelope-Id": "QQ 314",
        "Reporting-MTA": "dns; mx.example.org",
        "Arrival-Date": "Mon, 07 Nov 2022 17:53:24 +0000",
    }
    assert dict(recipient.items()) == {
        "Original-Recipient": "rfc822;Old+name@a.example",
        "Final-Recipient": "rfc822;gone@b.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.b.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user really",
        "Last-Attempt-Date": "Mon, 07 Nov 2022 17:54:19 +0000",
    }
    assert returned.get_content_type() == "text/rfc822-headers"
    assert text_of(returned) == "From: sender@x.example\nSubject: hi\n"


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        (Action.FAILED, "Undelivered mail"),
        (Action.DELAYED, "Delayed mail"),
        (Action.DELIVERED, "Successful mail delivery"),
        (Action.RELAYED, "relayed"),
        (Action.EXPANDED, "list"),
    ],
)
def test_the_subject_says_what_kind_of_report_it_is(action: Action, subject: str) -> None:
    recipient = replace(FAILED, action=action, reply=None)
    message, (text, status, _) = parts_of(compose_dsn(replace(REQUEST, recipients=(recipient,))))
    assert subject in message["Subject"]
    assert f"Action: {action.value}\n" in status.as_string()
    assert "<gone@b.example>" in text_of(text)


def test_recipients_are_grouped_by_what_happened_to_them() -> None:
    message, (text, status, _) = parts_of(compose_dsn(replace(REQUEST, recipients=(DELAYED, FAILED))))
    assert message["Subject"] == "Delivery status report"
    body = text_of(text)
    assert body.index("<gone@b.example>") < body.index("still being tried") < body.index("<slow@c.example>")
    assert "Reason: Connection lost" in body
    assert "tried until Tue, 08 Nov 2022 17:54:24 +0000" in body
    fields = status.as_string()
    assert "Will-Retry-Until: Tue, 08 Nov 2022 17:54:24 +0000" in fields
    assert "Diagnostic-Code: x-relayd; 421 4.4.2 Connection lost" in fields


def test_the_whole_message_comes_back_when_it_is_given() -> None:
    original = b"From: a@b\r\n\r\nb\xc3\xb6dy\r\n"
    content = compose_dsn(replace(REQUEST, content=original))
    message, (_, _, returned) = parts_of(content)
    assert returned.get_content_type() == "message/rfc822"
    assert message["Content-Transfer-Encoding"] == returned["Content-Transfer-Encoding"] == "8bit"
    assert original in content
    plain = compose_dsn(replace(REQUEST, content=b"From: a@b\r\n\r\nbody\r\n"))
    assert b"8bit" not in plain


def test_internationalized_addresses_have_their_own_types() -> None:
    recipient = replace(FAILED, address="é@b.example", orcpt=r"utf-8;\x{E8}@b.example", reply=Reply(550, "5.1.1", "né"))
    content = compose_dsn(replace(REQUEST, recipients=(recipient,), header="From: é@b\r\n".encode()))
    assert content.isascii()
    _, (text, status, returned) = parts_of(content)
    assert status.get_content_type() == "message/global-delivery-status"
    fields = global_text(content, "message/global-delivery-status")
    assert "Final-Recipient: utf-8;é@b.example\n" in fields
    assert "Original-Recipient: utf-8;è@b.example\n" in fields
    assert "550 5.1.1 né" in fields
    assert returned.get_content_type() == "message/global-headers"
    assert global_text(content, "message/global-headers") == "From: é@b\n"
    assert "<é@b.example> (you wrote to è@b.example)" in text_of(text)
    whole = replace(REQUEST, international=True, header="From: é@b\r\n".encode(), content="From: é@b\r\n\r\nx".encode())
    content = compose_dsn(whole)
    _, (_, _, returned) = parts_of(content)
    assert returned.get_content_type() == "message/global"
    assert global_text(content, "message/global") == "From: é@b\n\nx"


def test_a_report_that_is_not_international_stays_ascii() -> None:
    recipient = replace(FAILED, orcpt=r"utf-8;\x{E9}@b.example", reply=Reply(550, "", "né\0\x1b"))
    content = compose_dsn(replace(REQUEST, recipients=(recipient,), header=b"Subject: \xe9\r\n"))
    assert content.isascii()
    _, (_, status, returned) = parts_of(content)
    assert status.get_content_type() == "message/delivery-status"
    assert r"Original-Recipient: utf-8;\x{E9}@b.example" in status.as_string()
    assert "Diagnostic-Code: smtp; 550 n?\n" in status.as_string()
    assert "Status: 5.0.0" in status.as_string()
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_content_charset() == "unknown-8bit"
    assert returned.get_payload(decode=True) == b"Subject: \xe9\r\n"


def test_nothing_a_peer_said_adds_a_field() -> None:
    evil = "x\r\nBcc: victim@y.example\r\n\r\n--relayd-5eed--"
    recipient = replace(FAILED, reply=Reply(550, "5.1.1", evil), remote=evil, orcpt="rfc822;a+0D+0ABcc:b")
    request = replace(REQUEST, recipients=(recipient,), envid="a+0D+0ABcc:b", original_message_id=evil)
    message, (_, status, _) = parts_of(compose_dsn(request))
    assert "Bcc" not in message
    groups = status.get_payload()
    assert isinstance(groups, list)
    assert len(groups) == 2
    assert all("Bcc" not in each for each in groups)


def test_the_boundary_is_in_no_part() -> None:
    content = compose_dsn(replace(REQUEST, content=b"A: b\r\n\r\n--relayd-5eed\r\n--relayd-5eed-1\r\n"))
    message, (_, _, returned) = parts_of(content)
    assert message.get_boundary() == "relayd-5eed-2"
    assert "--relayd-5eed-1" in returned.as_string()


def test_long_texts_and_headers_are_kept_within_bounds() -> None:
    recipient = replace(FAILED, reply=Reply(550, "5.1.1", "x" * 60_000), remote="y" * 5000)
    header = b"X-Long: " + b"z" * 5000 + b"\r\n" + b"A: b\r\n" * 30_000
    content = compose_dsn(replace(REQUEST, recipients=(recipient,), header=header))
    _, (_, _, returned) = parts_of(content)
    octets = returned.get_payload(decode=True)
    assert isinstance(octets, bytes)
    assert len(octets) <= MAX_RETURNED_HEADER
    assert octets.endswith(b"A: b\r\n")
    assert header.startswith(octets)


def test_a_status_has_the_class_of_its_reply() -> None:
    assert status_of(Reply(550, "5.1.1", ""), Action.FAILED) == "5.1.1"
    assert status_of(Reply(432, "6.8.9", ""), Action.DELAYED) == "4.0.0"
    assert status_of(Reply(550, "", ""), Action.FAILED) == "5.0.0"
    assert status_of(Reply(354, "", ""), Action.DELAYED) == "4.0.0"
    assert status_of(None, Action.FAILED) == "5.0.0"
    assert status_of(None, Action.DELIVERED) == "2.0.0"
    explicit = replace(FAILED, status="5.4.7")
    assert b"Status: 5.4.7\r\n" in compose_dsn(replace(REQUEST, recipients=(explicit,)))


def test_original_recipients_have_a_type() -> None:
    assert split_orcpt("RFC822;a+2Bb@c") == ("rfc822", "a+b@c")
    assert split_orcpt(r"utf-8;\x{E9}@c") == ("utf-8", "é@c")
    assert split_orcpt("utf-8;é@c") == ("utf-8", "é@c")
    assert split_orcpt("x400;/C+3Dde/") == ("x400", "/C=de/")
    for orcpt in ("", "rfc822", "rfc822;", ";a@b", "rfc822;a+zz"):
        assert split_orcpt(orcpt) is None


@pytest.mark.parametrize("recipient", [FAILED, DELAYED])
def test_a_copy_that_may_have_arrived_is_owned_up_to(recipient: ReportedRecipient) -> None:
    maybe = replace(recipient, maybe_delivered=NOW - 3600)
    _, (text, status, _) = parts_of(compose_dsn(replace(REQUEST, recipients=(maybe, FAILED))))
    assert (
        str(text.get_payload()).count("A copy may have arrived all the same: on Mon, 07 Nov 2022 16:54:24 +0000") == 1
    )
    assert status.as_string().count("X-Relayd-Maybe-Delivered: Mon, 07 Nov 2022 16:54:24 +0000") == 1
