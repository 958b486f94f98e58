"""PROXY headers."""

from __future__ import annotations

import ipaddress

import pytest

from relayd.smtp.proxy import ProxyError, ProxyHeader, parse_proxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((0x20 | command, family)) + len(body).to_bytes(2, "big") + body


def addresses(source: str, destination: str) -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return packed + (56324).to_bytes(2, "big") + (25).to_bytes(2, "big")


V4 = ProxyHeader(False, "192.0.2.1", 56324, "198.51.100.1", 25)
V6 = ProxyHeader(False, "2001:db8::1", 56324, "2001:db8::2", 25)


@pytest.mark.parametrize(
    ("octets", "header"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n", V4),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 25\r\n", V6),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 56324 25\r\n", V4),
        (b"PROXY UNKNOWN\r\n", ProxyHeader(False)),
        (b"PROXY UNKNOWN whatever 1 2 3\r\n", ProxyHeader(False)),
        (v2(1, 0x11, addresses("192.0.2.1", "198.51.100.1")), V4),
        (v2(1, 0x21, addresses("2001:db8::1", "2001:db8::2")), V6),
        (v2(1, 0x21, addresses("::ffff:192.0.2.1", "::ffff:198.51.100.1")), V4),
        (v2(1, 0x11, addresses("192.0.2.1", "198.51.100.1") + b"\x04\0\x01x"), V4),
        (v2(0, 0x00, b""), ProxyHeader(True)),
        (v2(0, 0x11, addresses("192.0.2.1", "198.51.100.1")), ProxyHeader(True)),
        (v2(1, 0x00, b""), ProxyHeader(False)),
        (v2(1, 0x31, b"/" * 216), ProxyHeader(False)),
    ],
)
def test_a_header_is_taken_and_no_more(octets: bytes, header: ProxyHeader) -> None:
    assert parse_proxy(octets + b"EHLO x\r\n") == (header, len(octets))
    for end in range(len(octets)):
        assert parse_proxy(octets[:end]) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO x\r\n",
        b"PROXX",
        b"\r\n\r\n\0\r\nQUIX",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 056324 25\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 \xe9 198.51.100.1 1 2\r\n",
        b"PROXY UNKNOWN " + b"x" * 100,
        SIGNATURE + b"\x11\x11\0\x0c",
        SIGNATURE + b"\x22\x11\0\x0c",
        v2(1, 0x11, b"short"),
        v2(1, 0x41, b""),
        v2(1, 0x13, b""),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_anything_else_is_an_error(octets: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_proxy(octets)
