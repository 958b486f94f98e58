"""Who fails too often is shut out, for longer each time; an IPv6 address stands for its /64."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from relayd.reputation import bans as module
from relayd.reputation.bans import Bans, site_of
from relayd.reputation.options import BanOptions
from relayd.reputation.rate import Rate

HOUR = 3600.0
MALLORY = ip_address("192.0.2.1")


def strict(**rest: object) -> BanOptions:
    return BanOptions(auth_rate=Rate(3, 86400.0), **rest)  # type: ignore[arg-type]


def test_what_counts_as_one() -> None:
    assert site_of(MALLORY) == ip_network("192.0.2.1/32")
    assert site_of(ip_address("::ffff:192.0.2.1")) == ip_network("192.0.2.1/32")
    assert site_of(ip_address("2001:db8:1:2:3::4")) == ip_network("2001:db8:1:2::/64")


def test_a_hundred_failures_in_a_day_by_default() -> None:
    bans = Bans()
    assert not any(bans.failed(MALLORY, "", 0.0) for _ in range(99))
    assert bans.banned(MALLORY, 0.0) is None
    assert bans.failed(MALLORY, "", 0.0) is not None
    assert bans.banned(MALLORY, 0.0) is not None


def test_a_ban_ends_and_the_next_one_is_twice_as_long() -> None:
    bans = Bans(strict())
    now, lasted = 0.0, []
    for _ in range(7):
        while bans.banned(MALLORY, now) is None:
            bans.failed(MALLORY, "", now)
        ban = bans.banned(MALLORY, now)
        assert ban is not None
        lasted.append((ban.until - now) / HOUR)
        assert bans.banned(MALLORY, ban.until - 1) is not None
        now = ban.until
    assert lasted == [1, 2, 4, 8, 16, 24, 24]
    now += module.REMEMBERED_FOR
    while (ban := bans.banned(MALLORY, now)) is None:
        bans.failed(MALLORY, "", now)
    assert ban.until - now == HOUR


def test_a_login_name_that_is_tried_from_everywhere_bans_who_tries_it() -> None:
    bans = Bans(strict())
    for last in range(1, 4):
        found = bans.failed(ip_address(f"192.0.2.{last}"), "admin", 0.0)
    assert found is not None
    assert [str(ban.network) for ban in bans.standing(0.0)] == ["192.0.2.3/32"]
    assert bans.failed(ip_address("192.0.2.9"), "other", 0.0) is None


def test_neighbours_in_ipv6_share_their_failures() -> None:
    bans = Bans(strict())
    for last in "abc":
        bans.failed(ip_address(f"2001:db8::{last}"), "", 0.0)
    assert bans.banned(ip_address("2001:db8::ffff:1"), 0.0) is not None
    assert bans.banned(ip_address("2001:db8:0:1::a"), 0.0) is None


def test_listed_networks_are_never_banned() -> None:
    bans = Bans(strict())
    for _ in range(3):
        bans.failed(MALLORY, "x", 0.0)
    assert bans.banned(MALLORY, 0.0) is not None
    bans.reconfigure(strict(exempt_networks=(ip_network("192.0.2.0/24"),)))
    assert bans.banned(MALLORY, 0.0) is None
    assert not any(bans.failed(ip_address("192.0.2.2"), "", 0.0) for _ in range(10))


def test_none_is_never() -> None:
    bans = Bans(BanOptions(auth_rate=None))
    assert not any(bans.failed(MALLORY, "x", 0.0) for _ in range(1000))


def test_a_lifted_ban_begins_anew() -> None:
    bans = Bans(strict())
    assert not bans.lift(MALLORY, 0.0)
    for _ in range(3):
        bans.failed(MALLORY, "", 0.0)
    assert bans.lift(MALLORY, 0.0)
    assert bans.banned(MALLORY, 0.0) is None
    assert bans.failed(MALLORY, "", 0.0) is None
    assert bans.standing(0.0) == []


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BANS", 10)
    bans = Bans(BanOptions(auth_rate=Rate(1, 60.0)))
    for number in range(30):
        bans.failed(ip_address(f"192.0.2.{number}"), "", 0.0)
    assert [str(ban.network) for ban in bans.standing(0.0)] == [f"192.0.2.{each}/32" for each in range(20, 30)]
