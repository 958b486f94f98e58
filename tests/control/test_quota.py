"""GET /api/quota/{name}: what was sent, what limits it."""

from __future__ import annotations

from typing import Any

import aiohttp

from relayd.directory.entry import Type
from relayd.queue.usage import Charge, charge, hour_of
from tests.control.conftest import Control
from tests.directory.test_principals import add


async def quota(client: aiohttp.ClientSession, name: str) -> Any:
    async with client.get(f"/api/quota/{name}") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_what_an_account_sent_and_may(control: Control, admin: aiohttp.ClientSession) -> None:
    principals = control.parts.principals
    await add(principals, Type.DOMAIN, "ours.test", allowances=["messages:10/day"])
    await add(principals, Type.INDIVIDUAL, "jane", emails=["jane@ours.test"], allowances=["recipients:5/hour"])
    hour = hour_of(control.rig.clock.now)
    sent = [Charge("account:jane", hour, 1, 3, 500), Charge("domain:ours.test", hour, 1, 3, 500)]
    await control.rig.o.queue.database.write(lambda connection: charge(connection, sent))
    found = (await quota(admin, "jane"))["data"]
    assert found["name"] == "account:jane"
    assert found["sent"]["hour"] == {"messages": 1, "recipients": 3, "bytes": 500}
    assert [(each["name"], each["measure"], each["most"], each["used"]) for each in found["limits"]] == [
        ("account:jane", "recipients", 5, 3),
        ("domain:ours.test", "messages", 10, 1),
    ]
    assert (await quota(admin, "ours.test"))["data"]["sent"]["day"]["recipients"] == 3


async def test_who_has_no_allowances_of_his_own_has_the_usual_ones(
    control: Control, admin: aiohttp.ClientSession
) -> None:
    principals = control.parts.principals
    await add(principals, Type.INDIVIDUAL, "joe")
    found = (await quota(admin, "joe"))["data"]
    assert [(each["most"], each["period"]) for each in found["limits"]] == [(300, "hour"), (2000, "day")]


async def test_nobody_has_none(admin: aiohttp.ClientSession) -> None:
    assert await quota(admin, "no-one") == {"error": "notFound", "item": "no-one"}
