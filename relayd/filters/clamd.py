"""ClamAV's daemon: the command INSTREAM over a Unix or TCP socket, one connection for a scan."""

from __future__ import annotations

import contextlib
import struct

from relayd.filters.channel import Channel
from relayd.filters.endpoint import Endpoint
from relayd.filters.peer_tls import PeerTls
from relayd.filters.scan import Outcome, Scan, ScanFailed, Scannable, TooLarge

MAX_REPLY = 4096
_END = struct.pack(">I", 0)


class Clamd:
    """See `scan.Scanner`.

    It reads its socket itself: clamd answers and closes as soon as it has had enough, and a stream would lose that
    answer with the write that fails.
    """

    def __init__(self, endpoint: Endpoint, tls: PeerTls | None = None) -> None:
        self._endpoint = endpoint
        self._tls = tls

    async def scan(self, message: Scannable) -> Scan:
        """Whether the message carries what ClamAV has a signature for."""
        with await self._endpoint.open_channel(self._tls) as connection:
            with contextlib.suppress(ConnectionError):
                await connection.send(b"zINSTREAM\0")
                async for piece in message.octets():
                    if piece:
                        await connection.send(struct.pack(">I", len(piece)) + piece)
                await connection.send(_END)
            return read_answer(await _answer(connection))

    async def ping(self) -> None:
        """PING."""
        with await self._endpoint.open_channel(self._tls) as connection:
            await connection.send(b"zPING\0")
            if (answer := await _answer(connection)) != "PONG":
                raise ScanFailed(f"clamd answers PING with {answer[:100]!r}")

    async def close(self) -> None:
        """Nothing is kept."""


async def _answer(connection: Channel) -> str:
    octets = b""
    while b"\0" not in octets:
        if len(octets) > MAX_REPLY:
            raise ScanFailed(f"clamd's answer is longer than {MAX_REPLY} octets")
        more = await connection.receive()
        if not more:
            raise EOFError("clamd closed the connection without an answer")
        octets += more
    return octets.partition(b"\0")[0].decode("utf-8", "replace").strip()


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
