"""Streams of events: frames, bounds, and ends that are ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relayd.control import streaming
from relayd.control.app import ControlApp, Setting
from relayd.control.options import HttpOptions
from relayd.control.routes import EVENTS, Call, Route, add
from relayd.control.streaming import Frames, frame
from relayd.events.event import Span
from relayd.listener.options import Bind, ListenerOptions
from tests.control.conftest import Control

PATH = "/api/test/stream"


class Feed:
    """What the streams of the test send."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = 0

    async def frames(self) -> Frames:
        try:
            while (value := await self.queue.get()) is not None:
                if isinstance(value, Exception):
                    raise value
                yield "thing", value
        finally:
            self.closed += 1


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
async def streamer(control: Control, options: HttpOptions, feed: Feed) -> AsyncIterator[ControlApp]:
    """An application with a route that streams."""
    listener = ListenerOptions(bind=(Bind(host="127.0.0.1"),), protocol="http")
    app = ControlApp(control.parts, Span(control.app._span.stream), Setting(listeners={"http": listener}, http=options))

    async def stream(call: Call) -> web.StreamResponse:
        return await app.streams.serve(call, feed.frames())

    route = Route(
        method="GET", path="/test/stream", permission="tracing-live", handler=stream, summary="", area="", media=EVENTS
    )
    add(app._app, [route])
    await app.start()
    yield app
    await app.stop()


@pytest.fixture
async def client(streamer: ControlApp) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": aiohttp.encode_basic_auth("admin", "s3:cret")}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{streamer.addresses[0][1]}", headers=headers) as session:
        yield session


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def test_a_frame_is_one_line_of_json() -> None:
    assert frame("metrics", [{"id": "a\nb"}]) == b'event: metrics\ndata: [{"id":"a\\nb"}]\n\n'


async def test_frames_are_sent_as_they_come_until_they_end(
    client: aiohttp.ClientSession, streamer: ControlApp, feed: Feed
) -> None:
    async with client.get(PATH) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["X-Request-Id"].isdigit()
        for number in range(2):
            feed.queue.put_nowait(number)
            assert await answer.content.readexactly(22) == f"event: thing\ndata: {number}\n\n".encode()
        feed.queue.put_nowait(None)
        assert await answer.read() == b""
    await until(lambda: len(streamer.streams) == 0)


async def test_a_stop_ends_streams_as_http_ends(
    client: aiohttp.ClientSession, streamer: ControlApp, feed: Feed
) -> None:
    async with client.get(PATH) as answer:
        stopping = asyncio.ensure_future(streamer.stop())
        assert await answer.read() == b""  # a connection that broke would raise
        await stopping
    assert feed.closed == 1


async def test_a_client_that_leaves_frees_its_place_at_once(
    client: aiohttp.ClientSession, streamer: ControlApp, feed: Feed
) -> None:
    async with client.get(PATH) as answer:
        assert len(streamer.streams) == 1
        answer.close()
    await until(lambda: len(streamer.streams) == 0)
    assert feed.closed == 1


async def test_a_client_that_does_not_read_is_cut_off(
    client: aiohttp.ClientSession, streamer: ControlApp, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "WRITE_TIMEOUT", 0.1)
    async with client.get(PATH):
        for _ in range(50):
            feed.queue.put_nowait("x" * 1_000_000)
        await until(lambda: len(streamer.streams) == 0)
    assert feed.closed == 1


async def test_a_failure_is_not_an_end(
    client: aiohttp.ClientSession, streamer: ControlApp, feed: Feed, control: Control
) -> None:
    async with client.get(PATH) as answer:
        feed.queue.put_nowait(ValueError("no"))
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert control.named("http.handler-error")


class TestBounds:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(max_streams=2, max_streams_per_account=1, max_concurrent=1)

    async def test_streams_are_counted_by_account_and_in_all(
        self, client: aiohttp.ClientSession, streamer: ControlApp
    ) -> None:
        operator = {"Authorization": aiohttp.encode_basic_auth("operator", "plain")}
        robot = {"Authorization": "Bearer api_cm9ib3Q6cGxhaW4="}
        async with client.get(PATH), client.get(PATH, headers=operator):
            async with client.get(PATH) as answer:
                assert answer.status == 429
            async with client.get(PATH, headers=robot) as answer:
                assert answer.status == 429
                assert answer.headers["Retry-After"]
            async with client.get("/api/nonsense", headers=operator) as answer:
                assert answer.status == 404  # a stream is no concurrent request
        await until(lambda: len(streamer.streams) == 0)
        async with client.get(PATH), client.get(PATH) as answer:
            assert (await answer.json(content_type=None))["limit"] == "maxConcurrentRequests"
