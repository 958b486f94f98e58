"""Direct delivery by a real DNS server: which host of a domain gets the mail, and what is said when none can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.journeys.conftest import StartRelay, send, wait_gone, wait_status
from tests.rig.daemon import Daemon
from tests.rig.dns import DnsServer, serving_in_thread
from tests.rig.postfix import free_port
from tests.rig.sink import Delivery, Sink

NAMES: dict[str, dict[str, list[str] | str]] = {
    "sender.test": {"MX": ["10 up.test."]},
    "up.test": {"A": ["127.0.0.2"]},
    "other.test": {"A": ["127.0.0.3"]},
    "down.test": {"A": ["127.0.0.9"]},
    "first-down.test": {"MX": ["10 down.test.", "20 up.test."]},
    "first-refuses.test": {"MX": ["10 other.test.", "20 up.test."]},
    "null.test": {"MX": ["0 ."]},
    "implicit.test": {"A": ["127.0.0.2"]},
    "alias.test": {"CNAME": ["first-down.test."]},
    "ours.test": {"MX": ["10 relay.test.", "20 up.test."]},
    "ours-second.test": {"MX": ["10 down.test.", "20 relay.test.", "20 other.test.", "30 up.test."]},
    "no-address.test": {"MX": ["10 nowhere.test."]},
    "servfail.test": {"*": "SERVFAIL"},
    "six.test": {"AAAA": ["::1"]},
}


@dataclass
class House:
    """A relay, the DNS it asks, and hosts at 127.0.0.2, 127.0.0.3 (greets with 554) and ::1."""

    relay: Daemon
    dns: DnsServer
    up: Sink
    refusing: Sink
    six: Sink


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    port = free_port()

    def refuse(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "554 5.3.2 not today" if verb == "CONNECT" else None

    with (
        serving_in_thread(NAMES) as dns,
        Sink(port=port, address="127.0.0.2") as up,
        Sink(port=port, address="127.0.0.3", answer=refuse) as refusing,
        Sink(port=port, address="::1") as six,
    ):
        settings = {
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "queue.outbound.port": port,
            "queue.schedule.retry": ["10m"],
        }
        yield House(module_relay(None, settings), dns, up, refusing, six)


def delivered(sink: Sink, recipient: str) -> Delivery:
    return sink.wait_for_one(lambda each: each.recipients == [recipient])


def report_about(house: House, recipient: str) -> bytes:
    """The bounce that came back to a@sender.test."""
    wanted = f"Final-Recipient: rfc822;{recipient}".encode()
    delivery = house.up.wait_for_one(lambda each: each.return_path == "" and wanted in each.content)
    assert delivery.recipients == ["a@sender.test"]
    return delivery.content


def test_the_first_mx_is_down_and_the_second_is_used(house: House) -> None:
    send(house.relay, to="b@first-down.test")
    delivered(house.up, "b@first-down.test")


def test_the_first_mx_refuses_in_its_banner_and_the_second_is_used(house: House) -> None:
    send(house.relay, to="b@first-refuses.test")
    delivered(house.up, "b@first-refuses.test")
    assert house.refusing.sessions >= 1


def test_a_null_mx_bounces(house: House) -> None:
    send(house.relay, to="b@null.test")
    assert b"Status: 5.1.10" in report_about(house, "b@null.test")


def test_a_domain_without_mx_is_its_own_host(house: House) -> None:
    send(house.relay, to="b@implicit.test")
    delivered(house.up, "b@implicit.test")


def test_an_alias_is_followed_and_the_recipient_is_not_rewritten(house: House) -> None:
    send(house.relay, to="b@alias.test")
    delivered(house.up, "b@alias.test")


def test_mail_that_would_come_back_to_us_bounces(house: House) -> None:
    send(house.relay, to="b@ours.test")
    assert b"Status: 5.4.6" in report_about(house, "b@ours.test")


def test_of_an_mx_set_with_us_in_it_only_better_hosts_are_tried(house: House) -> None:
    queue_id = send(house.relay, to="b@ours-second.test")
    wait_status(house.relay, queue_id, "temp_fail")
    assert not [each for each in house.up.deliveries if "b@ours-second.test" in each.recipients]


def test_a_domain_that_does_not_exist_bounces(house: House) -> None:
    send(house.relay, to="b@nowhere.test")
    assert b"Status: 5.1.2" in report_about(house, "b@nowhere.test")


def test_a_domain_whose_only_host_has_no_address_bounces(house: House) -> None:
    send(house.relay, to="b@no-address.test")
    assert b"Status: 5.4.4" in report_about(house, "b@no-address.test")


def test_a_dns_server_that_fails_defers(house: House) -> None:
    queue_id = send(house.relay, to="b@servfail.test")
    assert "SERVFAIL" in wait_status(house.relay, queue_id, "temp_fail")


def test_a_host_with_an_ipv6_address_alone_is_reached(house: House) -> None:
    send(house.relay, to="b@six.test")
    delivered(house.six, "b@six.test")


def test_an_address_literal_is_delivered_to_that_address(house: House) -> None:
    queue_id = send(house.relay, to="b@[127.0.0.2]")
    delivered(house.up, "b@[127.0.0.2]")
    wait_gone(house.relay, queue_id)


def test_private_addresses_of_mx_hosts_are_refused_unless_allowed(house: House, relay: StartRelay) -> None:
    settings = {key: house.relay.settings[key] for key in ("resolver.custom", "queue.outbound.port")}
    careful = relay(None, settings | {"queue.outbound.allow-private": False})
    queue_id = send(careful, to="b@implicit.test", sender="")
    assert "private address" in wait_status(careful, queue_id, "temp_fail")
