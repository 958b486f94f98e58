"""A long list as an answer, written piece by piece: neither the list nor its JSON is held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from aiohttp import web

_encode = msgspec.json.Encoder().encode

WRITE_TIMEOUT = 30.0
"""Seconds for which a client may read nothing while something waits to be written."""


async def stream_list(
    request: web.Request, pieces: AsyncIterator[list[Any]], rest: Mapping[str, Any]
) -> web.StreamResponse:
    """Answer `{"data": {"items": [...], **rest}}`.

    A reader that takes nothing for half a minute is cut off; so is one whose list cannot be finished, since the status
    was already sent and half an answer must not look like a whole one.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    await response.prepare(request)
    try:
        await write(response, b'{"data":{"items":[')
        first = True
        async for piece in pieces:
            if piece:
                await write(response, (b"" if first else b",") + _encode(piece)[1:-1])
                first = False
        await write(response, b"]," + _encode(rest)[1:] + b"}")
        await response.write_eof()
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
