"""A milter that does what a test tells it, written from the protocol's description and not from relayd's code."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

Answer = bytes | Sequence[bytes] | Callable[[bytes], Awaitable[bytes]]

CLOSE = b"close"
"""In place of an answer: the connection is closed."""
HANG = b"hang"
"""In place of an answer: none comes."""


def packet(code: bytes, data: bytes = b"") -> bytes:
    """A frame."""
    return struct.pack(">I", 1 + len(data)) + code + data


def agreed(actions: int = 0x1FF, steps: int = 0, version: int = 6, lists: bytes = b"") -> bytes:
    """The answer to the negotiation."""
    return packet(b"O", struct.pack(">III", version, actions, steps) + lists)


GO_ON = packet(b"c")


class MilterPeer:
    """Listens on a Unix socket.  answers: by command letter; bytes, or a list of them to be said together; what is not
    named is answered "continue".  quiet: commands that get no answer.  seen: (command, data) of all connections.
    """

    def __init__(self, path: Path, answers: dict[bytes, Answer] | None = None, quiet: bytes = b"") -> None:
        self.path = path
        self.answers: dict[bytes, Answer] = {b"O": agreed(), **(answers or {})}
        self.quiet = quiet
        self.seen: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._over = asyncio.Event()

    @property
    def address(self) -> str:
        """As `milter.<id>.address` has it."""
        return f"unix:{self.path}"

    async def __aenter__(self) -> MilterPeer:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Listen no more, and end every conversation."""
        assert self._server is not None
        self._server.close()
        self._over.set()
        for writer in self._talks.values():
            writer.transport.abort()
        await asyncio.gather(*self._talks)

    def commands(self) -> str:
        """The letters of what came, macros left out."""
        return b"".join(code for code, _ in self.seen if code != b"D").decode()

    async def ended(self) -> str:
        """The same, once every session has said good-bye."""
        while any(not writer.is_closing() for writer in self._talks.values()):
            await asyncio.sleep(0.001)
        return self.commands()

    def data(self, code: bytes) -> list[bytes]:
        """What came with a command, each time."""
        return [data for each, data in self.seen if each == code]

    def macros(self, stage: bytes) -> dict[str, str]:
        """The macros that were last said before `stage`."""
        last = [data for data in self.data(b"D") if data[:1] == stage][-1]
        parts = last[1:].decode().split("\0")
        return dict(zip(parts[::2], parts[1::2], strict=False))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks[task] = writer
        self.connections += 1
        try:
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                octets = await reader.readexactly(length)
                code, data = octets[:1], octets[1:]
                self.seen.append((code, data))
                if code == b"Q":
                    return
                if code in b"DAK" or code in self.quiet:
                    continue
                answer = self.answers.get(code, GO_ON)
                if callable(answer):
                    answer = await answer(data)
                if answer == HANG:
                    await self._over.wait()
                    return
                if answer == CLOSE:
                    return
                writer.write(answer if isinstance(answer, bytes) else b"".join(answer))
                await writer.drain()
        except (EOFError, OSError):
            pass
        finally:
            del self._talks[task]
            writer.transport.abort()
