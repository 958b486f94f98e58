"""Clients from outside, who come through a load balancer: what they may do, and which recipients exist."""

from __future__ import annotations

import smtplib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port
from tests.rig.sink import Delivery, Sink


@dataclass
class House:
    """A relay for listed.test, file.test, probed.test and any.test before a host that knows good@probed.test."""

    relay: Daemon
    sink: Sink
    port: int
    names: list[str]

    def stranger(self) -> Proxied:
        """A client at 198.51.100.7."""
        client = Proxied(self.port)
        client.ehlo()
        return client


@pytest.fixture(scope="module")
def house(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    names: list[str] = []

    def knows(verb: str, argument: str, delivery: Delivery) -> str | None:
        if verb == "RCPT":
            names.append(argument)
            if "probed.test" in argument and "good@" not in argument:
                return "550 5.1.1 no such user"
        return None

    file = tmp_path_factory.mktemp("known") / "recipients"
    file.write_text("# who lives there\ninfo\n")
    port = free_port()
    with Sink(answer=knows) as sink:
        settings = {
            "server.listener.outside.bind": [f"127.0.0.1:{port}"],
            "server.listener.outside.proxy-protocol": ["127.0.0.0/8"],
            "session.rcpt.relay-domains": ["listed.test", "file.test", "probed.test", "any.test"],
            "session.rcpt.known.a.domains": ["listed.test"],
            "session.rcpt.known.a.check": "list",
            "session.rcpt.known.a.list": ["info"],
            "session.rcpt.known.b.domains": ["file.test"],
            "session.rcpt.known.b.check": "file",
            "session.rcpt.known.b.file": str(file),
            "session.rcpt.known.c.domains": ["any.test"],
            "session.rcpt.known.c.check": "any",
            "server.postmaster": "ops@any.test",
        }
        yield House(module_relay(sink.port, settings), sink, port, names)


def rcpt(house: House, address: str) -> tuple[int, str]:
    with house.stranger() as client:
        client.mail("a@outside.test")
        code, text = client.docmd("RCPT", f"TO:<{address}>")  # as it is: smtplib has its own idea of addresses
        return code, text.decode()


@pytest.mark.parametrize(
    "address",
    [
        "b@elsewhere.test",
        "b%elsewhere.test@any.test",
        "elsewhere.test!b@any.test",
        '"b@elsewhere.test"@any.test',
        "b@[192.0.2.9]",
        "b@[IPv6:::ffff:192.0.2.9]",
        "b@sub.any.test",
    ],
)
def test_a_stranger_cannot_relay(house: House, address: str) -> None:
    code, text = rcpt(house, address)
    assert 550 <= code <= 554, (address, text)
    assert text.startswith(("5.7.1 ", "5.1."))


def test_a_source_route_is_stripped_and_what_remains_decides(house: House) -> None:
    assert rcpt(house, "@any.test:b@elsewhere.test")[0] == 550
    assert rcpt(house, "@elsewhere.test:b@any.test")[0] == 250


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("info@listed.test", 250),
        ("nobody@listed.test", 550),
        ("info@file.test", 250),
        ("nobody@file.test", 550),
        ("good@probed.test", 250),
        ("bad@probed.test", 550),
        ("whoever@any.test", 250),
        ("postmaster@listed.test", 250),
        ("postmaster", 250),
    ],
)
def test_a_recipient_is_known_before_its_250(house: House, address: str, code: int) -> None:
    assert rcpt(house, address)[0] == code


def test_a_probe_is_asked_once_and_remembered(house: House) -> None:
    for _ in range(2):
        assert rcpt(house, "unheard-of@probed.test")[0] == 550
    assert sum("unheard-of@" in each for each in house.names) == 1


def test_an_outsider_s_mail_arrives_with_the_address_that_proxy_v1_gave(house: House) -> None:
    with house.stranger() as client:
        client.sendmail("a@outside.test", ["v1@any.test"], message())
    delivery = house.sink.wait_for_one(lambda each: "v1@any.test" in each.recipients)
    assert b"[198.51.100.7]" in delivery.content.partition(b"\r\n\r\n")[0]


def test_proxy_v2_gives_an_ipv6_address(house: House) -> None:
    addresses = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    header = b"\r\n\r\n\x00\r\nQUIT\n\x21\x21" + struct.pack("!H", 36) + addresses + struct.pack("!HH", 4711, 25)
    with Proxied(house.port, header) as client:
        client.sendmail("a@outside.test", ["v2@any.test"], message())
    delivery = house.sink.wait_for_one(lambda each: "v2@any.test" in each.recipients)
    assert b"[IPv6:2001:db8::7]" in delivery.content.partition(b"\r\n\r\n")[0]


def test_without_the_header_a_proxied_listener_does_not_talk(house: House) -> None:
    with pytest.raises(smtplib.SMTPServerDisconnected):
        Proxied(house.port, b"EHLO client.test\r\n")


def test_a_loop_through_this_host_is_refused(house: House) -> None:
    ours = "Received: from a.test by relay.test with ESMTP; Sat, 21 Nov 2026 05:00:00 +0000\r\n"
    with house.stranger() as client:
        client.mail("a@outside.test")
        client.rcpt("loop@any.test")
        assert client.data((ours * 10).encode() + message())[0] == 250
        client.mail("a@outside.test")
        client.rcpt("loop@any.test")
        code, text = client.data((ours * 11).encode() + message())
    assert (code, text[:5]) == (554, b"5.4.6")


def test_a_stranger_is_not_offered_what_is_for_trusted_sessions(house: House) -> None:
    with house.stranger() as client:
        assert not client.has_extn("dsn")
        code, text = client.mail("a@outside.test", ["RET=HDRS"])
        assert (code, text[:5]) == (555, b"5.5.4")


def test_postmaster_s_mail_goes_to_who_is_configured(house: House) -> None:
    with house.stranger() as client:
        client.sendmail("pm@outside.test", ["postmaster@listed.test"], message())
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "pm@outside.test")
    assert delivery.recipients == ["ops@any.test"]
