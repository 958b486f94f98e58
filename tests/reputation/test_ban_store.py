"""Bans outlive a restart, and a disk that fails keeps nobody waiting."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

from relayd.database.interface import DatabaseError
from relayd.events.event import Event, EventStream, Span
from relayd.reputation.ban_store import FILE, BanStore
from relayd.reputation.bans import REMEMBERED_FOR, Bans
from relayd.reputation.options import BanOptions
from relayd.reputation.rate import Rate

ADDRESS = ipaddress.ip_address("203.0.113.5")
OTHER = ipaddress.ip_address("2001:db8::1")


def fresh() -> Bans:
    return Bans(BanOptions(auth_rate=Rate(1, 3600.0)))


def fail(bans: Bans, address: ipaddress.IPv4Address | ipaddress.IPv6Address, now: float) -> None:
    while bans.failed(address, "", now) is None:
        pass


async def kept(directory: Path, bans: Bans, now: float, events: list[Event] | None = None) -> BanStore:
    stream = EventStream(lambda: now, [(events if events is not None else []).append])
    store = BanStore(bans, directory / FILE, Span(stream))
    await store.open(now)
    return store


async def test_what_was_banned_is_and_the_next_ban_is_longer(tmp_path: Path) -> None:
    bans = fresh()
    store = await kept(tmp_path, bans, 1000.0)
    fail(bans, ADDRESS, 1000.0)
    fail(bans, OTHER, 1001.0)
    bans.lift(OTHER, 1002.0)
    await store.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again = fresh()
    store = await kept(tmp_path, again, 1100.0)
    assert again.banned(ADDRESS, 1100.0) == bans.banned(ADDRESS, 1100.0) is not None
    assert again.banned(OTHER, 1100.0) is None
    fail(again, ADDRESS, 5000.0)
    assert [ban.times for ban in again.standing(5000.0)] == [2]
    await store.close()
    late = fresh()
    store = await kept(tmp_path, late, 5000.0 + 7200.0 + REMEMBERED_FOR + 1)
    assert late.standing(5001.0) == []
    await store.close()


async def test_changes_are_written_as_they_come(tmp_path: Path) -> None:
    bans = fresh()
    store = await kept(tmp_path, bans, 1000.0)
    task = asyncio.create_task(store.run())
    fail(bans, ADDRESS, 1000.0)
    other = fresh()
    while not other.standing(1000.0):
        copy = await kept(tmp_path, other, 1000.0)
        await copy.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def test_a_file_that_cannot_be_used_is_an_event_and_bans_stay_in_memory(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    events: list[Event] = []
    bans = fresh()
    store = await kept(tmp_path, bans, 1000.0, events)
    fail(bans, ADDRESS, 1000.0)
    assert bans.banned(ADDRESS, 1000.0)
    await store.close()
    assert "store.broken" in [event.kind.id for event in events]


async def test_a_write_that_fails_is_an_event(tmp_path: Path) -> None:
    events: list[Event] = []
    bans = fresh()
    store = await kept(tmp_path, bans, 1000.0, events)

    async def full(work: object) -> None:
        raise DatabaseError("disk full")

    assert store._database is not None
    database = store._database
    store._database.write = full  # type: ignore[method-assign, assignment]
    fail(bans, ADDRESS, 1000.0)
    await store._write()
    assert events[-1].kind.id == "store.broken"
    await database.close()
