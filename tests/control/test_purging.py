"""Operation 56: what operators start afresh."""

from __future__ import annotations

from ipaddress import ip_address

import aiohttp
import pytest

from tests.control.conftest import Control

PATH = "/api/store/purge/in-memory"


async def test_a_kind_of_keys_goes_and_no_other(admin: aiohttp.ClientSession, control: Control) -> None:
    now = control.rig.clock.now
    parts = control.parts
    parts.greylist.wait(ip_address("198.51.100.7"), "a@b.c", "d@e.f", now)
    for key in ("ip:198.51.100.7/32", "domain:good.test", "sender:a@b.c", "asn:64500"):
        parts.records.learn(key, True, now)
    for prefix, left in (
        ("bounces", {"ip:198.51.100.7/32", "domain:good.test", "sender:a@b.c", "asn:64500"}),
        ("reputation-asn", {"ip:198.51.100.7/32", "domain:good.test", "sender:a@b.c"}),
        ("reputation-ip", {"domain:good.test", "sender:a@b.c"}),
        ("reputation-from", {"domain:good.test"}),
        ("reputation-domain", set()),
    ):
        async with admin.get(f"{PATH}/default/{prefix}") as answer:
            assert await answer.json() == {"data": None}
        assert {each.key for each in parts.records.all(now)} == left
    assert parts.greylist.all_waiting()
    async with admin.get(f"{PATH}/default/greylist") as answer:
        assert answer.status == 200
    assert not parts.greylist.all_waiting()
    assert [each.fields["details"] for each in control.named("manage.action")] == [
        "reputation-asn",
        "reputation-ip",
        "reputation-from",
        "reputation-domain",
        "greylist",
    ]


@pytest.mark.parametrize("path", ["", "/default"])
async def test_without_a_kind_what_has_expired_goes(admin: aiohttp.ClientSession, control: Control, path: str) -> None:
    now = control.rig.clock.now
    control.parts.greylist.wait(ip_address("198.51.100.7"), "a@b.c", "d@e.f", now - 90 * 86400)
    control.parts.greylist.wait(ip_address("203.0.113.7"), "a@b.c", "d@e.f", now)
    async with admin.get(PATH + path) as answer:
        assert await answer.json() == {"data": None}
    assert [each.network for each in control.parts.greylist.all_waiting()] == ["203.0.113.0/24"]


async def test_other_stores_are_not_there_and_models_need_a_filter(admin: aiohttp.ClientSession) -> None:
    async with admin.get(f"{PATH}/redis/greylist") as answer:
        assert answer.status == 404
    async with admin.get(f"{PATH}/default/bayes-global") as answer:
        assert (await answer.json())["error"] == "unsupported"
