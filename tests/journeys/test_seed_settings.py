"""Every example of the API's pages about settings, as it stands: operations 28 and 32-35.

Keys are those of this daemon's file and database; all else is the example's.  The whole answer is compared.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay
from tests.rig.client import Client
from tests.rig.shapes import Every, check

ACCEPT = {"Accept": "application/json"}
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
DONE = {"data": None}


@pytest.fixture(scope="module")
def client(module_relay: StartRelay) -> Client:
    """Of a daemon whose configuration has nothing to warn of."""
    return Client(module_relay(settings={"server.postmaster": "p@relay.test"}).http_port)


def get(client: Client, path: str, **query: object) -> Any:
    found = client.ask("GET", "/api" + path, query=query, headers=ACCEPT)
    assert found.status == 200
    assert found.headers["content-type"] == "application/json; charset=utf-8"
    return found.json


def post(client: Client, *operations: dict[str, Any]) -> Any:
    found = client.ask("POST", "/api/settings", body=json.dumps(operations), headers=JSON)
    assert found.status == 200
    return found.json


def test_28_reload(client: Client) -> None:
    for path in ("/reload/", "/reload"):
        assert get(client, path) == {"data": {"warnings": {}, "errors": {}}}
    assert get(client, "/reload/", **{"dry-run": 1}) == {"data": {"warnings": {}, "errors": {}}}


def test_32_settings_by_key(client: Client) -> None:
    found = get(client, "/settings/keys", prefixes="", keys="server.hostname")
    assert found == {"data": {"server.hostname": "relay.test"}}
    found = get(
        client, "/settings/keys", keys="server.hostname,server.nothing", prefixes="authentication.fallback-admin"
    )
    assert found == {
        "data": {
            "server.hostname": "relay.test",
            "authentication.fallback-admin.user": "admin",
            "authentication.fallback-admin.secret": "********",
        }
    }


def test_33_settings_by_group(client: Client) -> None:
    found = get(client, "/settings/group", limit=10, page=1, suffix="protocol", prefix="server.listener")
    check(found, {"data": {"total": 2, "items": [Every(str)]}})
    assert [(each["_id"], each["protocol"]) for each in found["data"]["items"]] == [("http", "http"), ("smtp", "smtp")]
    assert found["data"]["items"][0] == {
        "_id": "http",
        "bind.0000": f"127.0.0.1:{client.port}",
        "protocol": "http",
    }
    second = get(client, "/settings/group", limit=1, page=2, suffix="protocol", prefix="server.listener")
    assert (second["data"]["total"], [each["_id"] for each in second["data"]["items"]]) == (2, ["smtp"])
    only = get(client, "/settings/group", suffix="protocol", prefix="server.listener", field="protocol", filter="SMTP")
    assert only == {"data": {"total": 1, "items": [{"_id": "smtp", "protocol": "smtp"}]}}
    plain = get(client, "/settings/group", prefix="server", filter="HOSTNAME")
    assert plain == {"data": {"total": 1, "items": [{"_id": "hostname", "_value": "relay.test"}]}}


def test_34_settings(client: Client) -> None:
    written = post(
        client,
        {
            "type": "insert",
            "prefix": "queue.route.spare",
            "values": [["address", "192.0.2.1"], ["port", "2525"], ["protocol", "smtp"]],
            "assert_empty": True,
        },
    )
    assert written == DONE
    found = get(client, "/settings/list", prefix="queue.route.spare")
    assert found == {"data": {"total": 3, "items": {"address": "192.0.2.1", "port": "2525", "protocol": "smtp"}}}
    page = get(client, "/settings/list", prefix="queue.route.spare", limit=1, page=2)
    assert page == {"data": {"total": 3, "items": {"port": "2525"}}}
    assert post(client, {"type": "clear", "prefix": "queue.route.spare."}) == DONE
    assert get(client, "/settings/list", prefix="queue.route.spare") == {"data": {"total": 0, "items": {}}}


def test_35_update(client: Client) -> None:
    assert post(client, {"type": "clear", "prefix": "spam-filter.rule.stwt_arc_signed."}) == DONE
    values = {"type": "insert", "prefix": None, "values": [["session.data.limits.size", "3MB"]], "assert_empty": True}
    assert post(client, values) == DONE
    assert post(client, values) == {"error": "assertFailed"}
    assert get(client, "/settings/keys", keys="session.data.limits.size") == {
        "data": {"session.data.limits.size": "3MB"}
    }
    assert post(client, {"type": "delete", "keys": ["session.data.limits.size"]}) == DONE
    assert get(client, "/settings/keys", keys="session.data.limits.size") == {"data": {}}


def test_35_what_is_invalid_is_refused_with_the_reason(client: Client) -> None:
    refused = post(
        client,
        {"type": "insert", "prefix": None, "values": [["server.http.max-body", "2MB"]], "assert_empty": False},
        {"type": "insert", "prefix": None, "values": [["queue.schedule.expire", "soon"]], "assert_empty": False},
    )
    check(refused, {"error": "other", "details": str, "reason": str})
    assert "queue.schedule.expire" in refused["reason"]
    assert get(client, "/settings/keys", keys="server.http.max-body") == {"data": {}}
    broken = client.ask("POST", "/api/settings", body='[{"type":"paint"}]', headers=JSON)
    assert broken.json == {
        "type": "about:blank",
        "status": 400,
        "title": "Invalid parameters",
        "detail": "JSON deserialization failed",
    }
    assert broken.status == 400


def test_delete_one_key(client: Client) -> None:
    post(client, {"type": "insert", "values": [["session.data.limits.size", "3MB"]], "assert_empty": False})
    assert client.ask("DELETE", "/api/settings/session.data.limits.size").json == DONE
    assert get(client, "/settings/keys", keys="session.data.limits.size") == {"data": {}}


def test_settings_survive_a_restart_and_say_where_they_come_from(module_relay: StartRelay) -> None:
    daemon = module_relay()
    client = Client(daemon.http_port)
    post(client, {"type": "insert", "values": [["session.data.limits.size", "3MB"]], "assert_empty": False})
    daemon.stop()
    daemon.start()
    keys = "server.hostname,session.data.limits.size,session.data.limits.recipients"
    found = get(client, "/settings/keys", keys=keys, defaults=1, source=1)
    assert found["data"]["sources"] == {
        "server.hostname": "file",
        "session.data.limits.size": "database",
        "session.data.limits.recipients": "default",
    }
    assert found["data"]["items"]["session.data.limits.size"] == "3MB"
