"""Received fields and what is counted of them."""

from __future__ import annotations

from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest

from relayd.mail.trace import ReceivedInfo, count_received, message_id, received_field, rfc5322_date, with_keyword

NOW = 1667843664.5
INFO = ReceivedInfo(
    hostname="mx.example.org",
    queue_id="217700302698266624",
    now=NOW,
    helo="client.example",
    client_name="host.client.example",
    client_address="192.0.2.1",
)


def test_the_field_says_who_gave_what_to_whom() -> None:
    assert received_field(INFO) == (
        b"Received: from client.example (host.client.example [192.0.2.1])\r\n"
        b"\tby mx.example.org (relayd) with ESMTP id 217700302698266624;\r\n"
        b"\tMon, 07 Nov 2022 17:54:24 +0000\r\n"
    )
    full = replace(
        INFO,
        client_address="2001:db8::1",
        tls="TLSv1.3",
        tls_cipher="TLS_AES_256_GCM_SHA384",
        authenticated=True,
        account="joe",
        recipient="a@b.example",
    )
    assert received_field(full) == (
        b"Received: from client.example (host.client.example [IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.org (relayd) with ESMTPSA id 217700302698266624\r\n"
        b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)\r\n"
        b"\t(authenticated as joe)\r\n"
        b"\tfor <a@b.example>;\r\n"
        b"\tMon, 07 Nov 2022 17:54:24 +0000\r\n"
    )


def test_a_hidden_client_leaves_no_trace_of_itself() -> None:
    octets = received_field(replace(INFO, hide_client=True))
    assert octets.startswith(b"Received: by mx.example.org (relayd) with ESMTP id ")
    assert b"client" not in octets
    assert b"192.0.2.1" not in octets


def test_a_client_on_a_unix_socket_is_local() -> None:
    assert b"from unknown (local)\r\n" in received_field(replace(INFO, helo="", client_address=""))
    assert b"from box (local, uid 1000)\r\n" in received_field(replace(INFO, helo="box", client_address="", uid=1000))


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"esmtp": False}, "SMTP"),
        ({}, "ESMTP"),
        ({"tls": "TLSv1.3"}, "ESMTPS"),
        ({"authenticated": True}, "ESMTPA"),
        ({"tls": "TLSv1.2", "authenticated": True}, "ESMTPSA"),
        ({"lmtp": True}, "LMTP"),
        ({"lmtp": True, "tls": "TLSv1.3", "authenticated": True}, "LMTPSA"),
        ({"smtputf8": True}, "UTF8SMTP"),
        ({"smtputf8": True, "tls": "TLSv1.3"}, "UTF8SMTPS"),
        ({"smtputf8": True, "lmtp": True, "authenticated": True}, "UTF8LMTPA"),
    ],
)
def test_protocols_have_their_registered_names(changes: dict[str, object], keyword: str) -> None:
    assert with_keyword(replace(INFO, **changes)) == keyword  # type: ignore[arg-type]


@pytest.mark.parametrize("attack", ["x\r\nBcc: a@b", "x) by evil (", "x;\n y", "x\0\x1b[2J", 'x" \\', "é" * 2000])
def test_peers_put_nothing_into_the_field(attack: str) -> None:
    octets = received_field(
        replace(
            INFO,
            helo=attack,
            client_name=attack,
            client_address=attack,
            tls=attack,
            tls_cipher=attack,
            account=attack,
            recipient=attack,
        )
    )
    plain = received_field(
        replace(INFO, tls="x", tls_cipher="x", account="x", recipient="x", helo="x", client_name="x")
    )
    assert octets.count(b"\r\n") == plain.count(b"\r\n")
    for octet in (b"\r", b"\n"):
        assert octets.count(octet) == octets.count(b"\r\n")
    outside_for = octets[: octets.index(b"\tfor <")]
    assert outside_for.count(b"(") == outside_for.count(b")") == 4
    assert b"\0" not in octets
    assert b"\x1b" not in octets
    assert max(map(len, octets.split(b"\r\n"))) <= 998 or attack.startswith("é")


def test_received_fields_are_counted_and_our_own_among_them() -> None:
    header = b"From: a@b\r\n" + received_field(INFO) * 3
    other = b"RECEIVED : from x (by mx.example.org.evil)\r\n by other.example with SMTP; now\r\n"
    assert count_received(header + other, "MX.Example.ORG") == (4, 3)
    assert count_received(other + b"Subject: received: by mx.example.org\r\n", "mx.example.org") == (1, 0)
    assert count_received(b"Received-SPF: pass by mx.example.org\r\nX: y\r\n", "mx.example.org") == (0, 0)
    assert count_received(b"Received: by mx.example.org;\r\n now", "mx.example.org") == (1, 1)
    assert count_received(b"Received: by mx.example.org(x)", "mx.example.org") == (1, 1)
    assert count_received(b"Received: x\r\nFor: by mx.example.org ", "mx.example.org") == (1, 0)
    assert count_received(b"", "mx.example.org") == (0, 0)


def test_dates_and_ids() -> None:
    assert rfc5322_date(0) == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert parsedate_to_datetime(rfc5322_date(NOW)).timestamp() == int(NOW)
    assert message_id(128, "mx.example.org") == "<128@mx.example.org>"
