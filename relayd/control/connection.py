"""One connection to the control socket, and the place it came in by.

aiohttp's connection, with what it lacks: where it came in, its end as something to wait for, and answers to what is no
HTTP in the form of all other errors.  Such requests never reach the application.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from relayd.control.answers import Problem
from relayd.control.answers import problem as problem_answer
from relayd.control.origin import Origin, find_origin, parse_address
from relayd.events import http, limit
from relayd.events.event import Span
from relayd.listener.limits import ConnectionCounts
from relayd.listener.options import ListenerOptions
from relayd.options import Network
from relayd.reputation.bans import Address
from relayd.smtp.proxy import ProxyHeader

_UNREADABLE = (400, "Bad Request", "The request is not HTTP that this server understands.")
_TOO_LONG = (431, "Request Header Fields Too Large", "The request line or a header is longer than this server accepts.")
_EXPECTATION = (417, "Expectation Failed", "The header Expect asks for something that this server does not know.")
_INTERNAL = (500, "Internal Server Error", "The request could not be carried out; the log has the reason.")


@dataclass(slots=True, kw_only=True)
class Place:
    """A listener of the control socket.

    options: as they are now; a reload replaces them.  uncounted: networks whose connections are not counted by
    address.  most: connections to all places over which new ones from the network are not taken.  connections: how
    many there are.  span: the daemon's.  ids: issues request ids.
    """

    id: str
    options: ListenerOptions
    span: Span
    ids: Callable[[], int]
    most: Callable[[], int]
    connections: Callable[[], int]
    uncounted: Callable[[], tuple[Network, ...]]
    counts: ConnectionCounts = field(default_factory=ConnectionCounts)

    def enter(self, address: Address | None) -> Callable[[], None] | None:
        """Take one more connection from `address`: what to call once it is gone; None when there are too many.

        On a Unix socket (None) all are taken.
        """
        if address is None:
            return _nothing
        options = self.options
        if self.connections() >= self.most() or not self.counts.enter(options.max_connections):
            self._refused(address, min(self.most(), options.max_connections))
            return None
        if not self._is_counted(address):
            return self.counts.leave
        if not self.counts.enter_address(address, options.max_connections_per_address):
            self.counts.leave()
            self._refused(address, options.max_connections_per_address)
            return None
        return partial(self._leave, address)

    def _leave(self, address: Address) -> None:
        self.counts.leave()
        self.counts.leave_address(address)

    def _is_counted(self, address: Address) -> bool:
        return not any(address in network for network in (*self.options.trusted_proxies, *self.uncounted()))

    def _refused(self, address: Address, most: int) -> None:
        limit.CONCURRENT_CONNECTION(self.span, listener_id=self.id, limit=most, remote_ip=str(address))


def _nothing() -> None:
    return None


class Connection(RequestHandler):
    """One connection.  proxied: what the PROXY header said.  lost: set once it is gone."""

    __slots__ = ("_leave", "_span", "lost", "peer", "place", "proxied")

    def __init__(self, server: web.Server, place: Place, proxied: ProxyHeader | None, **how: Any) -> None:
        super().__init__(server, **how)
        self.place = place
        self.proxied = proxied
        self.peer: Address | None = None
        self.lost = asyncio.Event()
        self._leave: Callable[[], None] | None = None
        self._span: Span | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or close it at once when there are too many."""
        self.peer = _peer(transport, self.proxied)
        self._leave = self.place.enter(self.peer)
        if self._leave is None:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        place, remote = self.place, str(self.peer or "unix")
        self._span = Span(place.span.stream, place.ids(), {"listenerId": place.id, "remoteIp": remote})
        http.CONNECTION_START(self._span, listener_id=place.id, remote_ip=remote)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever waits for it."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        span, self._span = self._span, None
        if span is not None:
            http.CONNECTION_END(span, elapsed=span.stream.clock() - span.started)
        self.lost.set()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or to a failure outside of the application."""
        unread = _TOO_LONG if isinstance(exc, LineTooLong) else _UNREADABLE
        facts = _INTERNAL if status >= 500 else unread
        answer = self._outside(facts, _reason(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer was sent: another cannot follow")
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; one that aiohttp made itself, outside of the application, in our form."""
        if isinstance(resp, web.HTTPException):
            facts = _EXPECTATION if resp.status == _EXPECTATION[0] else (resp.status, None, resp.reason)
            resp = self._outside(facts, resp.reason)
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def _outside(self, facts: tuple[int, str | None, str], reason: str) -> web.Response:
        place = self.place
        span = Span(place.span.stream, place.ids(), {"remoteIp": str(self.peer or "unix")})
        http.ERROR(span, reason=reason, url="")
        answer = problem_answer(Problem(*facts))
        answer.headers["X-Request-Id"] = str(span.id)
        answer.headers["Server"] = "relayd"
        return answer


def _reason(error: BaseException | None) -> str:
    """What is wrong with a request, without the octets that aiohttp quotes of it: they may hold secrets."""
    if isinstance(error, HttpProcessingError) and not isinstance(error, InvalidURLError):
        return str(error.message).partition(":")[0].partition("\n")[0]
    return type(error).__name__


def connection_of(request: web.BaseRequest) -> Connection | None:
    """The connection of a request, None for one that a test made up."""
    return request.protocol if isinstance(request.protocol, Connection) else None


def origin_of(request: web.BaseRequest) -> Origin:
    """Where a request comes from."""
    connection = connection_of(request)
    if connection is None:
        return Origin(address=None, is_unix=True, is_local=False, is_tls=False)
    return find_origin(
        connection.peer,
        request.headers,
        connection.place.options.trusted_proxies,
        is_tls=connection.ssl_context is not None,
        is_proxied=connection.proxied is not None,
    )


def own_address(request: web.BaseRequest) -> Address | None:
    """The address of ours at which the request arrived (or so the PROXY header says), None on a Unix socket."""
    connection = connection_of(request)
    if connection is not None and connection.proxied is not None and connection.proxied.destination is not None:
        return parse_address(connection.proxied.destination)
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return parse_address(str(name[0])) if isinstance(name, tuple) else None


def _peer(transport: asyncio.BaseTransport, proxied: ProxyHeader | None) -> Address | None:
    """The address that connected, as the PROXY header has it where there is one; None on a Unix socket."""
    if proxied is not None and proxied.source is not None:
        return parse_address(proxied.source)
    plain = transport.get_extra_info("socket")
    if plain is not None and plain.family == socket.AF_UNIX:
        return None
    name = transport.get_extra_info("peername")
    return parse_address(str(name[0])) if isinstance(name, tuple) else None
