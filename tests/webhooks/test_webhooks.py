"""Webhooks against a real web server that takes, fails, hangs and dies: every event arrives in order, at least once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from relayd.database.interface import DatabaseFull
from relayd.events import delivery, suppression
from relayd.webhooks.eventlog import FILE
from relayd.webhooks.options import WebhookLogOptions
from relayd.webhooks.posting import Endpoint
from relayd.webhooks.webhooks import MOST, UnknownWebhook
from tests.rig.receiver import Receiver, Request
from tests.webhooks.conftest import QUICK, Rig, to

DAY = 86400.0


def refuse(status: int) -> Any:
    return lambda request: web.Response(status=status)


def recipients(receiver: Receiver) -> list[str]:
    return [each["data"]["to"] for each in receiver.taken]


async def test_an_event_is_posted_in_the_documented_form(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver, signature_key="key of both", headers=("X-Token: abc",), username="u", secret="p"))
    rig.state("b@x.example")
    await receiver.wait(lambda: receiver.taken)
    (request,) = receiver.requests
    (event,) = request.events
    assert event.pop("id") % 128 == 0
    assert event.pop("createdAt").endswith("Z")
    assert event == {
        "type": "delivery.delivered",
        "data": {
            "queueId": 7,
            "from": "a@s.example",
            "hostname": "mx",
            "to": "b@x.example",
            "code": 250,
            "details": "ok",
            "elapsed": 12,
        },
    }
    assert request.is_signed("key of both")
    assert not request.is_signed("another")
    assert int(request.headers["X-Relayd-Timestamp"]) == int(rig.now)
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Token"] == "abc"
    assert request.headers["Authorization"] == "Basic dTpw"


async def test_only_what_is_wanted_is_sent_and_logged(rig: Rig, receiver: Receiver) -> None:
    async with Receiver() as other:
        await rig.start(
            hook=to(receiver, events=("delivery.delivered", "suppression.*")), other=to(other, events=("delivery.d*",))
        )
        delivery.EHLO(rig.span, hostname="mx")
        suppression.REMOVED(rig.span, total=1)
        delivery.DEFERRED(rig.span, to="d@x.example")
        rig.state("b@x.example")
        await receiver.wait(lambda: len(receiver.taken) == 2)
        await other.wait(lambda: len(other.taken) == 2)
        assert [each["type"] for each in receiver.taken] == ["suppression.removed", "delivery.delivered"]
        assert [each["type"] for each in other.taken] == ["delivery.deferred", "delivery.delivered"]
        assert set(other.ids()) & set(receiver.ids()), "an event has the same id for everybody"
        await rig.logged(3)


async def test_nothing_configured_costs_nothing(rig: Rig) -> None:
    await rig.start()
    assert rig.hooks not in rig.stream._subscribers
    rig.state("b@x.example")
    assert not (rig.directory / FILE).exists()


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410, 429, 500, 503])
async def test_what_is_not_taken_is_sent_again(rig: Rig, receiver: Receiver, status: int) -> None:
    receiver.answer = refuse(status)
    await rig.start(hook=to(receiver))
    rig.state("b@x.example")
    await receiver.wait(lambda: len(receiver.requests) >= 2)
    state = await rig.hooks.state("hook")
    assert state.pending == 1
    assert str(status) in state.last_error
    assert rig.named("telemetry.webhook-error")[0].fields["code"] == status
    receiver.answer = lambda request: None
    await receiver.wait(lambda: receiver.taken)
    await rig.until(lambda: rig.named("telemetry.webhook-recovered"))
    assert {each.events[0]["id"] for each in receiver.requests} == set(receiver.ids()), "with the id that it had"


async def test_a_server_that_is_not_there_is_waited_for(rig: Rig) -> None:
    receiver = Receiver()
    await rig.start(hook=to(receiver))
    rig.state("b@x.example")
    await rig.until(lambda: len(rig.named("telemetry.webhook-error")) >= 2)
    async with receiver:
        await receiver.wait(lambda: recipients(receiver) == ["b@x.example"])


async def test_a_server_that_hangs_is_left_and_delays_no_other(rig: Rig, receiver: Receiver) -> None:
    async with Receiver() as slow:
        slow.hanging = asyncio.Event()
        await rig.start(slow=to(slow, timeout=0.3), quick=to(receiver))
        rig.state(*(f"{number}@x.example" for number in range(5)))
        await slow.wait(lambda: slow.requests)
        await receiver.wait(lambda: len(receiver.taken) == 5)
        assert slow.taken == []
        await rig.until(lambda: rig.named("telemetry.webhook-error"))
        assert "within" in rig.named("telemetry.webhook-error")[0].fields["reason"]
        slow.hanging.set()
        slow.hanging = None
        await slow.wait(lambda: len(set(slow.ids())) == 5)


async def test_an_answer_without_end_is_read_no_further(rig: Rig) -> None:
    """It streams for ever: taken all the same, for its status says so."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        except OSError:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await rig.start(hook=replace(QUICK, url=f"http://127.0.0.1:{port}/"))
    rig.state("b@x.example")
    await rig.logged(1)
    async with asyncio.timeout(20):
        while (await rig.hooks.state("hook")).pending:
            await asyncio.sleep(0.01)
    assert sent < 64 << 20
    server.close()


async def test_a_restart_goes_on_where_it_was(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver))
    rig.state("a@x.example")
    await rig.taken("hook", 1)
    receiver.answer = refuse(503)
    rig.state("b@x.example", "c@x.example")
    await rig.stop()
    receiver.answer = lambda request: None
    await rig.start(hook=to(receiver))
    await receiver.wait(lambda: len(receiver.taken) == 3)
    assert recipients(receiver) == ["a@x.example", "b@x.example", "c@x.example"]
    assert receiver.ids() == sorted(receiver.ids())


async def test_ids_rise_though_the_clock_goes_back(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver))
    rig.state("a@x.example")
    await rig.taken("hook", 1)
    await rig.stop()
    rig.now -= 30 * DAY
    await rig.start(hook=to(receiver))
    rig.state("b@x.example")
    await receiver.wait(lambda: len(receiver.taken) == 2)
    assert receiver.ids() == sorted(set(receiver.ids()))


async def test_a_new_webhook_begins_now_and_one_that_went_is_forgotten(rig: Rig, receiver: Receiver) -> None:
    async with Receiver() as late:
        await rig.start(hook=to(receiver))
        rig.state("a@x.example")
        await receiver.wait(lambda: receiver.taken)
        await rig.hooks.reconfigure({"hook": to(receiver), "late": to(late)}, WebhookLogOptions())
        rig.state("b@x.example")
        await late.wait(lambda: late.taken)
        assert recipients(late) == ["b@x.example"]
        await rig.hooks.reconfigure({"late": to(late)}, WebhookLogOptions())
        assert rig.hooks._log is not None
        assert set(rig.hooks._log.positions) == {"late"}
        with pytest.raises(UnknownWebhook):
            await rig.hooks.state("hook")


async def test_a_changed_url_is_used_at_once(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=replace(QUICK, backoff=60.0))
    rig.state("a@x.example")
    await rig.until(lambda: rig.named("telemetry.webhook-error"))
    await rig.hooks.reconfigure({"hook": to(receiver)}, WebhookLogOptions())
    await receiver.wait(lambda: receiver.taken)


async def test_events_that_nobody_takes_are_dropped_after_three_days_and_younger_ones_are_not(
    rig: Rig, receiver: Receiver
) -> None:
    receiver.answer = refuse(500)
    await rig.start(hook=to(receiver))
    rig.state("old@x.example", "old2@x.example")
    await receiver.wait(lambda: receiver.requests)
    rig.now += 3 * DAY - 10
    rig.state("young@x.example")
    await rig.logged(3)
    assert rig.named("telemetry.webhook-dropped") == []
    rig.now += 20
    await rig.until(lambda: rig.named("telemetry.webhook-dropped"))
    (dropped,) = rig.named("telemetry.webhook-dropped")
    assert (dropped.fields["id"], dropped.fields["total"]) == ("hook", 2)
    receiver.answer = lambda request: None
    await receiver.wait(lambda: receiver.taken)
    assert recipients(receiver) == ["young@x.example"]


async def test_events_are_sent_again_from_an_offset_or_a_time(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver))
    rig.state("a@x.example", "b@x.example")
    await receiver.wait(lambda: len(receiver.taken) == 2)
    rig.now += 100
    since = rig.now
    rig.state("c@x.example")
    await rig.taken("hook", 3)
    first, second, third = receiver.ids()
    receiver.taken.clear()
    await rig.hooks.replay("hook", "ann", after=first)
    await rig.taken("hook", 5)
    assert receiver.ids() == [second, third]
    receiver.taken.clear()
    await rig.hooks.replay("hook", "ann", since=since)
    await rig.taken("hook", 6)
    assert receiver.ids() == [third]
    assert [each.fields["account_name"] for each in rig.named("telemetry.webhook-replayed")] == ["ann", "ann"]
    receiver.answer = refuse(500)
    rig.now += 30 * DAY
    await rig.hooks.replay("hook", "ann", after=0)
    seen = len(receiver.requests)
    await receiver.wait(lambda: len(receiver.requests) > seen + 1)
    assert rig.named("telemetry.webhook-dropped") == [], "what is old when it is asked for has its three days again"


async def test_the_log_is_bounded_by_size_and_age(rig: Rig) -> None:
    receiver = Receiver()
    await rig.start(WebhookLogOptions(max_size=2000), hook=to(receiver, backoff=60.0))
    rig.state(*(f"{number}@x.example" for number in range(100)))
    await rig.logged(100)
    await rig.hooks.prune()
    assert rig.hooks._log is not None
    assert rig.hooks._log.octets <= 2000
    left = (await rig.hooks.state("hook")).pending
    (dropped,) = rig.named("telemetry.webhook-dropped")
    assert dropped.fields["total"] == 100 - left
    rig.now += 8 * DAY
    await rig.hooks.prune()
    assert (await rig.hooks.state("hook")).pending == 0
    assert rig.hooks._log.octets == 0


async def test_the_buffer_is_bounded_and_says_what_it_lost(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver))
    rig.state(*(["x@x.example"] * (MOST + 5)))
    await rig.until(lambda: rig.named("telemetry.webhook-dropped"))
    assert rig.named("telemetry.webhook-dropped")[0].fields["total"] == 5


async def test_a_log_that_cannot_be_opened_stops_no_mail(rig: Rig, receiver: Receiver) -> None:
    (rig.directory / FILE).write_bytes(b"no database" * 1000)
    await rig.start(hook=to(receiver))
    rig.state("a@x.example")
    assert rig.named("store.broken")
    assert rig.hooks not in rig.stream._subscribers


async def test_an_endpoint_of_its_own_gets_its_events_alone(rig: Rig, receiver: Receiver) -> None:
    async with Receiver() as own:
        endpoint = Endpoint(id="address:a@s.example", url=own.url, key="own", throttle=0.0, allow_private=True)

        async def lookup(id: str) -> Endpoint | None:
            return endpoint if id == endpoint.id else None

        await rig.start(hook=to(receiver))
        rig.hooks.lookup = lookup
        rig.hooks.enqueue(endpoint.id, delivery.DELIVERED, rig.now, {"to": "b@x.example"})
        rig.hooks.enqueue("address:nobody", delivery.DELIVERED, rig.now, {"to": "c@x.example"})
        await rig.taken(endpoint.id, 1)
        assert recipients(own) == ["b@x.example"]
        assert own.requests[0].is_signed("own")
        assert receiver.requests == []
        await rig.stop()
        await rig.start()
        rig.hooks.lookup = lookup
        rig.hooks.enqueue(endpoint.id, delivery.BOUNCED, rig.now, {"to": "d@x.example"})
        await own.wait(lambda: len(own.taken) == 2)
        assert own.ids() == sorted(set(own.ids()))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://own.test/"])
async def test_a_strangers_url_does_not_reach_our_own_network(rig: Rig, receiver: Receiver, url: str) -> None:
    rig.zone = {"own.test": {"A": ["127.0.0.1"]}}
    await rig.start()
    endpoint = Endpoint(id="address:x", url=url.format(port=receiver.port))
    posted = await rig.hooks._poster.post(endpoint, b'{"events":[]}')
    assert "private" in posted.reason
    assert receiver.requests == []


async def test_a_test_is_posted_at_once_and_moves_nothing(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver, signature_key="k"))
    before = await rig.hooks.state("hook")
    posted = await rig.hooks.test("hook")
    assert (posted.is_taken, posted.status) == (True, 200)
    assert receiver.requests[0].is_signed("k")
    assert receiver.taken[0]["type"] == "telemetry.webhook-test"
    assert (await rig.hooks.state("hook")) == before
    with pytest.raises(UnknownWebhook):
        await rig.hooks.test("another")


async def test_many_events_go_in_bounded_posts_in_order(rig: Rig, receiver: Receiver) -> None:
    def now_and_then(request: Request) -> web.StreamResponse | None:
        return web.Response(status=500) if len(receiver.requests) % 3 == 0 else None

    receiver.answer = now_and_then
    await rig.start(hook=to(receiver, backoff=0.001))
    rig.state(*(f"{number}@x.example" for number in range(1050)))
    await receiver.wait(lambda: len(receiver.taken) == 1050)
    assert recipients(receiver) == [f"{number}@x.example" for number in range(1050)]
    assert max(len(each.events) for each in receiver.requests) == 100


async def test_what_cannot_be_logged_now_is_logged_later(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayd.webhooks.webhooks._PATIENCE", 0.01)
    await rig.start(hook=to(receiver))
    assert rig.hooks._log is not None
    append, tries = rig.hooks._log.append, []

    async def full(rows: Any) -> None:
        tries.append(rows)
        if len(tries) < 3:
            raise DatabaseFull("no space left")
        await append(rows)

    monkeypatch.setattr(rig.hooks._log, "append", full)
    rig.state("a@x.example", "b@x.example")
    await receiver.wait(lambda: len(receiver.taken) == 2)
    assert recipients(receiver) == ["a@x.example", "b@x.example"]
    assert "no space left" in rig.named("telemetry.webhook-error")[0].fields["reason"]


async def test_a_field_that_json_cannot_say_hurts_nobody(rig: Rig, receiver: Receiver) -> None:
    await rig.start(hook=to(receiver))
    delivery.DELIVERED(rig.span, details={"a": "\ud800"}, to="odd@x.example")
    rig.state("b@x.example")
    await receiver.wait(lambda: len(receiver.taken) == 2)
    assert "cannot be shown" in receiver.taken[0]["data"]["reason"]
    assert receiver.taken[1]["data"]["to"] == "b@x.example"
