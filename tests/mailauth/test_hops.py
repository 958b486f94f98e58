"""The client before our own relays, in the words of several servers."""

from __future__ import annotations

import ipaddress

import pytest

from relayd.mailauth.hops import MAX_HOPS, first_stranger, read_hop
from relayd.options import parse_network

OURS = (parse_network("192.0.2.0/24"), parse_network("2001:db8:1::/48"))
STRANGER = b"from mail.example.com (mail.example.com [198.51.100.7]) by mx1.us.example (Postfix) with ESMTPS id 1; date"
INSIDE = b"from mx1.us.example (mx1.us.example [192.0.2.10]) by mx2.us.example with ESMTP id 2; date"
FORGED = b"from bank.example (bank.example [203.0.113.1]) by mail.example.com with SMTP id 3; date"


@pytest.mark.parametrize(
    ("value", "address", "helo"),
    [
        (STRANGER, "198.51.100.7", "mail.example.com"),
        (b"from h.example (r.example [IPv6:2001:db8::7]) by us; date", "2001:db8::7", "h.example"),
        (b"from [203.0.113.9] (unknown [198.51.100.7]) by us; date", "198.51.100.7", "[203.0.113.9]"),
        (b"from [198.51.100.7] (helo=h.example)\tby us with esmtp (Exim 4.96) id x; date", "198.51.100.7", "h.example"),
        (
            b"from [198.51.100.7] (helo=[203.0.113.9]) by us with esmtp (Exim 4.96) id x",
            "198.51.100.7",
            "[203.0.113.9]",
        ),
        (b"from r.example ([198.51.100.7]:4711 helo=h.example) by us with esmtps", "198.51.100.7", "h.example"),
        (b"from r.example ([198.51.100.7]) by us with esmtps (Exim)", "198.51.100.7", "r.example"),
        (
            b"from h.example (r.example [198.51.100.7] (may be forged)) by us (8.17.1/8.17.1)",
            "198.51.100.7",
            "h.example",
        ),
        (
            b"from h.example (198.51.100.7) by us.example (10.0.0.1) with Microsoft SMTP Server",
            "198.51.100.7",
            "h.example",
        ),
        (b"from H.example (2001:db8:a::1) by us.example (2001:db8:a::2) with Microsoft", "2001:db8:a::1", "H.example"),
        (b"from unknown (HELO h.example) (198.51.100.7) by us with SMTP; date", "198.51.100.7", "h.example"),
        (b"from h.example (r.example. [198.51.100.7])\tby mx.google.com with ESMTPS", "198.51.100.7", "h.example"),
        (b"from h (local [::ffff:198.51.100.7]) by us", "198.51.100.7", "h"),
        (b"FROM h.example ([198.51.100.7]) BY us", "198.51.100.7", "h.example"),
    ],
)
def test_how_servers_write_it(value: bytes, address: str, helo: str) -> None:
    found = read_hop(value)
    assert (str(found.address), found.helo) == (address, helo)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"by us.example (Postfix, from userid 1000) id 1; date",
        b"from h.example by us.example [203.0.113.9]; date",
        b"from h.example (r.example) by us.example",
        b"from h.example (r.example [999.1.1.1]) by us.example",
        b"from h.example (helo=[203.0.113.9]) by us",
        b"from (comment) [198.51.100.7] by us",
    ],
)
def test_what_names_no_client(value: bytes) -> None:
    found = read_hop(value)
    assert found.address is None
    assert found.problem


def test_the_first_hop_that_is_not_ours() -> None:
    found = first_stranger([INSIDE, STRANGER, FORGED], OURS)
    assert (str(found.address), found.helo, found.passed) == ("198.51.100.7", "mail.example.com", 2)


def test_a_filter_beside_the_relay_is_the_relay() -> None:
    beside = b"from localhost (localhost [127.0.0.1]) by mx1.us.example (Postfix) with ESMTP; date"
    assert str(first_stranger([beside, STRANGER], OURS).address) == "198.51.100.7"


@pytest.mark.parametrize(
    ("received", "problem"),
    [
        ([], "no Received"),
        ([INSIDE], "every hop"),
        ([INSIDE, b"by mx1.us.example (Postfix, from userid 0)", FORGED], "Received field 2"),
        ([INSIDE] * (MAX_HOPS + 1), "more than"),
    ],
)
def test_where_it_cannot_be_read_there_is_a_reason(received: list[bytes], problem: str) -> None:
    found = first_stranger(received, OURS)
    assert found.address is None
    assert problem in found.problem


def test_an_address_of_a_client_is_an_address() -> None:
    assert first_stranger([STRANGER], ()).address == ipaddress.ip_address("198.51.100.7")
