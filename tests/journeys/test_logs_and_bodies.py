"""A live relay's log and its queued mail are read over the control socket and by the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.conftest import StartRelay, message, send, wait_status
from tests.journeys.test_command_line import House
from tests.rig.sink import Delivery, Sink

BODY = "line\r\n" * 20_000  # over the limit of what stays in the database


@dataclass
class Queued:
    house: House
    id: str
    hash: str


@pytest.fixture(scope="module")
def queued(module_relay: StartRelay) -> Iterator[Queued]:
    """A relay with one deferred message, whose body is a file."""

    def busy(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "450 4.2.1 busy" if verb == "RCPT" else None

    with Sink(answer=busy) as sink:
        daemon = module_relay(sink.port, {"queue.schedule.retry": ["1h"]})
        id = send(daemon, message("kept", BODY))
        wait_status(daemon, id, "temp_fail")
        yield Queued(House(daemon, sink), id, daemon.data_of("GET", f"/api/queue/messages/{id}")["blob_hash"])


def test_the_newest_lines_come_first(queued: Queued) -> None:
    relay = queued.house.relay
    found = relay.data_of("GET", "/api/logs?page=1&limit=50")
    assert set(found) == {"items", "total"}
    for each in found["items"]:
        assert list(each) == ["timestamp", "level", "event", "event_id", "details"]
        assert all(isinstance(value, str) for value in each.values())
    times = [each["timestamp"] for each in found["items"]]
    assert times == sorted(times, reverse=True)
    assert found["items"][-1]["event_id"] != found["items"][0]["event_id"]
    # what is stated now can be read at once
    relay.data_of("PATCH", "/api/queue/status/stop", {"reason": 'a "quoted" reason'})
    relay.data_of("PATCH", "/api/queue/status/start")
    (paused,) = relay.data_of("GET", "/api/logs?filter=queue.paused")["items"]
    assert paused["details"].endswith('reason = "a \\"quoted\\" reason"')
    first = relay.data_of("GET", f"/api/logs?limit=1&filter={queued.id}")
    assert len(first["items"]) == 1
    assert first["total"] == 2  # there is another page


def test_the_log_command(queued: Queued) -> None:
    lines = queued.house.says("log", "--filter", queued.id, "-n", "100").splitlines()
    assert any("(queue.queue-message" in line for line in lines)
    assert lines == sorted(lines, key=lambda line: line[:20])
    assert json.loads(queued.house.says("log", "--filter", "no such words", "--json")) == {"items": [], "total": 0}


def test_a_body_is_read_by_hash_and_by_id(queued: Queued, tmp_path: Path) -> None:
    relay = queued.house.relay
    status, whole = relay.request("GET", f"/api/store/blobs/{queued.hash}")
    assert status == 200
    assert whole.endswith("\r\nSubject: kept\r\n\r\n" + BODY)
    assert whole.startswith("Received: ")
    assert len(whole) == relay.queued()[0]["size"]
    status, part = relay.request("GET", f"/api/store/blobs/{queued.hash}?limit=10240")  # what the console asks for
    assert part == whole[:10240]
    path = tmp_path / "message.eml"
    queued.house.says("message", "body", queued.id, "-o", str(path))
    assert path.read_bytes() == whole.encode()
    done = queued.house.run("message", "body", "--head", "9", "--", queued.hash)
    assert done.stdout == b"Received:"


def test_no_such_body(queued: Queued) -> None:
    assert queued.house.relay.request("GET", "/api/store/blobs/" + "A" * 43) == (200, {"error": "notFound", "item": ""})
    assert queued.house.relay.request("GET", "/api/store/blobs/!")[0] == 400
    assert queued.house.run("message", "body", "A" * 43).returncode == 66
