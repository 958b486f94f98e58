"""Long lists: written in pieces, and whoever does not take them is cut off without a failure of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relayd.control import streaming
from relayd.control.streaming import stream_array, stream_list

Pieces = Callable[[], AsyncIterator[list[Any]]]


class Server:
    """Answers one request with a list, and keeps what became of it."""

    def __init__(self, pieces: Pieces) -> None:
        self.ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._pieces = pieces

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        try:
            if request.path == "/list":
                response = await stream_list(request, self._pieces(), {"total": 3})
            else:
                response = await stream_array(request, b"[", self._pieces(), b"]")
        except BaseException as error:
            self.ended.set_result(error)
            raise
        self.ended.set_result(None)
        return response

    async def start(self) -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_get("/{any}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]


async def three() -> AsyncIterator[list[Any]]:
    for piece in ([1], [], [{"a": "é"}, None]):
        yield piece


async def endless() -> AsyncIterator[list[Any]]:
    while True:
        yield ["x" * (1 << 20)]


async def breaks() -> AsyncIterator[list[Any]]:
    yield [1]
    raise RuntimeError("the queue is gone")


async def test_pieces_make_one_list() -> None:
    runner, port = await Server(three).start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/list") as answer:
            assert await answer.json() == {"data": {"items": [1, {"a": "é"}, None], "total": 3}}
    await runner.cleanup()


async def test_an_empty_list() -> None:
    async def none() -> AsyncIterator[list[Any]]:
        for piece in list[list[Any]]():
            yield piece

    runner, port = await Server(none).start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/array") as answer:
            assert json.loads(await answer.read()) == []
    await runner.cleanup()


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_client_that_does_not_read_or_leaves_is_no_failure(
    leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "WRITE_TIMEOUT", 0.2)
    server = Server(endless)
    runner, port = await server.start()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /array HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    if leaves:
        writer.transport.abort()
    assert await asyncio.wait_for(server.ended, 5) is None
    writer.close()
    await runner.cleanup()


async def test_half_a_list_does_not_look_like_a_whole_one() -> None:
    server = Server(breaks)
    runner, port = await server.start()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            async with session.get(f"http://127.0.0.1:{port}/array") as answer:
                await answer.read()
    assert isinstance(await server.ended, RuntimeError)
    await runner.cleanup()
