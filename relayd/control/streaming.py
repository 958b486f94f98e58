"""Answers written piece by piece: long lists, and streams of events (Server-Sent Events, control-api §1.8).

A stream stays open until its frames end, the client leaves, does not read, or the daemon stops; then it ends as HTTP
has it, and the client knows that the end is one.  How many there are is bounded, in all and for each account; they do
not count as concurrent requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from relayd.control.answers import concurrent_limit, too_many
from relayd.control.connection import connection_of
from relayd.control.options import HttpOptions
from relayd.control.routes import EVENTS, SLOT, Call

_encode = msgspec.json.Encoder().encode

WRITE_TIMEOUT = 30.0
"""Seconds for which a client may read nothing while something waits to be written."""

_TRY_AGAIN = 30.0


async def stream_list(
    request: web.Request, pieces: AsyncIterator[list[Any]], rest: Mapping[str, Any]
) -> web.StreamResponse:
    """Answer `{"data": {"items": [...], **rest}}`, as `stream_array` does."""
    return await stream_array(request, b'{"data":{"items":[', pieces, b"]," + _encode(rest)[1:] + b"}")


async def stream_array(
    request: web.Request, before: bytes, pieces: AsyncIterator[list[Any]], after: bytes
) -> web.StreamResponse:
    """Answer the JSON `before`, the elements of an array, `after`.

    A reader that takes nothing for half a minute is cut off; so is one whose list cannot be finished, since the status
    was already sent and half an answer must not look like a whole one.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    try:
        await response.prepare(request)
        await write(response, before)
        first = True
        async for piece in pieces:
            if piece:
                await write(response, (b"" if first else b",") + _encode(piece)[1:-1])
                first = False
        await write(response, after)
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        cut_off(request)  # the client does not read, or is gone: no failure of ours
    except BaseException:
        cut_off(request)
        raise
    return response


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write, at the pace of the client; TimeoutError when it reads nothing for too long."""
    async with asyncio.timeout(WRITE_TIMEOUT):
        await response.write(data)


def cut_off(request: web.BaseRequest) -> None:
    """End the connection so that the client sees that the answer is not whole."""
    if request.transport is not None:
        request.transport.abort()


def frame(event: str, value: Any) -> bytes:
    """One event of a stream; JSON has no line ends in it."""
    return b"event: " + event.encode() + b"\ndata: " + _encode(value) + b"\n\n"


Frames = AsyncGenerator[tuple[str, Any], None]
"""The events of a stream: name, and the value that becomes its JSON."""


class Streams:
    """The open streams."""

    def __init__(self, options: HttpOptions) -> None:
        self.options = options
        self._open: Counter[Hashable] = Counter()
        self._ending = asyncio.Event()

    def __len__(self) -> int:
        return self._open.total()

    def end(self) -> None:
        """End every stream; new ones end at once."""
        self._ending.set()

    async def serve(self, call: Call, frames: Frames) -> web.StreamResponse:
        """Answer a request with `frames`, each written as it comes; they are closed however the stream ends.

        Raises Problem, before anything is sent, when too many streams are open.
        """
        account = call.caller.name
        if self._open.total() >= self.options.max_streams:
            raise too_many(_TRY_AGAIN)
        if self._open[account] >= self.options.max_streams_per_account:
            raise concurrent_limit()
        slot = call.request.get(SLOT)
        if slot is not None:
            slot.release()
        self._open[account] += 1
        try:
            return await self._serve(call.request, frames)
        finally:
            self._open[account] -= 1
            if self._open[account] <= 0:
                del self._open[account]
            await frames.aclose()

    async def _serve(self, request: web.Request, frames: Frames) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": EVENTS, "Cache-Control": "no-store"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        connection = connection_of(request)
        enough = [asyncio.ensure_future(self._ending.wait())]
        if connection is not None:
            enough.append(asyncio.ensure_future(connection.lost.wait()))
        following: asyncio.Future[tuple[str, Any] | None] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(frames, None))
                await asyncio.wait([following, *enough], return_when=asyncio.FIRST_COMPLETED)
                found = following.result() if following.done() else None
                if found is None:
                    break
                await write(response, frame(*found))
            response.force_close()
            await response.write_eof()
        except (TimeoutError, ConnectionError):
            cut_off(request)  # the client does not read, or is gone: it asked for no more
        except BaseException:
            cut_off(request)
            raise
        finally:
            tasks: list[asyncio.Future[Any]] = [*enough, *([following] if following is not None else [])]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return response
