"""Greylisting, good hosts, records of senders: pure, with the time as an argument; and their file."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relayd.events.event import EventStream, Span
from relayd.reputation.good_hosts import WEEK, GoodHosts
from relayd.reputation.greylist import Greylist
from relayd.reputation.kept import Kept
from relayd.reputation.memory_store import MemoryStore
from relayd.reputation.options import GreylistOptions, ReputationOptions
from relayd.reputation.record import Records

HOST, NEIGHBOUR, OTHER = ip_address("198.51.100.7"), ip_address("198.51.100.99"), ip_address("203.0.113.7")
MINUTE, DAY = 60.0, 86400.0
NOW = 1_700_000_000.0


def greylist(**given: Any) -> Greylist:
    return Greylist(GreylistOptions(enabled=True, **given))


def test_who_is_new_waits_and_comes_again() -> None:
    list_ = greylist()
    assert list_.wait(HOST, "a@b.c", "d@e.f", NOW) == 5 * MINUTE
    assert list_.wait(HOST, "a@b.c", "d@e.f", NOW + MINUTE) == 4 * MINUTE
    assert list_.wait(NEIGHBOUR, "A@b.c", "d@E.f", NOW + 5 * MINUTE) == 0.0
    assert list_.wait(HOST, "a@b.c", "other@e.f", NOW + 5 * MINUTE) == 5 * MINUTE
    assert list_.wait(OTHER, "a@b.c", "d@e.f", NOW + 5 * MINUTE) == 5 * MINUTE


def test_who_comes_too_late_begins_anew() -> None:
    list_ = greylist()
    list_.wait(HOST, "a@b.c", "d@e.f", NOW)
    assert list_.wait(HOST, "a@b.c", "d@e.f", NOW + 2 * DAY + 1) == 5 * MINUTE
    assert list_.wait(HOST, "a@b.c", "d@e.f", NOW) == 5 * MINUTE, "a clock that was set back lets nobody in"


def test_after_success_the_network_and_proved_domains_are_known() -> None:
    list_ = greylist(keep=10 * DAY)
    list_.taken(HOST, ["spf:b.c", "dkim:d.e"], NOW)
    assert list_.wait(NEIGHBOUR, "x@y.z", "d@e.f", NOW + 9 * DAY) == 0.0
    assert list_.knows("spf:b.c", NOW + 9 * DAY)
    assert not list_.knows("spf:b.c", NOW + 10 * DAY)
    assert [each.key for each in list_.all_known(NOW)] == ["198.51.100.0/24", "spf:b.c", "dkim:d.e"]
    assert list_.sweep(NOW + 11 * DAY) == 3


def test_ipv6_counts_by_its_64() -> None:
    list_ = greylist()
    list_.taken(ip_address("2001:db8:1:2::1"), [], NOW)
    assert list_.wait(ip_address("2001:db8:1:2:ffff::9"), "a@b.c", "d@e.f", NOW) == 0.0
    assert list_.wait(ip_address("2001:db8:1:3::1"), "a@b.c", "d@e.f", NOW) > 0


def test_it_is_bounded_and_can_be_reset() -> None:
    list_ = greylist(max_entries=100)
    for number in range(300):
        list_.wait(HOST, f"{number}@b.c", "d@e.f", NOW)
    assert len(list_.waiting) == 100
    list_.taken(OTHER, ["spf:b.c"], NOW)
    assert list_.forget("198.51.100.0/24") == 100
    assert list_.forget("spf:b.c") == 1
    assert list_.forget("nothing") == 0
    assert list_.forget("") == 1


def test_a_host_is_good_for_a_week() -> None:
    hosts = GoodHosts()
    hosts.note(HOST, NOW)
    assert hosts.is_good(HOST, NOW + WEEK - 1)
    assert not hosts.is_good(HOST, NOW + WEEK)
    assert not hosts.is_good(NEIGHBOUR, NOW)
    assert hosts.sweep(NOW + WEEK) == 1


def test_records_fade_and_tell_good_from_bad() -> None:
    records = Records(ReputationOptions(enabled=True, half_life=10.0))
    for _ in range(20):
        records.learn("ip:198.51.100.7/32", True, 0.0)
    now = records.get("ip:198.51.100.7/32", 0.0)
    assert now is not None
    assert now.goodness < -0.9
    faded = records.get("ip:198.51.100.7/32", 10.0)
    assert faded is not None
    assert faded.spam == pytest.approx(10.0)
    records.learn("ip:198.51.100.7/32", False, 10.0)
    assert [each.ham for each in records.all(10.0)] == [1.0]
    assert records.sweep(20.0) == 0
    assert records.sweep(1000.0) == 1
    assert records.get("nobody", 0.0) is None


def test_a_table_forgets_what_was_not_written_for_longest() -> None:
    table: Kept[float] = Kept("x", 2)
    told: list[tuple[str, float | None]] = []
    table.on_change = lambda key, value: told.append((key, value))
    for key in ("a", "b", "a", "c"):
        table.put(key, 1.0)
    assert [key for key, _ in table.items()] == ["a", "c"]
    assert told[-1] == ("b", None)


async def test_what_is_remembered_outlives_a_restart(tmp_path: Path) -> None:
    span = Span(EventStream(lambda: NOW))

    async def opened() -> tuple[Greylist, Records, MemoryStore]:
        list_, records = greylist(), Records()
        store = MemoryStore([list_.waiting, list_.known, records.records], tmp_path / "r.db", span)
        await store.open()
        return list_, records, store

    list_, records, store = await opened()
    list_.wait(HOST, "a@b.c", "d@e.f", NOW)
    list_.taken(OTHER, ["spf:b.c"], NOW)
    list_.taken(HOST, [], NOW)
    records.learn("domain:b.c", True, NOW)
    await store.write()
    list_.forget("198.51.100.0/24")
    await store.close()
    list_, records, store = await opened()
    assert [each.key for each in list_.all_known(NOW)] == ["203.0.113.0/24", "spf:b.c"]
    assert list_.all_waiting() == []
    assert [each.key for each in records.all(NOW)] == ["domain:b.c"]
    await store.close()


async def test_a_file_that_cannot_be_opened_costs_only_its_memory(tmp_path: Path) -> None:
    told: list[str] = []
    span = Span(EventStream(lambda: NOW, [lambda event: told.append(event.kind.id)]))
    list_ = greylist()
    (tmp_path / "r.db").write_bytes(b"this is no database at all, not by a long way" * 100)
    store = MemoryStore([list_.known], tmp_path / "r.db", span)
    await store.open()
    list_.taken(HOST, [], NOW)
    await store.close()
    assert "store.broken" in told
