"""`GET /api/logs`: the shape of the seed, and what is said when there are no files."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from relayd.events.event import EventStream, Span
from relayd.telemetry.log import LogFiles
from relayd.telemetry.options import TracerOptions
from relayd.telemetry.reading import Place
from tests.control.conftest import Control

URL = "/api/logs"


async def test_lines_are_read_back(admin: aiohttp.ClientSession, control: Control, tmp_path: Path) -> None:
    control.logs.place = Place(tmp_path, "relayd")
    (tmp_path / "relayd.2025-01-05").write_text(
        "2025-01-05T14:06:29Z TRACE Write batch operation (store.data-write) elapsed = 0ms, total = 2\n"
        '2025-01-05T14:06:30Z DEBUG HTTP request URL (http.request-url) listenerId = "http", remoteIp = ::1\n'
    )
    async with admin.get(URL, params={"page": "1", "limit": "1"}) as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "data": {
                "items": [
                    {
                        "timestamp": "2025-01-05T14:06:30Z",
                        "level": "DEBUG",
                        "event": "HTTP request URL",
                        "event_id": "http.request-url",
                        "details": 'listenerId = "http", remoteIp = ::1',
                    }
                ],
                "total": 2,
            }
        }
    async with admin.get(URL, params={"filter": "Write"}) as answer:
        found = (await answer.json())["data"]
        assert [each["event_id"] for each in found["items"]] == ["store.data-write"]
        assert found["total"] == 1
    for params in ({"page": "2", "filter": "Write"}, {"page": "999999999999999999", "limit": "999999999999999999"}):
        async with admin.get(URL, params=params) as answer:
            assert (await answer.json())["data"]["items"] == []


async def test_a_hundred_lines_when_nothing_is_said(
    admin: aiohttp.ClientSession, control: Control, tmp_path: Path
) -> None:
    control.logs.place = Place(tmp_path, "relayd")
    (tmp_path / "relayd.2025-01-05").write_text("2025-01-05T14:06:29Z INFO Heard (test.heard) a = 1\n" * 150)
    for params in ({}, {"limit": "0"}, {"limit": "many"}, {"page": "0", "filter": ""}):
        async with admin.get(URL, params=params) as answer:
            found = (await answer.json())["data"]
            assert (len(found["items"]), found["total"]) == (100, 200)


async def test_without_files_and_without_leave_to_read_them(
    admin: aiohttp.ClientSession, control: Control, tmp_path: Path
) -> None:
    async with admin.get(URL) as answer:
        assert answer.status == 200
        assert await answer.json() == {"error": "unsupported", "details": "Tracer log path not configured"}
    control.logs.place = Place(tmp_path / "none", "relayd")
    async with admin.get(URL) as answer:
        assert answer.status == 200
        body = await answer.json()
        assert (body["error"], body["details"]) == ("other", "Failed to read log files")
        assert "No such file" in body["reason"]


def test_the_last_tracer_that_can_be_read_back(tmp_path: Path) -> None:
    span = Span(EventStream(lambda: 0.0))
    tracers = {
        "first": TracerOptions(type="log", path=str(tmp_path / "a")),
        "second": TracerOptions(type="log", format="json", prefix="json"),
        "postfix": TracerOptions(type="log", format="postfix"),
        "out": TracerOptions(type="stdout"),
    }
    log = LogFiles(tracers, tmp_path / "logs", span, lambda call: call())
    none = LogFiles({"out": tracers["out"]}, tmp_path, span, lambda call: call())
    assert log.place == Place(tmp_path / "logs", "json")
    assert none.place is None
    log.close()
    none.close()
