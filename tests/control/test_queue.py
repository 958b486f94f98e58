"""`/api/queue/*` over a real queue: shapes, filters, and that every change is carried out and named."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import pytest

from relayd.queue.message import NewMessage, Result
from tests.control.conftest import Control
from tests.queue.conftest import DAY, START, Rig, outcomes

NOW_TEXT = "2027-01-15T08:00:00Z"
assert START == 1_800_000_000.0


@pytest.fixture
def api(local: aiohttp.ClientSession) -> Api:
    return Api(local)


class Api:
    """Asks and gives the `data`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(self, method: str, path: str, json: object = None, **query: object) -> Any:
        params = [(name.rstrip("_").replace("_", "-"), str(value)) for name, value in query.items()]
        async with self.session.request(method, "/api" + path, params=params, json=json) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            body = await answer.json()
            assert list(body) == ["data"]
            return body["data"]

    async def ids(self, **query: object) -> list[int]:
        found: list[int] = (await self.ask("GET", "/queue/messages", **query))["items"]
        return found

    async def status(self, method: str, path: str, json: object = None) -> int:
        async with self.session.request(method, "/api" + path, json=json) as answer:
            assert answer.status == 200 or answer.content_type == "application/problem+json"
            return answer.status


async def put(rig: Rig, *addresses: str, **fields: Any) -> NewMessage:
    message = rig.new(*addresses, **fields)
    await rig.o.queue.enqueue(message)
    return message


async def test_an_empty_queue(api: Api) -> None:
    empty = {"items": [], "total": 0, "status": True}
    assert await api.ask("GET", "/queue/messages") == empty
    assert await api.ask("GET", "/queue/messages", values=1) == empty


async def test_a_message_as_the_api_shows_it(api: Api, rig: Rig) -> None:
    message = await put(rig, "a@one.example", "b@two.example", "c@one.example", envid="id+3D1")
    expected = {
        "id": message.id,
        "return_path": "sender@example.org",
        "domains": [
            {
                "name": name,
                "status": "scheduled",
                "recipients": [{"address": address, "status": "scheduled"} for address in addresses],
                "retry_num": 0,
                "next_retry": NOW_TEXT,
                "next_notify": "2027-01-16T08:00:00Z",
                "expires": "2027-01-20T08:00:00Z",
            }
            for name, addresses in [
                ("one.example", ["a@one.example", "c@one.example"]),
                ("two.example", ["b@two.example"]),
            ]
        ],
        "created": NOW_TEXT,
        "size": message.body.size,
        "env_id": "id=1",
    }
    found = await api.ask("GET", f"/queue/messages/{message.id}")
    assert len(found.pop("blob_hash")) == 43
    assert found == expected
    listed = await api.ask("GET", "/queue/messages", values=0)
    assert listed["total"] == 1
    assert listed["items"][0]["domains"] == expected["domains"]


async def test_what_attempts_leave_behind(api: Api, rig: Rig) -> None:
    message = await put(rig, "a@one.example", "b@two.example", "c@three.example")
    for job in await rig.lease():
        result = {"one": Result.DEFERRED, "two": Result.DELIVERED, "three": Result.BOUNCED}[
            job.destination.split(".")[0]
        ]
        await rig.o.queue.settle(job, outcomes(job, result, next_attempt=START + 60))
    rig.clock.now += 2 * DAY
    one, two, three = (await api.ask("GET", f"/queue/messages/{message.id}"))["domains"]
    assert (one["status"], one["retry_num"], one["next_retry"]) == ({"temp_fail": "said"}, 1, "2027-01-15T08:01:00Z")
    assert one["next_notify"] is None
    assert (two["status"], two["next_retry"], two["next_notify"]) == ({"completed": ""}, None, None)
    assert two["recipients"] == [{"address": "b@two.example", "status": {"completed": "said"}}]
    assert three["status"] == three["recipients"][0]["status"] == {"perm_fail": "said"}


async def test_ids_survive_javascript(api: Api, rig: Rig) -> None:
    message = await put(rig)
    printed = f"{float(message.id):.17g}"
    shown = str(int(float(printed)))
    rounded = shown[:17] + "0" * (len(shown) - 17)
    assert (await api.ask("GET", f"/queue/messages/{rounded}"))["id"] == message.id
    assert await api.ids(range_start=rounded, range_end=rounded) == [message.id]


@pytest.mark.parametrize("id", ["1", "x", "-5", "99999999999999999999999", "18446744073709551615", "%00", "", "1.5"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_id_is_404(api: Api, method: str, id: str) -> None:
    assert await api.status(method, f"/queue/messages/{id}") == 404


async def test_filters_and_pages(api: Api, rig: Rig) -> None:
    first = await put(rig, "ann@one.example", sender="Bob@example.org", due=START + 100)
    rig.clock.now += 1
    second = await put(rig, "cleo@two.example", sender="", due=START + 200)
    third = await put(rig, "ann@two.example", "dan@two.example", sender="eve@example.org", due=START + 300, held="rule")
    everything = [first.id, second.id, third.id]
    assert await api.ids() == everything
    assert await api.ids(text="ann") == await api.ids(filter="ann") == [first.id, third.id]
    assert await api.ids(text="bob@", to="cleo") == [first.id]
    assert await api.ids(from_="eve") == [third.id]
    assert await api.ids(to="two.example") == [second.id, third.id]
    assert await api.ids(domain="one.ex") == [first.id]
    assert await api.ids(held=1) == await api.ids(state="held") == [third.id]
    assert await api.ids(before="2027-01-15T08:02:30Z") == [first.id]
    assert await api.ids(after="2027-01-15T09:02:30+01:00") == [second.id, third.id]
    assert await api.ids(range_start=second.id) == [second.id, third.id]
    assert await api.ids(range_end=second.id, before="nonsense", limit="x", text="") == [first.id, second.id]
    assert await api.ask("GET", "/queue/messages", limit=2, page=2) == {
        "items": [third.id],
        "total": 3,
        "status": True,
    }
    assert await api.ask("GET", "/queue/messages", limit=1, max_total=2) == {
        "items": [first.id],
        "total": 2,
        "status": True,
    }


async def test_a_long_list_of_values_is_whole_and_in_order(api: Api, rig: Rig) -> None:
    for number in range(600):
        await put(rig, f"r{number}@x.example", "é" + "@y.example")
    listed = await api.ask("GET", "/queue/messages", values=1)
    assert listed["total"] == 600
    assert [each["domains"][0]["recipients"][0]["address"] for each in listed["items"]] == [
        f"r{number}@x.example" for number in range(600)
    ]


async def test_rescheduling(api: Api, rig: Rig) -> None:
    message = await put(rig, "a@one.example", "b@two.example", due=START + 500)
    path = f"/queue/messages/{message.id}"
    assert await api.ask("PATCH", path, filter="two", at="2027-01-15T09:00:00Z") is True
    one, two = (await api.ask("GET", path))["domains"]
    assert (one["next_retry"], two["next_retry"]) == ("2027-01-15T08:08:20Z", "2027-01-15T09:00:00Z")
    assert two["expires"] == "2027-01-20T08:00:00Z"
    assert await api.ask("PATCH", path, filter="nowhere") is False
    assert await api.ask("PATCH", "/queue/messages", text="one", at="2020-01-01T00:00:00Z") is True
    assert (await api.ask("GET", path))["domains"][1]["next_retry"] == NOW_TEXT
    assert await api.ask("PATCH", "/queue/messages", text="nobody") is False


async def test_removing(api: Api, rig: Rig, control: Control) -> None:
    message = await put(rig, "a@one.example", "b@two.example")
    others = [await put(rig, "c@x.example"), await put(rig, "d@x.example"), await put(rig, "e@y.example")]
    path = f"/queue/messages/{message.id}"
    assert await api.ask("DELETE", path, filter="b@two") is True
    (cancelled,) = (domain := (await api.ask("GET", path))["domains"][1])["recipients"]
    assert domain["status"] == {"completed": ""}
    assert cancelled["status"] == {"perm_fail": "Code: 0, Enhanced code: 0.0.0, Message: Delivery canceled."}
    assert await api.ask("DELETE", path, filter="nobody") is False
    assert await api.ask("DELETE", path) is True
    assert await api.status("GET", path) == 404
    assert await api.ask("DELETE", "/queue/messages", filter="x.example", limit=1) is True
    assert await api.ids() == [each.id for each in others[1:]]
    assert await api.ask("DELETE", "/queue/messages", text="nobody") is False
    assert await api.ask("DELETE", "/queue/messages", max_total=1) is True
    assert await api.ids() == [others[2].id]
    assert await api.ask("DELETE", "/queue/messages") is True
    assert await api.ids() == []
    assert await rig.holds() == 0
    action = control.named("manage.action")[-1]
    assert action.fields == {
        "account_name": action.fields["account_name"],
        "type_": "queue.remove",
        "details": "remove all",
        "total": 1,
        "reason": "",
    }
    assert action.fields["account_name"] in ("root", "local")


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("PATCH", "at=soon"),
        ("PATCH", "before=yesterday"),
        ("DELETE", "before=yesterday"),
        ("DELETE", "limit=all"),
        ("DELETE", "range-start=x"),
        ("DELETE", "state=hled"),
    ],
)
async def test_a_filter_that_cannot_be_read_changes_nothing(api: Api, rig: Rig, method: str, query: str) -> None:
    await put(rig)
    assert await api.status(method, f"/queue/messages?{query}") == 400
    assert len(await api.ids()) == 1


async def test_holding_and_releasing(api: Api, rig: Rig, control: Control) -> None:
    message = await put(rig, "a@one.example")
    await put(rig, "b@two.example")
    assert await api.ask("POST", "/queue/hold", {"reason": "looks odd"}, to="one") == {"matched": 1}
    hold = (await api.ask("GET", f"/queue/messages/{message.id}"))["hold"]
    assert hold == {"since": NOW_TEXT, "by": hold["by"], "reason": "looks odd"}
    assert hold["by"] in ("root", "local")
    assert [job.destination for job in await rig.lease()] == ["two.example"]
    assert await api.ask("POST", "/queue/release", range_start=message.id, range_end=message.id) == {"matched": 1}
    assert "hold" not in await api.ask("GET", f"/queue/messages/{message.id}")
    assert await api.ask("POST", "/queue/release") == {"matched": 0}
    assert [event.fields["type_"] for event in control.named("manage.action")] == [
        "queue.hold",
        "queue.release",
        "queue.release",
    ]


async def test_bouncing(api: Api, rig: Rig) -> None:
    await put(rig, "a@one.example")
    await put(rig, "b@two.example")
    assert await api.ask("POST", "/queue/bounce", {"reason": "gone"}, to="one") == {"matched": 1}
    assert len(await api.ids()) == 1
    audit = await api.ask("GET", "/queue/audit")
    assert (audit["accepted"], audit["bounced"], audit["queued"], audit["difference"]) == (2, 1, 1, 0)


async def test_pausing_says_what_was_before_and_who_when_and_why(api: Api, rig: Rig) -> None:
    assert await api.ask("GET", "/queue/status") is True
    assert await api.ask("GET", "/queue/status", detail=1) == {"running": True}
    assert await api.ask("PATCH", "/queue/status/start") is True
    assert await api.ask("PATCH", "/queue/status/stop", {"reason": "maintenance"}) is True
    assert await api.ask("PATCH", "/queue/status/stop") is False
    detail = await api.ask("GET", "/queue/status", detail=1)
    assert detail == {"running": False, "since": NOW_TEXT, "by": detail["by"], "reason": "maintenance"}
    assert (await api.ask("GET", "/queue/messages"))["status"] is False
    assert rig.o.queue.paused is not None
    assert await api.ask("PATCH", "/queue/status/start") is False
    assert await api.ask("GET", "/queue/status") is True
    assert await api.status("PATCH", "/queue/status/restart") == 404


@pytest.mark.parametrize("body", [b"{", b'{"reason": 5}', b"[]", b"\xff"])
async def test_a_body_that_is_no_reason_is_400(local: aiohttp.ClientSession, rig: Rig, body: bytes) -> None:
    async with local.patch("/api/queue/status/stop", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["detail"] == "JSON deserialization failed"
    assert rig.o.queue.paused is None


async def test_a_body_over_the_limit_is_413(local: aiohttp.ClientSession) -> None:
    async with local.post("/api/queue/hold", data=io.BytesIO(b" " * (1 << 20) + b"{}")) as answer:
        assert answer.status == 413
        assert answer.content_type == "application/problem+json"


async def test_deleted_mail_is_listed_by_name_and_comes_back(api: Api, rig: Rig, control: Control) -> None:
    message = await put(rig, "a@one.example")
    kept = await put(rig, "b@two.example")
    path = f"/queue/messages/{message.id}"
    before = await api.ask("GET", path)
    assert await api.ask("DELETE", path) is True
    assert await api.status("GET", path) == await api.status("PATCH", path) == await api.status("DELETE", path) == 404
    assert await api.ids() == [kept.id]
    listed = await api.ask("GET", "/queue/messages", state="deleted", values=1)
    by = listed["items"][0]["deleted"]["by"]
    deleted = {"since": NOW_TEXT, "by": by, "reason": "", "until": "2027-01-16T08:00:00Z"}
    assert by in ("root", "local")
    assert listed == {"items": [{**before, "deleted": deleted}], "total": 1, "status": True}
    assert await api.ask("GET", path, deleted=1) == {**before, "deleted": deleted}
    assert await api.ask("POST", "/queue/undo", {"reason": "oops"}, text="nobody") == {"matched": 0}
    assert await api.ask("POST", "/queue/undo", {"reason": "oops"}) == {"matched": 1}
    assert await api.ask("GET", path) == before
    assert [event.fields["type_"] for event in control.named("manage.action")][-1] == "queue.undo"
    await api.ask("DELETE", path)
    assert await api.ask("DELETE", "/queue/messages", state="deleted") is False
    assert await api.ask("DELETE", path, purge=1) is True
    assert await api.ids(state="deleted") == []
    assert await api.ask("DELETE", "/queue/messages", purge=1) is True
    assert await api.ask("POST", "/queue/undo") == {"matched": 0}
    assert await rig.holds() == 0


async def test_a_page_of_what_can_be_undone(api: Api, rig: Rig) -> None:
    ids = [(await put(rig, f"u{number}@one.example")).id for number in range(4)]
    await api.ask("DELETE", "/queue/messages", range_start=ids[1])
    assert await api.ask("POST", "/queue/undo", limit=2, page=2, dry_run=1) == {"matched": 1, "sample": [ids[3]]}
    assert await api.ask("POST", "/queue/undo", limit=2) == {"matched": 2}
    assert await api.ids() == ids[:3]


async def test_a_cancelled_recipient_comes_back(api: Api, rig: Rig) -> None:
    message = await put(rig, "a@one.example", "b@two.example")
    path = f"/queue/messages/{message.id}"
    before = await api.ask("GET", path)
    assert await api.ask("DELETE", path, filter="b@two", dry_run=1) == {"matched": 1, "sample": [message.id]}
    assert await api.ask("DELETE", path, filter="nobody", dry_run=1) == {"matched": 0, "sample": []}
    assert await api.ask("GET", path) == before
    assert await api.ask("DELETE", path, filter="b@two") is True
    assert await api.ask("POST", "/queue/undo", dry_run=1) == {"matched": 1, "sample": [message.id]}
    assert await api.ask("POST", "/queue/undo", range_start=message.id, range_end=message.id) == {"matched": 1}
    assert await api.ask("GET", path) == before
    await api.ask("DELETE", path, filter="b@two", purge=1)
    assert await api.ask("POST", "/queue/undo") == {"matched": 0}


async def test_every_change_can_be_previewed(api: Api, rig: Rig, control: Control) -> None:
    ids = [(await put(rig, f"u{number}@one.example")).id for number in range(25)]
    everything = {"matched": 25, "sample": ids[:20]}
    for method, path in (
        ("PATCH", "/queue/messages"),
        ("DELETE", "/queue/messages"),
        ("POST", "/queue/hold"),
        ("POST", "/queue/bounce"),
    ):
        assert await api.ask(method, path, dry_run=1) == everything, path
    assert await api.ask("POST", "/queue/reroute", {"next_hop": "mx"}, dry_run=1) == everything
    assert await api.ask("DELETE", "/queue/messages", dry_run=1, limit=2, page=2) == {"matched": 2, "sample": ids[2:4]}
    for method in ("PATCH", "DELETE"):
        found = await api.ask(method, f"/queue/messages/{ids[0]}", dry_run=1)
        assert found == {"matched": 1, "sample": ids[:1]}
    assert await api.ask("POST", "/queue/release", dry_run=1) == {"matched": 0, "sample": []}
    assert await api.ids() == ids
    assert control.named("manage.action") == []
    assert await rig.holds() == 25


async def test_rerouting(api: Api, rig: Rig, control: Control) -> None:
    message = await put(rig, "a@one.example", due=START + 900)
    await put(rig, "b@two.example")
    path = f"/queue/messages/{message.id}"
    assert "next_hop" not in await api.ask("GET", path)
    moved = await api.ask("POST", "/queue/reroute", {"next_hop": "hub", "reason": "one is down"}, to="one")
    assert moved == {"matched": 1}
    assert (await api.ask("GET", path))["next_hop"] == "hub"
    assert {job.destination for job in await rig.lease()} == {"route:hub", "two.example"}
    action = control.named("manage.action")[-1].fields
    assert (action["type_"], action["details"], action["reason"]) == (
        "queue.reroute",
        "reroute recipient=one",
        "one is down",
    )
    assert await api.ask("POST", "/queue/reroute", {"next_hop": ""}) == {"matched": 2}
    assert "next_hop" not in await api.ask("GET", path)
    for body in ({"next_hop": "nowhere"}, {}, {"next_hop": 5}, None):
        assert await api.status("POST", "/queue/reroute", body) == 400


async def test_suspended_destinations(api: Api, rig: Rig, control: Control) -> None:
    assert await api.ask("GET", "/queue/suspensions") == []
    await rig.o.queue.suspend("mx:one.example", START + 60, "breaker", "too many bounces")
    await rig.o.queue.suspend("two.example", None, "ann", "")
    one = {"destination": "mx:one.example", "since": NOW_TEXT, "until": "2027-01-15T08:01:00Z", "by": "breaker"}
    one |= {"subject": "domain", "name": "one.example"}
    two = {"destination": "two.example", "since": NOW_TEXT, "until": None, "by": "ann", "reason": ""}
    two |= {"subject": "domain", "name": "two.example"}
    assert await api.ask("GET", "/queue/suspensions") == [{**one, "reason": "too many bounces"}, two]
    assert await api.ask("DELETE", "/queue/suspensions/mx%3Aone.example") is True
    assert await api.ask("GET", "/queue/suspensions") == [two]
    assert await api.status("DELETE", "/queue/suspensions/one.example") == 404
    assert control.named("manage.action")[-1].fields["details"] == "unsuspend mx:one.example"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"domain": "Bücher.Example."}, "xn--bcher-kva.example"),
        ({"provider": "google", "for": "1m", "reason": "blocked"}, "provider:google"),
        ({"account": "ann", "until": "2027-01-15T09:01:00+01:00"}, "account:ann"),
        ({"source": "pool-a"}, "source:pool-a"),
        ({"route": "hub"}, "route:hub"),
    ],
)
async def test_suspending(api: Api, rig: Rig, control: Control, body: dict[str, str], key: str) -> None:
    value = await api.ask("POST", "/queue/suspensions", body)
    (kept,) = rig.o.queue.suspensions()
    assert value["destination"] == kept.destination == key
    assert kept.by == value["by"] != ""
    assert kept.until == (START + 60 if len(body) > 1 else None)
    assert control.named("manage.action")[-1].fields["details"] == f"suspend {key}"
    await rig.reopen()
    assert [each.destination for each in rig.o.queue.suspensions()] == [key]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (None, "expected one of domain, route, provider, account, source"),
        ({"domain": "a.example", "route": "hub"}, "expected one of"),
        ({"domain": "a b"}, "domain: 'a b' is no domain name"),
        ({"domain": ""}, "domain: expected a name"),
        ({"account": "a\nb"}, "account: expected a name"),
        ({"account": "a" * 300}, "account: expected a name"),
        ({"domain": 5}, "Expected `str"),
        ({"nobody": "x"}, "unknown field"),
        ({"domain": "a.example", "for": "soon"}, "for: expected a duration"),
        ({"domain": "a.example", "for": "0"}, "the end is not in the future"),
        ({"domain": "a.example", "until": "tomorrow"}, "until: expected an RFC 3339 time"),
        ({"domain": "a.example", "until": "2027-01-15T09:01:00Z", "for": "1h"}, "not both"),
        ({"domain": "a.example", "reason": "x" * 1001}, "reason: expected at most"),
    ],
)
async def test_what_cannot_be_suspended(api: Api, rig: Rig, body: Any, says: str) -> None:
    async with api.session.post("/api/queue/suspensions", json=body) as answer:
        assert answer.status == 400
        assert says in (await answer.json())["detail"]
    assert rig.o.queue.suspensions() == []
