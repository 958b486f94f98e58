"""Where the control socket listens: the listeners with protocol http, and the daemon's own Unix socket.

Opened once, changed by a reload: what stays loses no connection, TLS and its certificates are asked for anew with each
connection.  The Unix socket in the data directory is no listener of the configuration and always there.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Protocol

from relayd.control.connection import Connection, Place
from relayd.events import network, tls
from relayd.events.event import Span
from relayd.listener.acceptor import Acceptor, Preliminaries, bound_as, event_fields, listening_socket
from relayd.listener.options import Bind, ListenerOptions
from relayd.smtp.proxy import ProxyHeader

OWN = "control"
"""Id of the Unix socket in the data directory."""

_OWN_MODE = 0o660
_HEADER_TIMEOUT = 10.0
_HANDSHAKE_TIMEOUT = 30.0


class Certificates(Protocol):
    """The certificates of the daemon."""

    @property
    def context(self) -> SSLContext | None:
        """For a new connection; None when there is none."""


class NoCertificates:
    """Of who has none."""

    context: SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorway:
    """What new connections need.  place: makes the place of a listener.  connection: makes their protocol."""

    place: Callable[[str, ListenerOptions], Place]
    connection: Callable[[Place, ProxyHeader | None], Connection]
    certificates: Certificates
    span: Span


@dataclass(slots=True)
class _Open:
    place: Place
    bind: Bind
    sock: socket.socket
    server: asyncio.AbstractServer | Acceptor
    inherited: bool
    inode: int


class Listening:
    """The open sockets.  Not to be used from several tasks at once."""

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway
        self._loop = asyncio.get_running_loop()
        self._open: list[_Open] = []
        self._closing: list[Acceptor] = []

    @property
    def binds(self) -> list[Bind]:
        """Where it listens in fact."""
        return [bound_as(each.sock) for each in self._open]

    async def start(
        self,
        listeners: Mapping[str, ListenerOptions],
        own: Path | None,
        inherited: Mapping[str, Sequence[socket.socket]],
    ) -> None:
        """Open everything.  own: the daemon's Unix socket.  inherited: bound sockets by listener, in place of its
        binds.  Raises OSError, with nothing left open."""
        try:
            for id, options in listeners.items():
                place = self._doorway.place(id, options)
                given = inherited.get(id, ())
                for sock in given:
                    sock.setblocking(False)
                    await self._serve(place, bound_as(sock), sock, is_inherited=True)
                if not given:
                    for bind in options.bind:
                        await self._bind(place, bind, options.socket_mode)
            if own is not None:
                bind = Bind(path=str(own))
                await self._bind(
                    self._doorway.place(OWN, ListenerOptions(bind=(bind,), protocol="http")), bind, _OWN_MODE
                )
        except BaseException:
            await self.close()
            raise

    async def reload(self, listeners: Mapping[str, ListenerOptions]) -> None:
        """Listen as `listeners` say.  A socket that cannot be opened is an event, and the others are in force."""
        for each in [each for each in self._open if not self._is_wanted(each, listeners)]:
            self._open.remove(each)
            self._close(each)
        places = {each.place.id: each.place for each in self._open}
        for id, options in listeners.items():
            place = places.get(id)
            if place is None:
                place = self._doorway.place(id, options)
            place.options = options
            have = [each for each in self._open if each.place.id == id]
            for each in have:
                if isinstance(each.server, Acceptor):
                    each.server.preliminaries = self._preliminaries(place)
            if any(each.inherited for each in have):
                continue  # the supervisor chose them, and we could perhaps not bind them again
            for bind in options.bind:
                if all(each.bind != bind for each in have):
                    try:
                        await self._bind(place, bind, options.socket_mode)
                    except OSError:
                        continue  # stated as an event

    async def close(self) -> None:
        """Listen no more; connections stay."""
        for each in self._open:
            self._close(each)
        self._open.clear()
        for acceptor in self._closing:
            await acceptor.wait_closed()
        self._closing.clear()

    def _is_wanted(self, opened: _Open, listeners: Mapping[str, ListenerOptions]) -> bool:
        if opened.place.id == OWN:
            return True
        options = listeners.get(opened.place.id)
        if options is None or _needs_acceptor(options) != isinstance(opened.server, Acceptor):
            return opened.inherited and options is not None
        return opened.inherited or opened.bind in options.bind

    async def _bind(self, place: Place, bind: Bind, mode: int) -> None:
        try:
            sock = listening_socket(bind, mode)
        except OSError as error:
            network.BIND_ERROR(self._doorway.span, listener_id=place.id, reason=str(error), **event_fields(bind))
            raise
        await self._serve(place, bind, sock, is_inherited=False)

    async def _serve(self, place: Place, bind: Bind, sock: socket.socket, *, is_inherited: bool) -> None:
        connection = self._doorway.connection
        server: asyncio.AbstractServer | Acceptor
        if _needs_acceptor(place.options):
            sock.listen()
            server = Acceptor(sock, self._preliminaries(place))
        else:
            create = self._loop.create_unix_server if bind.path else self._loop.create_server
            server = await create(lambda: connection(place, None), sock=sock)
        inode = os.stat(bind.path).st_ino if bind.path else 0
        self._open.append(_Open(place, bind, sock, server, is_inherited, inode))
        network.LISTEN_START(self._doorway.span, listener_id=place.id, **event_fields(bound_as(sock)))

    def _preliminaries(self, place: Place) -> Preliminaries:
        options, doorway = place.options, self._doorway

        def refused(peer: str, reason: str) -> None:
            network.PROXY_ERROR(doorway.span, listener_id=place.id, remote_ip=peer, reason=reason)

        def failed(peer: str, reason: str) -> None:
            tls.HANDSHAKE_ERROR(doorway.span, listener_id=place.id, reason=f"{peer}: {reason}")

        return Preliminaries(
            proxies=options.proxy_protocol,
            header_timeout=_HEADER_TIMEOUT,
            context=(lambda: doorway.certificates.context) if options.tls_implicit else None,
            handshake_timeout=_HANDSHAKE_TIMEOUT,
            limit=options.max_connections,
            connected=lambda header: doorway.connection(place, header),
            refused=refused,
            failed=failed,
        )

    def _close(self, opened: _Open) -> None:
        opened.server.close()
        if isinstance(opened.server, Acceptor):
            self._closing.append(opened.server)
        if opened.bind.path and not opened.inherited:
            path = Path(opened.bind.path)
            try:
                if path.stat().st_ino == opened.inode:  # not one that somebody else put there since
                    path.unlink()
            except FileNotFoundError:
                pass
        network.LISTEN_STOP(self._doorway.span, listener_id=opened.place.id)


def _needs_acceptor(options: ListenerOptions) -> bool:
    return bool(options.proxy_protocol) or options.tls_implicit
