"""The addresses behind a next hop, one host after the other (RFC 5321 §5.1).

Hosts of equal preference are looked up together, and only when the better ones have failed.  A host that turns out to
be ourselves, by name or by address, ends the list: it and all of equal or worse preference are dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from relayd.delivery.connection import Endpoint
from relayd.delivery.options import ReuseOptions
from relayd.delivery.outcome import Trouble
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.address import literal_address
from relayd.resolver.answer import Answer, Mx, NoData, NoName, ResolveError, Resolver, Temporary
from relayd.routing.mx import LoopsToSelf, NullMx, interleaved, is_public, preference_groups
from relayd.routing.next_hop import NextHop

IsSelf = Callable[[str, int], bool]
"""Whether a host name or IP address with a port is one that this server listens on."""


class NoHosts(Exception):
    """There is nothing (more) to connect to; the text says why."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


@dataclass(slots=True)
class _Tally:
    """Why hosts had no usable address."""

    temporary: str = ""
    private: str = ""
    missing: str = ""


class Hosts:
    """Finds endpoints.  allow_private: `queue.outbound.allow-private`.  chance: 0 <= x < 1.

    local: who is asked for the addresses of a route's host, `resolver` by default.
    """

    def __init__(
        self,
        resolver: Resolver,
        options: ReuseOptions,
        *,
        allow_private: bool,
        is_self: IsSelf,
        chance: Callable[[], float],
        local: Resolver | None = None,
    ) -> None:
        self._resolver = resolver
        self._local = resolver if local is None else local
        self._options = options
        self._allow_private = allow_private
        self._is_self = is_self
        self._chance = chance

    async def find(self, next_hop: NextHop, span: Span) -> AsyncGenerator[Endpoint, None]:
        """Endpoints in the order to try them; raises NoHosts before the first one when there is none."""
        fixed = _fixed(next_hop)
        if fixed is not None:
            if next_hop.route is None:
                self._check_literal(next_hop, fixed)
            yield fixed
            return
        tally = _Tally()
        found = hosts = 0
        for group in await self._groups(next_hop, span):
            group = group[: self._options.hosts - hosts]
            hosts += len(group)
            lists = await asyncio.gather(*(self._endpoints(host, next_hop, span, tally) for host in group))
            if next_hop.route is None and any(self._is_self(e.address, e.port) for each in lists for e in each):
                if not found:
                    events.LOOP_TO_SELF(span, domain=next_hop.host)
                    raise NoHosts(Trouble.LOOP, f"mail for {next_hop.host} loops back to myself")
                return
            for endpoints in lists:
                for endpoint in endpoints:
                    if self._may_connect(endpoint, next_hop, span, tally):
                        found += 1
                        yield endpoint
            if hosts >= self._options.hosts:
                break
        if not found:
            raise self._none(next_hop, tally)

    async def _groups(self, next_hop: NextHop, span: Span) -> list[list[str]]:
        """Host names by preference; the domain itself where it has no MX (implicit MX) or none is asked for."""
        domain = next_hop.host
        if not next_hop.use_mx:
            return [[domain]]
        started = time.monotonic()
        try:
            answer = await self._resolver.mx(domain)
        except NoData:
            answer = Answer((Mx(0, domain),))
        except ResolveError as error:
            events.MX_LOOKUP_FAILED(span, domain=domain, reason=str(error), elapsed=time.monotonic() - started)
            raise _lookup_failure(error, next_hop) from error
        names = [record.exchange for record in answer.records]
        events.MX_LOOKUP(span, domain=domain, details=names, elapsed=time.monotonic() - started)
        port = next_hop.port
        try:
            ours = self._is_self if next_hop.route is None else _nobody
            return preference_groups(answer.records, lambda name: ours(name, port), self._chance)
        except NullMx:
            events.NULL_MX(span, domain=domain)
            raise NoHosts(Trouble.NULL_MX, f"{domain} takes no mail (null MX)") from None
        except LoopsToSelf:
            events.LOOP_TO_SELF(span, domain=domain)
            raise NoHosts(Trouble.LOOP, f"mail for {domain} loops back to myself") from None

    async def _endpoints(self, host: str, next_hop: NextHop, span: Span, tally: _Tally) -> list[Endpoint]:
        literal = _address_of(host)
        if literal is not None:  # an MX must be a name (RFC 5321 §5.1), but such mistakes are common
            return [Endpoint(host, literal, next_hop.port)]
        started = time.monotonic()
        families: list[list[str]] = []
        resolver = self._resolver if next_hop.use_mx else self._local
        for answer in await asyncio.gather(
            resolver.addresses(host, 6), resolver.addresses(host, 4), return_exceptions=True
        ):
            if isinstance(answer, Answer):
                families.append(list(answer.records))
                continue
            families.append([])
            if isinstance(answer, Temporary):
                tally.temporary = str(answer)
            elif isinstance(answer, ResolveError):
                tally.missing = str(answer)
            else:
                raise answer
        v6, v4 = families
        addresses = interleaved(v6, v4, self._options.addresses)
        elapsed = time.monotonic() - started
        if addresses:
            limit = self._options.addresses
            events.IP_LOOKUP(span, domain=next_hop.host, hostname=host, details=addresses, limit=limit, elapsed=elapsed)
        else:
            reason = tally.temporary or tally.missing
            events.IP_LOOKUP_FAILED(span, hostname=host, reason=reason, elapsed=elapsed)
        return [Endpoint(host, address, next_hop.port) for address in addresses]

    def _may_connect(self, endpoint: Endpoint, next_hop: NextHop, span: Span, tally: _Tally) -> bool:
        if self._allow_private or next_hop.route is not None or is_public(endpoint.address):
            return True
        tally.private = f"{endpoint.host} has the private address {endpoint.address}"
        events.PRIVATE_ADDRESS(span, hostname=endpoint.host, remote_ip=endpoint.address)
        return False

    def _check_literal(self, next_hop: NextHop, endpoint: Endpoint) -> None:
        if self._is_self(endpoint.address, endpoint.port):
            raise NoHosts(Trouble.LOOP, f"mail for {next_hop.host} loops back to myself")
        if not self._allow_private and not is_public(endpoint.address):
            raise NoHosts(Trouble.PRIVATE, f"{endpoint.address} is a private address (queue.outbound.allow-private)")

    def _none(self, next_hop: NextHop, tally: _Tally) -> NoHosts:
        if tally.temporary:
            return NoHosts(Trouble.LOOKUP, tally.temporary)
        if tally.private:
            return NoHosts(Trouble.PRIVATE, f"{tally.private} (queue.outbound.allow-private)")
        missing = tally.missing or "no address"
        trouble = Trouble.NO_ADDRESS if next_hop.route is None else Trouble.ROUTE_LOOKUP
        return NoHosts(trouble, f"no mail host of {next_hop.host} has an address: {missing}")


def _fixed(next_hop: NextHop) -> Endpoint | None:
    """The endpoint of a next hop that needs no DNS: a Unix socket, an IP address, an address literal."""
    host = next_hop.host
    if host.startswith("unix:"):
        return Endpoint(host, host[len("unix:") :], 0, is_unix=True)
    address = _address_of(host)
    return Endpoint(host.strip("[]"), address, next_hop.port) if address is not None else None


def _address_of(host: str) -> str | None:
    if host[:1] == "[":
        found = literal_address(host)
    elif ":" in host:
        found = literal_address(f"[IPv6:{host}]")
    else:
        found = literal_address(f"[{host}]") if host[-1:].isdigit() else None
    return str(found) if found is not None else None


def _nobody(name: str, port: int) -> bool:
    return False


def _lookup_failure(error: ResolveError, next_hop: NextHop) -> NoHosts:
    if not isinstance(error, NoName):
        return NoHosts(Trouble.LOOKUP, str(error))
    return NoHosts(Trouble.NO_NAME if next_hop.route is None else Trouble.ROUTE_LOOKUP, str(error))
