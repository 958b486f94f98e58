"""What is put on top, and what is changed, for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.queue.message import NewMessage
from relayd.routing.next_hop import MessageTls
from tests.reception.house import HOSTNAME, House, octets

RELAY: dict[str, Any] = {
    "rcpt": {"relay-domains": ["h.example"]},
    "known": {"1": {"domains": ["h.example"], "check": "any"}},
}
FULL = b"From: a@b.example\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <7@b.example>\r\n\r\nbody\r\n"


def received(message: NewMessage) -> str:
    head = message.body.head.decode()
    assert head.startswith("Received: ")
    return " ".join(head.split())


async def test_received_names_client_host_id_and_a_single_recipient(tmp_path: Path) -> None:
    rig = House(tmp_path)
    client = await rig.trusted(tls="TLSv1.3", tls_cipher="TLS_AES_256_GCM_SHA384")
    message = await rig.deliver(client, FULL, "b@far.example")
    text = received(message)
    assert text.startswith("Received: from client.example (client.example [127.0.0.1]) ")
    assert f"by {HOSTNAME} (relayd) with ESMTPS id {message.id} " in text
    assert "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)" in text
    assert "for <b@far.example>; Tue, 14 Nov 2023 22:13:20 +0000" in text


async def test_received_tells_no_recipient_of_another(tmp_path: Path) -> None:
    rig = House(tmp_path, server={"aliases": ["list: a@x.example, b@x.example"]})
    client = await rig.trusted()
    assert " for " not in received(await rig.deliver(client, FULL, "b@far.example", "c@far.example"))
    assert "for <list@" in received(await rig.deliver(client, FULL, f"list@{HOSTNAME}"))


@pytest.mark.parametrize(
    ("fields", "keyword"),
    [
        ({"esmtp": False}, "SMTP"),
        ({}, "ESMTP"),
        ({"tls": "TLSv1.2"}, "ESMTPS"),
        ({"account": "app"}, "ESMTPA"),
        ({"account": "app", "tls": "TLSv1.2"}, "ESMTPSA"),
    ],
)
async def test_received_names_the_protocol(tmp_path: Path, fields: dict[str, Any], keyword: str) -> None:
    rig = House(tmp_path, {"app": {"secret": "x", "emails": ["@sender.example", "a@b.example"]}})
    assert f" with {keyword} id " in received(await rig.deliver(await rig.trusted(**fields), FULL))


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        (b"TLS-Required: No\r\n", MessageTls.OPTIONAL),
        (b"tls-required : \r\n\t(it is\tnews) nO \r\n", MessageTls.OPTIONAL),
        (b"TLS-Required: Yes\r\n", MessageTls.USUAL),
        (b"TLS-Required: No, really\r\n", MessageTls.USUAL),
        (b"TLS-Required: No\r\n t\r\n", MessageTls.USUAL),
        (b"TLS-Required:\r\n", MessageTls.USUAL),
        (b"X-TLS-Required: No\r\n", MessageTls.USUAL),
        (b"", MessageTls.USUAL),
    ],
)
async def test_what_a_message_asks_of_tls(tmp_path: Path, field: bytes, asked: MessageTls) -> None:
    rig = House(tmp_path)
    assert (await rig.deliver(await rig.trusted(), b"Subject: x\r\n" + field + FULL)).tls is asked
    message = await rig.deliver(await rig.trusted(tls="TLSv1.3"), field + FULL, requiretls=True)
    assert message.tls is MessageTls.REQUIRED
    assert rig.delivery.jobs[-1].message.tls is MessageTls.REQUIRED


async def test_hide_client_leaves_submitters_out_and_strangers_in(tmp_path: Path) -> None:
    rig = House(tmp_path, {"app": {"secret": "s", "emails": ["a@b.example"]}}, received={"hide-client": True}, **RELAY)
    client = await rig.stranger(role="submission")
    await rig.reception.authenticate(client, "app", "s")
    hidden = received(await rig.deliver(client, FULL, sender="a@b.example"))
    assert "203.0.113.5" not in hidden
    assert "client.example" not in hidden
    assert "203.0.113.5" in received(await rig.deliver(await rig.stranger(), FULL, "b@h.example"))


async def test_from_a_stranger_every_octet_stays_as_it_came(tmp_path: Path) -> None:
    rig = House(tmp_path, **RELAY)
    for content in (
        b"",
        b"\r\n",
        b"no header at all\r\n",
        b"Bcc: x@y.example\r\nResent-Bcc: z@y.example\r\nSubject: x\r\n\r\n" + b"y" * 60_000 + b"\r\n",
        b"Subject : odd\r\n folded\r\n\tagain\r\n\r\n\xff\xfe\r\n",
        FULL,
    ):
        message = await rig.deliver(await rig.stranger(), content, "b@h.example")
        assert message.body.head.count(b"\r\n") == message.body.head.count(b"\r\n\t") + 1
        assert octets(message) == message.body.head + content


async def test_from_a_trusted_session_a_complete_message_stays_as_it_came(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), FULL)
    assert octets(message) == message.body.head + FULL
    assert message.body.head.count(b"\r\n") == message.body.head.count(b"\r\n\t") + 1


async def test_a_missing_date_and_message_id_are_added(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), b"Subject: Date: x\r\n\r\nDate: y\r\nMessage-ID: <z@z>\r\n")
    content = octets(message)
    assert b"\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n" in content
    assert message.message_id == f"<{message.id}@{HOSTNAME}>"
    assert f"\r\nMessage-ID: {message.message_id}\r\nSubject: Date: x\r\n\r\nDate: y".encode() in content


async def test_blind_recipients_are_taken_out_with_their_folds(tmp_path: Path) -> None:
    rig = House(tmp_path)
    content = b"To: c@d.example\r\nbCC : x@y.example,\r\n\tz@y.example\r\nResent-Bcc:\r\n w@y.example\r\n" + FULL
    message = await rig.deliver(await rig.trusted(), content)
    sent = octets(message)
    assert sent.endswith(b"+0000\r\nTo: c@d.example\r\n" + FULL)
    assert b"bcc" not in sent.lower()
    assert b"@y.example" not in sent


async def test_a_bcc_in_the_body_is_none_of_our_business(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), FULL + b"Bcc: x@y.example\r\n")
    assert octets(message).endswith(b"body\r\nBcc: x@y.example\r\n")


async def test_text_without_a_header_is_not_made_part_of_ours(tmp_path: Path) -> None:
    rig = House(tmp_path)
    content = octets(await rig.deliver(await rig.trusted(), b"Hello there\r\nDate: x\r\n"))
    header, _, body = content.partition(b"\r\n\r\n")
    assert b"Message-ID: <" in header
    assert b"\r\nDate: Tue, 14 Nov 2023" in header
    assert body == b"Hello there\r\nDate: x\r\n"


@pytest.mark.parametrize(
    ("field", "known"),
    [
        (b"Message-ID: <a@b>", "<a@b>"),
        (b"MESSAGE-ID:\r\n <a@b>", "<a@b>"),
        (b"Message-ID: none\r\nX: <a@b>", ""),
        (b"Message-ID:", ""),
        (b"Message-ID: <" + b"x" * 2000 + b">", ""),
        (b"Message-ID: <\xff@b>", "<\ufffd@b>"),
    ],
)
async def test_the_message_id_is_found(tmp_path: Path, field: bytes, known: str) -> None:
    rig = House(tmp_path)
    assert (await rig.deliver(await rig.trusted(), field + b"\r\nSubject: <c@d>\r\n\r\n")).message_id == known
