"""A long list as an answer, written piece by piece: neither the list nor its JSON is held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from aiohttp import web

_encode = msgspec.json.Encoder().encode

_WRITE_TIMEOUT = 30.0


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
        await _write(response, b'{"data":{"items":[')
        first = True
        async for piece in pieces:
            if piece:
                await _write(response, (b"" if first else b",") + _encode(piece)[1:-1])
                first = False
        await _write(response, b"]," + _encode(rest)[1:] + b"}")
        await response.write_eof()
    except BaseException:
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITE_TIMEOUT):
        await response.write(data)
