"""`/api/access-keys`, `/api/sending-addresses`: what an operator sees and changes."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from relayd.directory.sending_addresses import Quotas, SendingAddresses, SendingType
from tests.control.conftest import Control


async def ask(client: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with client.request(method, "/api" + path, json=body) as answer:
        return answer.status, await answer.json()


async def test_a_key_is_shown_once(admin: aiohttp.ClientSession, control: Control) -> None:
    _, answer = await ask(admin, "POST", "/access-keys/user")
    made = answer["data"]
    assert set(made) == {"access_key_id", "access_key_secret"}
    _, answer = await ask(admin, "GET", "/access-keys/User")
    assert [set(each) for each in answer["data"]["items"]] == [{"access_key_id", "created"}]
    assert (await ask(admin, "DELETE", f"/access-keys/operator/{made['access_key_id']}"))[1]["error"] == "notFound"
    assert (await ask(admin, "DELETE", f"/access-keys/user/{made['access_key_id']}"))[1] == {"data": True}
    assert (await ask(admin, "GET", "/access-keys/user"))[1]["data"]["total"] == 0
    assert made["access_key_secret"] not in repr([event.data() for event in control.events])


@pytest.mark.parametrize("name", ["nobody-of-that-name", "robot", "a%20b"])
async def test_who_is_no_person_has_no_keys(admin: aiohttp.ClientSession, name: str) -> None:
    assert (await ask(admin, "POST", f"/access-keys/{name}"))[1]["error"] == "notFound"


async def test_an_account_has_so_many_keys(admin: aiohttp.ClientSession) -> None:
    for _ in range(10):
        assert "data" in (await ask(admin, "POST", "/access-keys/user"))[1]
    assert (await ask(admin, "POST", "/access-keys/user"))[1]["error"] == "other"


@pytest.fixture
async def addresses(control: Control) -> SendingAddresses:
    """One address of "user": news@example.org."""
    assert control.parts.sending is not None
    user = await control.parts.sending.account("user")
    assert user is not None
    kept = control.parts.sending.addresses
    await kept.create(user, "news@example.org", SendingType.BATCH, "", Quotas(batch=(5, 50)))
    return kept


async def test_an_address_is_frozen_and_changed(admin: aiohttp.ClientSession, addresses: SendingAddresses) -> None:
    _, answer = await ask(admin, "GET", "/sending-addresses?account=user&text=news")
    (item,) = answer["data"]["items"]
    assert (item["account"], item["daily"], item["monthly"], item["frozen"]) == ("user", 5, 50, "")
    _, answer = await ask(admin, "PATCH", "/sending-addresses/News@example.org", {"frozen": "spam\r\n", "daily": 9})
    assert (answer["data"]["frozen"], answer["data"]["daily"], answer["data"]["monthly"]) == ("spam", 9, 50)
    found = await addresses.get("news@example.org")
    assert found is not None
    assert (found.frozen, found.daily) == ("spam", 9)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/sending-addresses", None, 400),
        ("PATCH", "/sending-addresses/other@example.org", {"frozen": "x"}, 404),
        ("PATCH", "/sending-addresses/news@example.org", {"daily": -1}, 400),
        ("PATCH", "/sending-addresses/news@example.org", {"frozen": "\r\n"}, 400),
        ("PATCH", "/sending-addresses/news@example.org", {"colour": "red"}, 400),
    ],
)
async def test_what_cannot_be_done(
    admin: aiohttp.ClientSession, addresses: SendingAddresses, method: str, path: str, body: Any, status: int
) -> None:
    assert (await ask(admin, method, path, body))[0] == status
