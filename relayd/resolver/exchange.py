"""One DNS question to one resolver and back: UDP, and TCP where the answer is truncated.

Towards a loopback resolver one socket is shared by all questions; elsewhere each question has a socket, and so a random
port, of its own (RFC 5452).  An answer counts only when it comes from the resolver's address and repeats our id and
question.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

_PORT = 53


@dataclass(frozen=True, slots=True)
class Server:
    """A resolver to ask.  trusted: its AD bit is believed.  tcp: never ask by UDP."""

    address: str
    port: int = _PORT
    tcp: bool = False
    trusted: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether nobody else can see or answer our questions."""
        return ipaddress.ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"{'tcp' if self.tcp else 'udp'}://{self.address}:{self.port}"


class BadServer(ValueError):
    """A resolver is not written as "udp://192.0.2.1:53"."""


class ExchangeError(Exception):
    """No usable answer: time out, refused, or nonsense."""


def parse_server(text: str, trust_ad: tuple[str, ...] = ()) -> Server:
    """ "udp://127.0.0.1:5353", "tcp://[::1]", or a bare address."""
    try:
        parts = urlsplit(text if "://" in text else f"udp://[{text}]" if text.count(":") > 1 else f"udp://{text}")
        address = str(ipaddress.ip_address(parts.hostname or ""))
        port = parts.port or _PORT
    except ValueError:
        raise BadServer(f'expected "udp://ADDRESS:PORT" or "tcp://ADDRESS:PORT", not "{text}"') from None
    if parts.scheme not in ("udp", "tcp") or parts.path not in ("", "/"):
        raise BadServer(f'expected "udp://ADDRESS:PORT" or "tcp://ADDRESS:PORT", not "{text}"')
    loopback = ipaddress.ip_address(address).is_loopback
    return Server(address, port, parts.scheme == "tcp", loopback or address in trust_ad)


def servers_of(resolv_conf: str, trust_ad: tuple[str, ...] = ()) -> list[Server]:
    """The `nameserver` lines of a resolv.conf; the local host when there are none (resolv.conf(5))."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(parse_server(words[1].partition("%")[0], trust_ad))
            except BadServer:
                continue
    return found or [Server("127.0.0.1", trusted=True)]


class Exchanges:
    """Asks resolvers.  Sockets are kept for loopback ones only; `close` lets go of them."""

    def __init__(self) -> None:
        self._shared: dict[Server, _Datagrams] = {}

    async def ask(self, server: Server, query: dns.message.QueryMessage, timeout: float) -> dns.message.Message:
        """The answer to `query`; raises ExchangeError."""
        try:
            async with asyncio.timeout(timeout):
                if server.tcp:
                    return await _ask_tcp(server, query)
                answer = await self._ask_udp(server, query)
                return await _ask_tcp(server, query) if answer.flags & dns.flags.TC else answer
        except TimeoutError:
            raise ExchangeError(f"{server} timed out") from None
        except (OSError, EOFError, dns.exception.DNSException, struct.error) as error:
            raise ExchangeError(f"{server}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Close the kept sockets."""
        for datagrams in self._shared.values():
            datagrams.close()
        self._shared.clear()

    async def _ask_udp(self, server: Server, query: dns.message.QueryMessage) -> dns.message.Message:
        if not server.is_loopback:
            datagrams = await _open(server)
            try:
                return await datagrams.ask(query)
            finally:
                datagrams.close()
        shared = self._shared.get(server)
        if shared is None or shared.is_closed:
            shared = await _open(server)
            self._shared[server] = shared
        return await shared.ask(query)


async def _open(server: Server) -> _Datagrams:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=(server.address, server.port))
    return protocol


class _Datagrams(asyncio.DatagramProtocol):
    """A connected socket; answers are matched to questions by id and question."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[int, tuple[dns.message.QueryMessage, asyncio.Future[dns.message.Message]]] = {}
        self.is_closed = False

    async def ask(self, query: dns.message.QueryMessage) -> dns.message.Message:
        """Send and wait."""
        assert self._transport is not None
        while query.id in self._waiting:
            query.id = (query.id + 1) & 0xFFFF
        id = query.id
        future: asyncio.Future[dns.message.Message] = asyncio.get_running_loop().create_future()
        self._waiting[id] = (query, future)
        try:
            self._transport.sendto(query.to_wire())
            return await future
        finally:
            del self._waiting[id]

    def close(self) -> None:
        """Close the socket."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: object) -> None:
        """An answer, or something else that is ignored."""
        if len(data) < 12:
            return
        waiting = self._waiting.get(data[0] << 8 | data[1])
        if waiting is None or waiting[1].done():
            return
        query, future = waiting
        try:
            answer = dns.message.from_wire(data, ignore_trailing=True)
        except dns.exception.DNSException as error:
            if not data[2] & 0x02:
                future.set_exception(error)
                return
            answer = dns.message.Message(query.id)  # truncated in the middle of a record
            answer.flags = dns.flags.QR | dns.flags.TC
        else:
            if not query.is_response(answer):
                return
        future.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there."""
        for _, future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.is_closed = True
        self.error_received(exc if isinstance(exc, OSError) else ConnectionAbortedError("socket closed"))


async def _ask_tcp(server: Server, query: dns.message.QueryMessage) -> dns.message.Message:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        wire = query.to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = dns.message.from_wire(await reader.readexactly(length), ignore_trailing=True)
    finally:
        writer.close()
    if not query.is_response(answer):
        raise ExchangeError(f"{server} answered another question")
    return answer
