"""When an account is over what its owner would do within an hour."""

from __future__ import annotations

import ipaddress

import pytest

from relayd.reputation.account_watch import HOUR, AccountWatch, Limits

NOW = 1_800_000_000.0


def address(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(f"198.51.{number}.7")


@pytest.mark.parametrize(
    ("recipients", "hard", "held"),
    [(50, 11, True), (50, 10, False), (49, 49, False), (1000, 200, False), (1000, 201, True)],
)
def test_bounces_count_from_fifty_recipients_on(recipients: int, hard: int, held: bool) -> None:
    watch = AccountWatch()
    assert bool(watch.outcomes("jane", recipients, hard, NOW)) is held
    assert not watch.outcomes("joe", 1, 1, NOW)


def test_an_hour_later_they_count_no_more() -> None:
    watch = AccountWatch()
    assert not watch.outcomes("jane", 40, 40, NOW)
    assert not watch.outcomes("jane", 40, 0, NOW + HOUR)
    assert watch.outcomes("jane", 10, 40, NOW + HOUR)


def test_it_is_said_once() -> None:
    watch = AccountWatch()
    assert "60 of 60" in watch.outcomes("jane", 60, 60, NOW)
    assert not watch.outcomes("jane", 1, 1, NOW)


def test_more_than_twenty_networks_in_an_hour() -> None:
    watch = AccountWatch()
    for number in range(20):
        assert not watch.sign_in("jane", address(number), NOW)
        assert not watch.sign_in("jane", ipaddress.IPv4Address(f"198.51.{number}.8"), NOW)
    assert not watch.sign_in("joe", address(20), NOW)
    assert watch.sign_in("jane", address(20), NOW)


def test_networks_of_an_hour_ago_count_no_more() -> None:
    watch = AccountWatch()
    for number in range(20):
        watch.sign_in("jane", address(number), NOW)
    assert not watch.sign_in("jane", address(20), NOW + HOUR)


def test_an_ipv6_network_is_a_48() -> None:
    watch = AccountWatch(Limits(networks=1))
    assert not watch.sign_in("jane", ipaddress.ip_address("2001:db8:1:2::1"), NOW)
    assert not watch.sign_in("jane", ipaddress.ip_address("2001:db8:1:3::1"), NOW)
    assert watch.sign_in("jane", ipaddress.ip_address("2001:db8:2::1"), NOW)


def test_it_can_be_switched_off() -> None:
    watch = AccountWatch(Limits(bounce_recipients=0, networks=0))
    assert not watch.outcomes("jane", 1000, 1000, NOW)
    assert not any(watch.sign_in("jane", address(number), NOW) for number in range(100))
