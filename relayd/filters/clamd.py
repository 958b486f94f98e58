"""ClamAV's daemon: the command INSTREAM over a Unix or TCP socket, one connection for a scan."""

from __future__ import annotations

import asyncio
import contextlib
import struct

from relayd.filters.endpoint import Endpoint
from relayd.filters.scan import Outcome, Scan, ScanFailed, Scannable, TooLarge

MAX_REPLY = 4096
CHUNK = 64 << 10
_END = struct.pack(">I", 0)


class Clamd:
    """See `scan.Scanner`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def scan(self, message: Scannable) -> Scan:
        """Whether the message carries what ClamAV has a signature for."""
        reader, writer = await self._endpoint.connect(MAX_REPLY)
        # read all the while: one that has had enough answers and closes, and what it said would go with the connection
        reading = asyncio.ensure_future(_answer(reader))
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(b"zINSTREAM\0")
                async for piece in message.octets():
                    for begin in range(0, len(piece), CHUNK):
                        chunk = piece[begin : begin + CHUNK]
                        writer.write(struct.pack(">I", len(chunk)) + chunk)
                        await writer.drain()
                        await asyncio.sleep(0)
                    if reading.done():
                        break
                else:
                    writer.write(_END)
            return read_answer(await reading)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
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
