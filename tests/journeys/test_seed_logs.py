"""The example of the API's page about logs, as it stands, over the daemon's own log files: operation 19."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay, send
from tests.rig.client import Client
from tests.rig.shapes import TIME, Either, check

ACCEPT = {"Accept": "application/json"}

LINE: dict[str, Any] = {
    "timestamp": TIME,
    "level": Either("ERROR", "WARN", "INFO", "DEBUG", "TRACE"),
    "event": str,
    "event_id": re.compile(r"[a-z0-9-]+\.[a-z0-9-]+"),
    "details": str,
}

QUEUED = "(queue.queue-message-authenticated)"


@pytest.fixture(scope="module")
def client(module_relay: StartRelay) -> Client:
    daemon = module_relay()
    client = Client(daemon.http_port)
    daemon.data_of("PATCH", "/api/queue/status/stop")
    for _ in range(3):
        send(daemon)
    return client


def logs(client: Client, **query: object) -> Any:
    found = client.ask("GET", "/api/logs", query=query, headers=ACCEPT)
    assert (found.status, found.headers["content-type"]) == (200, "application/json; charset=utf-8")
    return found.json


def test_19_lines_newest_first(client: Client) -> None:
    found = logs(client, page=1, limit=50)
    check(found, {"data": {"items": [LINE], "total": int}})
    times = [each["timestamp"] for each in found["data"]["items"]]
    assert times == sorted(times, reverse=True)
    assert 3 < len(times) <= 50


def test_19_filter_and_pages(client: Client) -> None:
    found = [logs(client, filter=QUEUED, page=page, limit=2)["data"] for page in (1, 2, 3)]
    assert [len(each["items"]) for each in found] == [2, 1, 0]
    assert found[0]["total"] > 2
    queued = [*found[0]["items"], *found[1]["items"]]
    check(queued, [LINE])
    assert {each["event_id"] for each in queued} == {"queue.queue-message-authenticated"}
    assert all('from = "a@sender.test"' in each["details"] for each in queued)
    assert logs(client, filter="nothing like that") == {"data": {"items": [], "total": 0}}
