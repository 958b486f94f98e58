"""A connected socket that is read and written as one likes, with TLS over it where that is asked for.

Unlike asyncio's streams it can still read what a peer said that closed while it was written to.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from types import TracebackType

_BLOCK = 1 << 16


class Channel:
    """Over `connection`, which does not block; closed at the end of a `with`.  Nothing here has a time limit."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection at once."""
        self._socket.close()

    async def begin_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Handshake as a client; name: whom the certificate must be of.  OSError."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the peer is told why
                raise
        await self._flush()
        self._tls = tls

    async def send(self, octets: bytes) -> None:
        """All of them.  OSError."""
        if self._tls is None:
            await self._loop.sock_sendall(self._socket, octets)
        elif octets:
            self._tls.write(octets)
            await self._flush()

    async def receive(self) -> bytes:
        """Some octets; none at the end of what the peer says.  OSError."""
        if self._tls is None:
            return await self._loop.sock_recv(self._socket, _BLOCK)
        while True:
            try:
                return self._tls.read(_BLOCK)
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._socket, self._outgoing.read())

    async def _fill(self) -> None:
        octets = await self._loop.sock_recv(self._socket, _BLOCK)
        if octets:
            self._incoming.write(octets)
        elif self._incoming.eof:
            raise EOFError("the peer closed the connection in the middle")
        else:
            self._incoming.write_eof()
