"""A DNS server on loopback: answers from a dict in master-file words, by UDP and TCP, and fails on cue.

`names`: name -> type -> records as in a zone file ("10 mx.example."), or for a type (or "*") one of SERVFAIL, REFUSED,
TIMEOUT, GARBAGE, BOGUS (SERVFAIL for failed validation), TRUNCATED (by UDP; TCP then gives the records of "<type>+").
Every question is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

SERVFAIL = "SERVFAIL"
REFUSED = "REFUSED"
TIMEOUT = "TIMEOUT"
GARBAGE = "GARBAGE"
BOGUS = "BOGUS"
TRUNCATED = "TRUNCATED"

Names = Mapping[str, Mapping[str, list[str] | str]]


class DnsServer:
    """A running server.  questions: how often each (name, type) was asked.  secure: set AD.

    edns: whether EDNS is known here.  ttl: of every record.
    """

    def __init__(self, names: Names) -> None:
        self.names = {name.lower().rstrip("."): dict(types) for name, types in names.items()}
        self.questions: Counter[tuple[str, str]] = Counter()
        self.secure = False
        self.edns = True
        self.ttl = 300
        self.minimum = 60
        self.port = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on the same port for both."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", self.port))

    async def stop(self) -> None:
        """Close both."""
        assert self._udp is not None
        assert self._tcp is not None
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def answer(self, wire: bytes, tcp: bool) -> bytes | None:
        """The answer to a question, None for silence."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text().lower().rstrip(".")
        type = dns.rdatatype.to_text(question.rdtype)
        self.questions[name, type] += 1
        response = dns.message.make_response(query)
        if not self.edns and query.edns >= 0:
            response.use_edns(False)
            response.set_rcode(dns.rcode.FORMERR)
            return response.to_wire()
        response.flags |= dns.flags.AA | dns.flags.RA
        if self.secure:
            response.flags |= dns.flags.AD
        return self._filled(response, name, type, tcp)

    def _filled(self, response: dns.message.Message, name: str, type: str, tcp: bool) -> bytes | None:
        for _ in range(10):
            types = self.names.get(name)
            if types is None:
                below = any(other.endswith("." + name) for other in self.names)
                response.set_rcode(dns.rcode.NOERROR if below else dns.rcode.NXDOMAIN)
                break
            found = types.get(type, types.get("*", []))
            if found == TRUNCATED:
                if tcp:
                    found = types[type + "+"]
                else:
                    response.flags |= dns.flags.TC
                    return response.to_wire(max_size=65535)
            if found == TIMEOUT:
                return None
            if found == GARBAGE:
                return response.to_wire()[:5] if tcp else response.to_wire()[:11] + b"\xff" * 9
            if found == BOGUS:
                response.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS)])
                found = SERVFAIL
            if isinstance(found, str):
                response.set_rcode(dns.rcode.from_text(found))
                return response.to_wire(max_size=65535)
            if found:
                response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", type, *found))
                return response.to_wire(max_size=65535)
            alias = types.get("CNAME")
            if not alias or isinstance(alias, str):
                break
            response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", "CNAME", *alias))
            name = alias[0].lower().rstrip(".")
            if types.get("HALF"):  # only the alias: the resolver must ask for its end
                return response.to_wire(max_size=65535)
        soa = f"ns.example. hostmaster.example. 1 3600 600 86400 {self.minimum}"
        response.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", soa))
        return response.to_wire(max_size=65535)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = self.answer(await reader.readexactly(length), tcp=True)
            if answer is not None:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data, tcp=False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def serving(names: Names) -> AsyncIterator[DnsServer]:
    """A DNS server for the time of a test."""
    server = DnsServer(names)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.contextmanager
def serving_in_thread(names: Names) -> Iterator[DnsServer]:
    """The same for tests that run no loop of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = DnsServer(names)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
