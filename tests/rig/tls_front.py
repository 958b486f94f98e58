"""TLS in front of a server that speaks none, as stunnel does it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Of a server with a certificate for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def authority_file(authority: trustme.CA, directory: Path) -> str:
    """Its certificate, as a file that others may trust."""
    path = directory / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@asynccontextmanager
async def in_front(address: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port of loopback that leads to `address`, "unix:/path" or "host:port"."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if address.startswith("unix:"):
            return await asyncio.open_unix_connection(address.removeprefix("unix:"))
        host, _, port = address.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(1 << 16):
                writer.write(octets)
                await writer.drain()
        writer.close()

    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        behind = None
        try:
            behind = await connect()
            await asyncio.gather(passing(reader, behind[1]), passing(behind[0], writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            if behind is not None:
                behind[1].transport.abort()
            talks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        waiting = list(talks)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting)
