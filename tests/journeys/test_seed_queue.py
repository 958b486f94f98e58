"""Every example of the API's pages about the queue, as it stands, over real queued mail: operations 11-13, 40-45, 53.

Ids and filters are those of the mail at hand; all else is the example's.  The whole answer is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay, message, send, wait_status
from tests.rig.client import Answer, Client
from tests.rig.daemon import Daemon
from tests.rig.shapes import BLOB, TIME, Either, Maybe, check
from tests.rig.sink import Delivery, Sink

ACCEPT = {"Accept": "application/json"}

TEXT_OF_REPLY = re.compile(r"Code: \d{3}, Enhanced code: \d\.\d+\.\d+, Message: .*", re.DOTALL)

STATUS = Either(
    "scheduled",
    {"completed": str},
    {"temp_fail": str},
    {"perm_fail": str},
)

MESSAGE: dict[str, Any] = {
    "id": int,
    "return_path": str,
    "domains": [
        {
            "name": str,
            "status": STATUS,
            "recipients": [
                {"address": str, "status": STATUS, "orcpt": Maybe(str), "class": Maybe(str), "rule": Maybe(str)}
            ],
            "retry_num": int,
            "next_retry": Either(TIME, None),
            "next_notify": Either(TIME, None),
            "expires": TIME,
        }
    ],
    "created": TIME,
    "size": int,
    "env_id": Maybe(str),
    "blob_hash": BLOB,
}

NOT_FOUND = {
    "type": "about:blank",
    "status": 404,
    "title": "Not Found",
    "detail": "The requested resource does not exist on this server.",
}


def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
    if verb == "RCPT" and "busy@" in argument:
        return "451 4.7.1 busy"
    if verb == "RCPT" and "gone@" in argument:
        return "550 5.1.1 nobody of that name"
    return None


@dataclass(frozen=True)
class Relay:
    daemon: Daemon
    client: Client

    def ask(self, method: str, path: str, **query: object) -> Answer:
        return self.client.ask(
            method, "/api" + path, query={name.replace("_", "-"): each for name, each in query.items()}, headers=ACCEPT
        )

    def shown(self, id: str) -> Any:
        return self.ask("GET", f"/queue/messages/{id}").data


@pytest.fixture(scope="module")
def relay_of_module(module_relay: StartRelay) -> Iterator[Relay]:
    with Sink(answer=answer) as sink:
        daemon = module_relay(sink.port, {"queue.schedule.retry": ["10m"]})
        yield Relay(daemon, Client(daemon.http_port))


@pytest.fixture
def stopped(relay_of_module: Relay) -> Iterator[Relay]:
    """With the queue stopped and empty, so that what a test sends stays as it came."""
    relay = relay_of_module
    relay.ask("PATCH", "/queue/status/stop")
    relay.ask("DELETE", "/queue/messages")
    yield relay
    relay.ask("DELETE", "/queue/messages")
    relay.ask("PATCH", "/queue/status/start")


def test_40_41_53_stop_resume_and_status(relay_of_module: Relay) -> None:
    relay = relay_of_module
    assert relay.ask("GET", "/queue/status").json == {"data": True}
    assert relay.ask("PATCH", "/queue/status/stop").json == {"data": True}
    assert relay.ask("GET", "/queue/status").json == {"data": False}
    assert relay.ask("PATCH", "/queue/status/stop").json == {"data": False}
    assert relay.ask("PATCH", "/queue/status/start").json == {"data": False}
    assert relay.ask("PATCH", "/queue/status/start").json == {"data": True}
    unknown = relay.ask("PATCH", "/queue/status/other")
    assert (unknown.status, unknown.json) == (404, NOT_FOUND)


def test_11_nothing_queued(stopped: Relay) -> None:
    found = stopped.ask("GET", "/queue/messages", page=1, max_total=100, limit=10, values=1)
    assert found.json == {"data": {"items": [], "total": 0, "status": False}}
    assert found.headers["content-type"] == "application/json; charset=utf-8"


def test_11_list(stopped: Relay) -> None:
    ids = [int(send(stopped.daemon, to=[f"b{number}@receiver.test"])) for number in range(3)]
    found = stopped.ask("GET", "/queue/messages", page=1, max_total=100, limit=2, values=1).json
    check(found, {"data": {"items": [MESSAGE], "total": 3, "status": False}})
    assert [each["id"] for each in found["data"]["items"]] == ids[:2]
    plain = stopped.ask("GET", "/queue/messages", page=2, max_total=100, limit=2)
    assert plain.json == {"data": {"items": ids[2:], "total": 3, "status": False}}
    assert stopped.ask("GET", "/queue/messages").json == {"data": {"items": ids, "total": 3, "status": False}}
    assert stopped.ask("GET", "/queue/messages", max_total=2, limit=1).data["total"] == 2


def test_12_reschedule_many_and_filter_is_the_text(stopped: Relay) -> None:
    met, other = send(stopped.daemon, to="b@met.test"), send(stopped.daemon, to="b@other.test")
    stopped.ask("PATCH", f"/queue/messages/{met}", at="2099-01-01T00:00:00Z")
    stopped.ask("PATCH", f"/queue/messages/{other}", at="2099-01-01T00:00:00Z")
    assert stopped.ask("PATCH", "/queue/messages", filter="met.test").json == {"data": True}
    assert stopped.shown(other)["domains"][0]["next_retry"] == "2099-01-01T00:00:00Z"
    assert stopped.shown(met)["domains"][0]["next_retry"] < "2099"
    assert stopped.ask("PATCH", "/queue/messages", filter="nowhere.test").json == {"data": False}


def test_13_delete_many(stopped: Relay) -> None:
    send(stopped.daemon, to="b@met.test")
    other = send(stopped.daemon, to="b@other.test")
    assert stopped.ask("DELETE", "/queue/messages", text="met.test").json == {"data": True}
    assert stopped.ask("GET", "/queue/messages").data["items"] == [int(other)]
    assert stopped.ask("DELETE", "/queue/messages", text="met.test").json == {"data": False}


def test_42_details(stopped: Relay) -> None:
    id = send(stopped.daemon, message(body="x" * 1000 + "\r\n"), to=["b@example.org"])
    found = stopped.ask("GET", f"/queue/messages/{id}").json
    check(
        found,
        {
            "data": {
                "id": int(id),
                "return_path": "a@sender.test",
                "domains": [
                    {
                        "name": "example.org",
                        "status": "scheduled",
                        "recipients": [{"address": "b@example.org", "status": "scheduled"}],
                        "retry_num": 0,
                        "next_retry": TIME,
                        "next_notify": TIME,
                        "expires": TIME,
                    }
                ],
                "created": TIME,
                "size": lambda size: type(size) is int and size > 1000,
                "blob_hash": BLOB,
            }
        },
    )
    domain, created = found["data"]["domains"][0], found["data"]["created"]
    assert created <= domain["next_retry"] < domain["next_notify"] < domain["expires"]


def test_42_with_dsn_parameters(stopped: Relay) -> None:
    id = send(
        stopped.daemon,
        sender="",
        to=["b@example.org", "c@example.org", "d@receiver.test"],
        mail_options=("ENVID=env+2B1",),
        rcpt_options=("ORCPT=rfc822;first+2Blast@origin.test",),
    )
    found = stopped.shown(id)
    check(found, MESSAGE)
    assert (found["return_path"], found["env_id"]) == ("", "env+1")
    assert [each["name"] for each in found["domains"]] == ["example.org", "receiver.test"]
    assert [each["address"] for each in found["domains"][0]["recipients"]] == ["b@example.org", "c@example.org"]
    assert found["domains"][1]["recipients"][0]["orcpt"] == "rfc822;first+last@origin.test"


def test_42_what_was_tried(relay_of_module: Relay) -> None:
    relay = relay_of_module
    id = send(relay.daemon, to=["busy@receiver.test", "ok@receiver.test", "gone@other.test"])
    wait_status(relay.daemon, id, "temp_fail")
    found = relay.shown(id)
    check(found, MESSAGE)
    receiver, other = found["domains"]
    check(
        receiver["status"],
        {"temp_fail": "Unexpected response from '127.0.0.1': Code: 451, Enhanced code: 4.7.1, Message: busy"},
    )
    busy, delivered = receiver["recipients"]
    text = "Code: 451, Enhanced code: 4.7.1, Message: busy"
    ours = {"class": "policy", "rule": "code-policy"}
    assert busy == {"address": "busy@receiver.test", "status": {"temp_fail": text}} | ours
    check(delivered, {"address": "ok@receiver.test", "status": {"completed": TEXT_OF_REPLY}})
    assert receiver["retry_num"] == 1
    check((receiver["next_retry"]), TIME)
    check(other["status"], {"perm_fail": re.compile("Unexpected response from '127.0.0.1': Code: 550, .*")})
    assert (other["next_retry"], other["next_notify"]) == (None, None)
    relay.ask("DELETE", f"/queue/messages/{id}")


@pytest.mark.parametrize("id", ["217700302698266620", "jane", "0", "18446744073709551616"])
def test_42_43_44_what_is_not_there(relay_of_module: Relay, id: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        found = relay_of_module.ask(method, f"/queue/messages/{id}")
        assert (found.status, found.json) == (404, NOT_FOUND), method
        assert found.headers["content-type"] == "application/problem+json"


def test_43_reschedule_one(stopped: Relay) -> None:
    id = send(stopped.daemon, to=["b@receiver.test", "c@other.test"])
    before = stopped.shown(id)
    assert stopped.ask("PATCH", f"/queue/messages/{id}", at="2099-01-01T00:00:00Z", filter="other").json == {
        "data": True
    }
    receiver, other = stopped.shown(id)["domains"]
    assert receiver["next_retry"] == before["domains"][0]["next_retry"]
    assert other["next_retry"] == "2099-01-01T00:00:00Z"
    assert other["expires"] >= before["domains"][1]["expires"]
    assert stopped.ask("PATCH", f"/queue/messages/{id}").json == {"data": True}
    assert stopped.shown(id)["domains"][1]["next_retry"] < "2099"
    assert stopped.ask("PATCH", f"/queue/messages/{id}", filter="nowhere").json == {"data": False}


def test_44_cancel_one(stopped: Relay) -> None:
    id = send(stopped.daemon, to=["b@receiver.test", "c@other.test"])
    assert stopped.ask("DELETE", f"/queue/messages/{id}", filter="c@other").json == {"data": True}
    _, other = stopped.shown(id)["domains"]
    assert other["status"] == {"completed": ""}
    cancelled = {"perm_fail": "Code: 0, Enhanced code: 0.0.0, Message: Delivery canceled."}
    assert other["recipients"] == [{"address": "c@other.test", "status": cancelled}]
    assert other["next_retry"] is None
    assert stopped.ask("DELETE", f"/queue/messages/{id}", filter="nobody").json == {"data": False}
    assert stopped.ask("DELETE", f"/queue/messages/{id}").json == {"data": True}
    assert stopped.ask("GET", f"/queue/messages/{id}").status == 404


def test_45_the_text_of_a_message(stopped: Relay) -> None:
    content = message(body="line\r\n" * 5000)
    shown = stopped.shown(send(stopped.daemon, content))
    blob = f"/api/store/blobs/{shown['blob_hash']}"
    first = stopped.client.ask("GET", blob, query={"limit": 10240})
    assert (first.status, first.headers["content-type"]) == (200, "application/octet-stream")
    whole = stopped.client.ask("GET", blob)
    assert (len(whole.octets), len(first.octets)) == (shown["size"], 10240)
    assert whole.octets.endswith(content)
    assert first.octets == whole.octets[:10240]
    part = stopped.client.ask("GET", blob, query={"offset": 100, "limit": 50})
    assert part.octets == whole.octets[100:150]


def test_45_what_is_not_there(stopped: Relay) -> None:
    absent = stopped.client.ask("GET", "/api/store/blobs/ykrZ_KghvdG2AdjH4AZajkSvZvcsxP_oI2HEZvw-tS0")
    assert (absent.status, absent.json) == (200, {"error": "notFound", "item": ""})
    wrong = stopped.client.ask("GET", "/api/store/blobs/not*base64")
    check(
        wrong.json,
        {"type": "about:blank", "status": 400, "title": "Invalid parameters", "detail": "Base64 decoding failed"},
    )


def test_changes_beyond_the_pages(stopped: Relay) -> None:
    """Hold, preview, release, reroute, undo: the issue's own operations, on the list's filters."""
    id = send(stopped.daemon, to="b@changed.test")
    send(stopped.daemon, to="b@other.test")
    json = {"Content-Type": "application/json"}
    preview = stopped.client.ask(
        "POST", "/api/queue/hold", query={"text": "changed.test", "dry-run": 1}, body="{}", headers=json
    )
    assert preview.json == {"data": {"matched": 1, "sample": [int(id)]}}
    held = stopped.client.ask(
        "POST", "/api/queue/hold", query={"text": "changed.test"}, body='{"reason": "look first"}', headers=json
    )
    assert held.json == {"data": {"matched": 1}}
    check(stopped.shown(id), {**MESSAGE, "hold": {"since": TIME, "by": "admin", "reason": "look first"}})
    released = stopped.client.ask("POST", "/api/queue/release", query={"text": "changed.test"}, headers=json)
    assert released.json == {"data": {"matched": 1}}
    assert stopped.ask("DELETE", f"/queue/messages/{id}").json == {"data": True}
    deleted = stopped.ask("GET", "/queue/messages", state="deleted", text="changed.test")
    assert deleted.json == {"data": {"items": [int(id)], "total": 1, "status": False}}
    undone = stopped.client.ask("POST", "/api/queue/undo", query={"text": "changed.test"}, headers=json)
    assert undone.json == {"data": {"matched": 1}}
    check(stopped.shown(id), MESSAGE)
    rerouted = stopped.client.ask(
        "POST", "/api/queue/reroute", query={"text": "changed.test"}, body='{"next_hop": "sink"}', headers=json
    )
    assert rerouted.json == {"data": {"matched": 1}}
