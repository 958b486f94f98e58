"""Listening sockets, and connections that begin with a PROXY header or with TLS.

The PROXY header stands before everything, TLS too, and the octets behind it may come in the same packet.  It is
therefore read from the bare socket, exactly to its end, before the loop gets the connection.  A connection that begins
with TLS must be given to the loop as such: uvloop cannot be told in `connection_made` not to read yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relayd.events.event import Field
from relayd.listener.options import Bind
from relayd.listener.session import to_address
from relayd.options import Network
from relayd.smtp.proxy import ProxyError, ProxyHeader, parse_proxy

BACKLOG = 1024


def listening_socket(bind: Bind, mode: int) -> socket.socket:
    """A bound and listening socket; OSError.  mode: of a Unix socket's file."""
    if bind.path:
        return _unix_socket(bind.path, mode)
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((bind.host, bind.port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _unix_socket(path: str, mode: int) -> socket.socket:
    """The file of a daemon that is gone is replaced; one that somebody listens on is not."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def bound_as(sock: socket.socket) -> Bind:
    """Where a socket listens in fact."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Bind(path=name if isinstance(name, str) else os.fsdecode(name))
    return Bind(host=name[0], port=name[1])


def event_fields(bind: Bind) -> dict[str, Field]:
    """A bind as the fields of an event: the address and port, or the path of a Unix socket."""
    return {"path": bind.path} if bind.path else {"local_ip": bind.host, "local_port": bind.port}


def remove_socket_file(bind: Bind) -> None:
    """Take the file of a closed Unix socket away."""
    if bind.path:
        Path(bind.path).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preliminaries:
    """What comes before a session.

    proxies: networks that must send a PROXY header within `header_timeout` seconds; empty: nobody sends one.
    context: for TLS from the first octet, handshake within `handshake_timeout`; None: no TLS.
    limit: connections that have not got through yet; further ones are closed at once.
    connected: makes the protocol of a connection.  refused, failed: told the peer's address and the reason when there
    was no good PROXY header, or no good handshake.
    """

    proxies: tuple[Network, ...]
    header_timeout: float
    context: Callable[[], ssl.SSLContext | None] | None
    handshake_timeout: float
    limit: int
    connected: Callable[[ProxyHeader | None], asyncio.Protocol]
    refused: Callable[[str, str], None]
    failed: Callable[[str, str], None]


class Acceptor:
    """Accepts connections of one socket and brings them through the preliminaries, which may be replaced."""

    def __init__(self, sock: socket.socket, preliminaries: Preliminaries) -> None:
        self._sock = sock
        self.preliminaries = preliminaries
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more; connections without a header yet are closed."""
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Until no task is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(64):  # then other sockets have their turn
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors: let some close first
                self.preliminaries.refused("", str(error))
                self._loop.remove_reader(self._sock.fileno())
                self._loop.call_later(1, self._accept_again)
                return
            if len(self._tasks) >= self.preliminaries.limit:
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _accept_again(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock.fileno(), self._accept)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            peer = _peer_of(connection)
            header: ProxyHeader | None = None
            if self.preliminaries.proxies:
                header = await self._header(connection, peer)
                if header is None:
                    connection.close()
                    return
            await self._hand_over(connection, peer, header)
        except OSError:
            connection.close()  # the peer is gone already
        except BaseException:
            connection.close()
            raise

    async def _hand_over(self, connection: socket.socket, peer: str, header: ProxyHeader | None) -> None:
        preliminaries = self.preliminaries
        if preliminaries.context is None:
            await self._loop.connect_accepted_socket(lambda: preliminaries.connected(header), connection)
            return
        context = preliminaries.context()
        if context is None:
            preliminaries.failed(peer, "no certificate is configured")
            connection.close()
            return
        try:
            await self._loop.connect_accepted_socket(
                lambda: preliminaries.connected(header),
                connection,
                ssl=context,
                ssl_handshake_timeout=preliminaries.handshake_timeout,
            )
        except OSError as error:
            preliminaries.failed(peer, str(error) or type(error).__name__)
            connection.close()

    async def _header(self, connection: socket.socket, peer: str) -> ProxyHeader | None:
        preliminaries = self.preliminaries
        if peer:
            address = to_address(peer)
            if not any(address in network for network in preliminaries.proxies):
                preliminaries.refused(peer, "not among the listed proxies")
                return None
        try:
            async with asyncio.timeout(preliminaries.header_timeout):
                return await read_proxy_header(self._loop, connection)
        except TimeoutError:
            preliminaries.refused(peer, "no PROXY header in time")
        except ProxyError as error:
            preliminaries.refused(peer, str(error))
        return None


def _peer_of(connection: socket.socket) -> str:
    """The address that connected; "" on a Unix socket, whose file mode says who may."""
    return "" if connection.family == socket.AF_UNIX else str(connection.getpeername()[0])


async def read_proxy_header(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> ProxyHeader:
    """Read exactly the header; ProxyError, OSError."""
    taken = b""
    while True:
        await _readable(loop, connection)
        seen = connection.recv(4096, socket.MSG_PEEK)
        if not seen:
            raise ProxyError("connection closed before the PROXY header")
        parsed = parse_proxy(taken + seen)
        if parsed is not None:
            header, used = parsed
            connection.recv(used - len(taken))
            return header
        taken += connection.recv(len(seen))  # all of it belongs to the header that is not complete yet


async def _readable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())
