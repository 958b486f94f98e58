"""The stored views over HTTP: what is asked for, what is refused, and searches that take too long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relayd.database.interface import DatabaseError
from relayd.database.segments import Bounds, ReadCut, Series
from relayd.events import delivery, queue
from relayd.events.event import Span
from relayd.telemetry import history, traces
from relayd.telemetry.history import History
from relayd.telemetry.recording import Recording, Stores
from relayd.telemetry.traces import Traces
from tests.control.conftest import Control

ID = 217700302698266624


@pytest.fixture
def recording(control: Control, tmp_path: Path) -> Iterator[Recording]:
    """Stores that keep what the control socket's stream says."""
    bounds = Bounds(36500 * 86400.0, 64 << 20)
    directory = tmp_path / "telemetry"
    control.kept.stores = Stores(
        traces=Traces(Series(directory, "traces", traces.VERSION, traces.SCHEMA, bounds)),
        history=History(Series(directory, "history", history.VERSION, history.SCHEMA, bounds)),
        points=None,
    )
    stream = control.app._span.stream
    recording = Recording(control.kept.stores, control.app._span, lambda call: call(), stream.clock)
    stream.subscribe(recording)
    yield recording
    recording.close()


def attempt(control: Control, recording: Recording, id: int = ID) -> None:
    span = Span(control.app._span.stream, id, {"domain": "receiver.test"})
    about: dict[str, Any] = {"queue_id": ID, "from_": "a+b@sender.test", "to": ["b@receiver.test"], "size": 1}
    queue.QUEUE_MESSAGE(control.app._span, **about, message_id="<a+b/c@sender.test>")
    delivery.ATTEMPT_START(span, **about, total=1)
    delivery.DELIVERED(span, queue_id=ID, to="b@receiver.test", hostname="mx", code=250)
    delivery.ATTEMPT_END(span, queue_id=ID, elapsed=1)
    recording.flush(20)


async def asked(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(f"/api/telemetry/{path}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_traces_by_every_spelling(control: Control, admin: aiohttp.ClientSession, recording: Recording) -> None:
    attempt(control, recording)
    for query in (
        f"queue_id={ID}",
        "queue_id=217700302698266620",
        f"queue-id={ID}",
        "filter=a%2Bb@sender.test",
        "filter=&type=delivery.attempt-start",
        "type=delivery.attempt-start&limit=x&page=y&after=then",
    ):
        assert await asked(admin, f"traces?{query}") == {"data": {"items": [ID], "total": 1}}, query
    assert await asked(admin, "traces?type=delivery.attempt-start&page=2&limit=1") == {
        "data": {"items": [], "total": 1}
    }
    assert await asked(admin, "traces?filter=&type=") == {"data": {"items": [], "total": 0}}
    assert len((await asked(admin, "trace/217700302698266620"))["data"]) == 3


async def test_a_message_by_queue_id_and_message_id(
    control: Control, admin: aiohttp.ClientSession, recording: Recording
) -> None:
    attempt(control, recording)
    for name in (str(ID), "%3Ca%2Bb%2Fc@sender.test%3E", "a%2Bb%2Fc@sender.test"):
        found = (await asked(admin, f"message/{name}"))["data"]
        assert (found["id"], found["state"], found["from"]) == (ID, "delivered", "a+b@sender.test")
    for name in ("7", "nobody@nowhere"):
        async with admin.get(f"/api/telemetry/message/{name}") as answer:
            assert answer.status == 404
    page = (await asked(admin, "messages?address=receiver.test"))["data"]
    assert (page["total"], [each["id"] for each in page["items"]]) == (1, [ID])
    for name in ("message_id=nobody@nowhere", "message-id=nobody@nowhere", "queue_id=128", "queue-id=128"):
        assert (await asked(admin, f"messages?{name}"))["data"] == {"items": [], "total": 0}, name


async def test_a_filter_of_too_many_words_is_refused(
    control: Control, admin: aiohttp.ClientSession, recording: Recording
) -> None:
    attempt(control, recording)
    for path in ("traces", "messages"):
        assert (await asked(admin, f"{path}?filter={'+'.join(['a'] * 100)}"))["data"]["total"] == 1
        async with admin.get(f"/api/telemetry/{path}?filter={'+'.join(['a'] * 101)}") as answer:
            assert (answer.status, (await answer.json())["detail"]) == (400, "filter: 100 words at most")


@pytest.mark.parametrize(
    ("error", "details"),
    [
        (ReadCut("the search took longer than 5 s"), "The search was cut off"),
        (DatabaseError("disk I/O error"), "The telemetry store cannot be read"),
    ],
)
async def test_what_goes_wrong_is_said(
    control: Control,
    admin: aiohttp.ClientSession,
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    details: str,
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Traces, "search", failing)
    found = await asked(admin, "traces?filter=x")
    assert found["error"] == "other"
    assert found["details"] == details
    assert str(error) in found["reason"]


async def test_who_may_not(control: Control, recording: Recording) -> None:
    async with control.session(Authorization=aiohttp.encode_basic_auth("user", "plain")) as user:
        for path in ("metrics", "metrics/live", "traces", "traces/live", "trace/1", "messages", "message/1"):
            async with user.get(f"/api/telemetry/{path}") as answer:
                assert answer.status == 403, path


async def test_forgetting_names_nobody(control: Control, admin: aiohttp.ClientSession) -> None:
    async with admin.post("/api/telemetry/forget", json={"address": "Jane@X.test"}) as answer:
        assert await answer.json() == {"data": {"traces": 1, "history": 2, "logs": 3}}
    assert control.kept.forgotten == ["Jane@x.test"]
    [event] = control.named("telemetry.forgotten")
    assert event.fields == {"account_name": "admin", "total": 6}
    for body in ({"address": "nobody"}, {"address": ""}, {}, {"address": 7}):
        async with admin.post("/api/telemetry/forget", json=body) as answer:
            assert answer.status == 400, body
    assert len(control.kept.forgotten) == 1


@pytest.mark.parametrize("failure", [DatabaseError("the disk is full"), OSError("the disk is full")])
async def test_what_could_not_be_forgotten_is_said(
    control: Control, admin: aiohttp.ClientSession, failure: Exception
) -> None:
    control.kept.failure = failure
    async with admin.post("/api/telemetry/forget", json={"address": "jane@x.test"}) as answer:
        said = await answer.json()
    assert (said["details"], said["reason"]) == ("Not everything could be forgotten: ask again", "the disk is full")
    assert not control.named("telemetry.forgotten")
