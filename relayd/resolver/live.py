"""The live resolver: dnspython reads and writes the messages; cache, coalescing and retries are ours.

Every answer is kept for its TTL, between `cache.min` and `cache.max`; that a name or record does not exist, for what
its SOA says (RFC 2308); that nobody answered, for a few seconds (RFC 9520).  Equal questions in flight are one.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from relayd.events import dns as events
from relayd.events.event import Span
from relayd.resolver.answer import Answer, Bogus, Mx, NoData, NoName, ResolveError, Temporary, Tlsa
from relayd.resolver.cache import Cache, Landed
from relayd.resolver.exchange import ExchangeError, Exchanges, Server, parse_server, servers_of
from relayd.resolver.options import ResolverOptions

T = TypeVar("T")

_Key = tuple[str, str]
_CHAIN = 8
_SYSTEM = Path("/etc/resolv.conf")
_NO_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP)
_USUAL_SIZE = 1024


class LiveResolver:
    """Asks the configured resolvers, else the system's.  clock: any seconds.  span: where lookups are stated.

    Raises BadServer for a `resolver.custom` that cannot be read.
    """

    def __init__(self, options: ResolverOptions, span: Span, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._span = span
        self._servers = [parse_server(text, options.trust_ad) for text in options.custom] or system_servers(options)
        self._exchanges = Exchanges()
        self._cache: Cache[_Key, Answer[Any] | ResolveError] = Cache(options.cache_entries, clock)

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records; CNAMEs are followed, `canonical` names their end."""
        return await self._lookup(name, "MX", lambda record: Mx(record.preference, text_of(record.exchange)))

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A (family 4) or AAAA (family 6) records as text."""
        return await self._lookup(name, "A" if family == 4 else "AAAA", lambda record: str(record.address))

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        return await self._lookup(name, "TXT", lambda record: b"".join(record.strings))

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address."""
        name = ipaddress.ip_address(address).reverse_pointer
        return await self._lookup(name, "PTR", lambda record: text_of(record.target))

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        return await self._lookup(
            name, "TLSA", lambda record: Tlsa(record.usage, record.selector, record.mtype, record.cert)
        )

    def knows(self, type: str, name: str) -> bool:
        """Whether the answer, or that there is none, is in the cache.  name: of PTR the address."""
        if type == "PTR":
            name = ipaddress.ip_address(name).reverse_pointer
        return self._cache.get((name.lower().removesuffix("."), type)) is not None

    def forget(self) -> None:
        """Empty the cache (at a reload)."""
        self._cache.clear()

    async def close(self) -> None:
        """End what is in flight and close the sockets."""
        await self._cache.close()
        await self._exchanges.close()

    async def _lookup(self, name: str, type: str, value: Callable[[Any], T]) -> Answer[T]:
        key = (name.lower().removesuffix("."), type)
        found = self._cache.get(key)
        if found is None:
            try:
                found = await self._cache.fetch(key, lambda: self._fetch(key, value))
            except Landed:
                raise Temporary(f"{type} of {name}: the resolver was closed") from None
        if isinstance(found, Answer):
            return found
        raise _again(found)

    async def _fetch(self, key: _Key, value: Callable[[Any], T]) -> Answer[T] | ResolveError:
        """Ask, keep and state; a failure is a value here, so that it can be kept."""
        started = time.monotonic()
        name, type = key
        question = f"{type} {name}"
        options = self._options
        result: Answer[T] | ResolveError
        try:
            result = await self._resolve(name, type, value)
            seconds = min(max(result.ttl, options.cache_min), options.cache_max)
        except _Negative as negative:
            result = negative.error
            seconds = min(max(negative.ttl, options.cache_min), options.cache_negative)
        except ResolveError as error:
            result = error
            seconds = options.cache_failure
        elapsed = time.monotonic() - started
        if isinstance(result, Answer):
            events.LOOKUP(self._span, key=question, value=[_said(each) for each in result.records], elapsed=elapsed)
        else:
            events.LOOKUP_ERROR(self._span, key=question, reason=str(result), elapsed=elapsed)
        self._cache.keep(key, result, seconds, _weight(result))
        return result

    async def _resolve(self, name: str, type: str, value: Callable[[Any], T]) -> Answer[T]:
        rdtype = dns.rdatatype.from_text(type)
        try:
            asked = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise _Negative(NoName(f"{name} is no domain name: {error}"), 0) from None
        ttl, secure = 1 << 31, True
        for _ in range(_CHAIN):
            message, server = await self._ask(asked, rdtype, f"{type} of {name}")
            secure = secure and server.trusted and bool(message.flags & dns.flags.AD)
            end, ttl, records = _chase(message, asked, rdtype, ttl)
            if message.rcode() == dns.rcode.NXDOMAIN:
                raise _Negative(NoName(f"{text_of(end)} does not exist"), _negative_ttl(message))
            if records is not None:
                values = tuple(value(record) for record in records)
                return Answer(values, ttl=min(ttl, records.ttl), secure=secure, canonical=text_of(end))
            if end == asked:
                raise _Negative(NoData(f"{text_of(end)} has no {type} record"), _negative_ttl(message))
            asked = end  # an alias whose end was not in the answer
        raise Temporary(f"{type} of {name}: too many CNAMEs")

    async def _ask(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, what: str
    ) -> tuple[dns.message.Message, Server]:
        """The first answer that is one; each server is asked in turn, `attempts` times."""
        reason = "no resolver is known"
        for _ in range(self._options.attempts):
            for server in self._servers:
                try:
                    message = await self._exchange(server, name, rdtype)
                except ExchangeError as error:
                    reason = str(error)
                    continue
                if message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return message, server
                reason = f"{server} answered {dns.rcode.to_text(message.rcode())}"
                if message.rcode() == dns.rcode.SERVFAIL and _is_bogus(message):
                    raise Bogus(f"{what}: {reason}, DNSSEC validation failed")
        raise Temporary(f"{what}: {reason}")

    async def _exchange(
        self, server: Server, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> dns.message.Message:
        """Ask with EDNS, and again without where the server does not know it (RFC 6891 §7)."""
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=1232)
        query.flags |= dns.flags.AD  # "tell me whether you validated" (RFC 6840 §5.7)
        message = await self._exchanges.ask(server, query, self._options.timeout)
        if message.rcode() not in _NO_EDNS or message.edns >= 0:
            return message
        plain = dns.message.make_query(name, rdtype)
        plain.flags |= dns.flags.AD
        return await self._exchanges.ask(server, plain, self._options.timeout)


class _Negative(Exception):
    """The name or record does not exist; kept for `ttl` seconds."""

    def __init__(self, error: ResolveError, ttl: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.ttl = ttl


def system_servers(options: ResolverOptions, path: Path = _SYSTEM) -> list[Server]:
    """The resolvers of the system."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        text = ""
    return servers_of(text, options.trust_ad)


def text_of(name: dns.name.Name) -> str:
    """A name as A-labels, lower case, without the final dot; "" for the root."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _chase(
    message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, ttl: int
) -> tuple[dns.name.Name, int, dns.rrset.RRset | None]:
    """Follow CNAMEs inside one answer: the end of the chain, the least TTL on it, and the records there."""
    for _ in range(_CHAIN):
        records = message.get_rrset(message.answer, name, dns.rdataclass.IN, rdtype)
        if records:
            return name, ttl, records
        alias = message.get_rrset(message.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if not alias:
            return name, ttl, None
        ttl = min(ttl, alias.ttl)
        name = next(iter(alias)).target
    raise Temporary(f"{text_of(name)}: too many CNAMEs")


def _negative_ttl(message: dns.message.Message) -> int:
    """RFC 2308 §5: the lesser of the SOA's TTL and its minimum; 0 without a SOA."""
    for records in message.authority:
        if records.rdtype == dns.rdatatype.SOA:
            return min(int(records.ttl), int(next(iter(records)).minimum))
    return 0


def _is_bogus(message: dns.message.Message) -> bool:
    """Extended DNS error 6 to 12 (RFC 8914): validation failed."""
    return any(6 <= getattr(option, "code", 0) <= 12 for option in message.options if option.otype == 15)


def _said(record: object) -> str:
    """A record as zone files have it, for an event."""
    if isinstance(record, bytes):
        return record.decode("utf-8", "replace")
    return f"{record.preference} {record.exchange}." if isinstance(record, Mx) else str(record)


def _weight(result: Answer[Any] | ResolveError) -> int:
    """How many usual answers it is as large as: a stranger's TXT or TLSA records can be 64 KB each."""
    if not isinstance(result, Answer):
        return 1
    return 1 + sum(_octets(record) for record in result.records) // _USUAL_SIZE


def _octets(record: object) -> int:
    if isinstance(record, Tlsa):
        return len(record.data)
    return len(record) if isinstance(record, bytes) else 64


def _again(error: ResolveError) -> ResolveError:
    """A kept failure as a new exception: one that is raised twice grows its traceback."""
    return type(error)(str(error))
