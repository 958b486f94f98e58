"""What is remembered of strangers, over the API."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import aiohttp

from tests.control.conftest import Control


async def get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        assert answer.status == 200
        return (await answer.json())["data"]


async def test_the_greylist_is_shown_and_forgotten(admin: aiohttp.ClientSession, control: Control) -> None:
    now = control.rig.clock.now
    greylist = control.parts.greylist
    greylist.wait(ip_address("198.51.100.7"), "a@b.c", "d@e.f", now)
    greylist.taken(ip_address("203.0.113.1"), ["spf:x.test"], now)
    found = await get(admin, "/api/greylist")
    assert (found["total"], found["enabled"]) == (3, False)
    assert [each["key"] for each in found["items"]] == ["203.0.113.0/24", "spf:x.test", "198.51.100.0/24"]
    assert found["items"][2]["sender"] == "a@b.c"
    assert (await get(admin, "/api/greylist?filter=d%40e&limit=1"))["total"] == 1
    async with admin.delete("/api/greylist?key=spf:x.test") as answer:
        assert (await answer.json())["data"] == 1
    async with admin.delete("/api/greylist?key=spf:x.test") as answer:
        assert (await answer.json())["error"] == "notFound"
    async with admin.delete("/api/greylist") as answer:
        assert (await answer.json())["data"] == 2
    assert [each.fields["type_"] for each in control.named("manage.action")] == ["reset-greylist"] * 2


async def test_records_are_shown_the_worst_first(admin: aiohttp.ClientSession, control: Control) -> None:
    now = control.rig.clock.now
    control.parts.records.learn("ip:198.51.100.7/32", True, now)
    control.parts.records.learn("domain:good.test", False, now)
    found = await get(admin, "/api/reputation")
    assert [(each["key"], each["spam"], each["ham"]) for each in found["items"]] == [
        ("ip:198.51.100.7/32", 1.0, 0.0),
        ("domain:good.test", 0.0, 1.0),
    ]
    async with admin.delete("/api/reputation?key=domain:good.test") as answer:
        assert (await answer.json())["data"] == 1
    assert (await get(admin, "/api/reputation?filter=domain"))["total"] == 0


async def test_others_may_not(tcp: aiohttp.ClientSession) -> None:
    for method, path in (("GET", "/api/greylist"), ("DELETE", "/api/reputation")):
        async with tcp.request(method, path) as answer:
            assert answer.status == 401
