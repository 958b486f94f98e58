"""ClamAV's daemon: the command INSTREAM over a Unix or TCP socket, one connection for a scan."""

from __future__ import annotations

import asyncio
import contextlib
import struct

from relayd.filters.endpoint import Endpoint
from relayd.filters.scan import Outcome, Scan, ScanFailed, Scannable, TooLarge

MAX_REPLY = 4096
_END = struct.pack(">I", 0)


class Clamd:
    """See `scan.Scanner`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def scan(self, message: Scannable) -> Scan:
        """Whether the message carries what ClamAV has a signature for."""
        reader, writer = await self._endpoint.connect(MAX_REPLY)
        try:
            # one that has had enough answers and closes: what it said is still there to be read
            with contextlib.suppress(ConnectionError):
                writer.write(b"zINSTREAM\0")
                async for piece in message.octets():
                    if piece:
                        writer.write(struct.pack(">I", len(piece)) + piece)
                        await writer.drain()
                writer.write(_END)
                await writer.drain()
            return read_answer(await _answer(reader))
        finally:
            writer.transport.abort()

    async def ping(self) -> None:
        """PING."""
        reader, writer = await self._endpoint.connect(MAX_REPLY)
        try:
            writer.write(b"zPING\0")
            if (answer := await _answer(reader)) != "PONG":
                raise ScanFailed(f"clamd answers PING with {answer[:100]!r}")
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        """Nothing is kept."""


async def _answer(reader: asyncio.StreamReader) -> str:
    try:
        answer = await reader.readuntil(b"\0")
    except asyncio.LimitOverrunError:
        raise ScanFailed(f"clamd's answer is longer than {MAX_REPLY} octets") from None
    return answer[:-1].decode("utf-8", "replace").strip()


def read_answer(answer: str) -> Scan:
    """From "stream: OK", "stream: NAME FOUND" or "... ERROR".  ScanFailed, TooLarge."""
    said = answer.removeprefix("stream:").strip()
    if said == "OK":
        return Scan(outcome=Outcome.PASSED)
    if said.endswith(" FOUND"):
        return Scan(outcome=Outcome.FOUND, is_virus=True, what=said.removesuffix(" FOUND").strip()[:200])
    if "size limit exceeded" in said:
        raise TooLarge(said[:200])
    raise ScanFailed(f"clamd: {said[:200]}")
