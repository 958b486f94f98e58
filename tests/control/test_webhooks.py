"""`/api/webhooks`: how far each is, sending again, a test."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from relayd.events import delivery
from relayd.events.event import Span
from relayd.webhooks.options import WebhookLogOptions, WebhookOptions
from relayd.webhooks.webhooks import Webhooks
from tests.control.conftest import Control
from tests.rig.receiver import Receiver


async def ask(client: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with client.request(method, "/api/webhooks" + path, json=body) as answer:
        return answer.status, await answer.json()


@pytest.fixture
async def hooks(control: Control) -> Webhooks:
    """A webhook whose server is away; its task does not run."""
    assert control.parts.webhooks is not None
    options = WebhookOptions(url="http://127.0.0.1:9/hook?token=secret", events=("delivery.*",), signature_key="key")
    await control.parts.webhooks.reconfigure({"my.hook": options}, WebhookLogOptions())
    return control.parts.webhooks


async def test_webhooks_are_listed_without_their_secrets(admin: aiohttp.ClientSession, hooks: Webhooks) -> None:
    status, answer = await ask(admin, "GET", "")
    assert status == 200
    (item,) = answer["data"]["items"]
    assert item == {
        "id": "my.hook",
        "url": "http://127.0.0.1:9/hook",
        "events": ["delivery.*"],
        "signed": True,
        "offset": 0,
        "newest": 0,
        "pending": 0,
        "taken": 0,
        "last_taken": None,
        "failures": 0,
        "failing_since": None,
        "next_attempt": None,
        "last_error": "",
    }
    assert (await ask(admin, "GET", "/my.hook"))[1] == {"data": item}
    assert (await ask(admin, "GET", "/another"))[0] == 404


async def test_events_are_sent_again_from_an_offset(
    admin: aiohttp.ClientSession, hooks: Webhooks, control: Control
) -> None:
    span = Span(hooks._stream)
    for address in ("a@x.example", "b@x.example"):
        delivery.DELIVERED(span, to=address)
    assert await hooks._flush()
    _, answer = await ask(admin, "GET", "/my.hook")
    assert answer["data"]["pending"] == 2
    newest = answer["data"]["newest"]
    _, answer = await ask(admin, "POST", "/my.hook/replay", {"offset": newest})
    assert (answer["data"]["offset"], answer["data"]["pending"]) == (newest, 0)
    _, answer = await ask(admin, "POST", "/my.hook/replay", {"since": "2001-01-01T00:00:00Z"})
    assert answer["data"]["pending"] == 2
    assert control.named("telemetry.webhook-replayed")[-1].fields["account_name"] == "admin"


@pytest.mark.parametrize(
    "body",
    [None, {}, {"offset": 1, "since": "2001-01-01T00:00:00Z"}, {"since": "then"}, {"offset": -1}, {"offset": "x"}],
)
async def test_a_replay_without_a_place_to_begin_is_refused(
    admin: aiohttp.ClientSession, hooks: Webhooks, body: Any
) -> None:
    assert (await ask(admin, "POST", "/my.hook/replay", body))[0] == 400
    assert (await ask(admin, "POST", "/another/replay", {"offset": 0}))[0] == 404


async def test_a_test_says_how_it_went(admin: aiohttp.ClientSession, hooks: Webhooks) -> None:
    status, answer = await ask(admin, "POST", "/my.hook/test")
    assert status == 200
    assert (answer["data"]["taken"], answer["data"]["status"]) == (False, 0)
    assert "9" in answer["data"]["reason"]
    async with Receiver() as receiver:
        options = WebhookOptions(url=receiver.url, events=("delivery.*",))
        await hooks.reconfigure({"my.hook": options}, WebhookLogOptions())
        _, answer = await ask(admin, "POST", "/my.hook/test")
        assert (answer["data"]["taken"], answer["data"]["status"]) == (True, 200)
    assert (await ask(admin, "POST", "/another/test"))[0] == 404
