"""The addresses behind a next hop, one host after the other (RFC 5321 §5.1).

Hosts of equal preference are looked up together, and only when the better ones have failed.  A host that turns out to
be ourselves, by name or by address, ends the list: it and all of equal or worse preference are dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from relayd.delivery.endpoint import Endpoint
from relayd.delivery.host_policy import Found, HostPolicies, HostPolicy
from relayd.delivery.options import ReuseOptions
from relayd.delivery.outcome import Trouble
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.address import literal_address
from relayd.resolver.answer import Answer, Mx, NoData, NoName, ResolveError, Resolver, Temporary
from relayd.routing.mta_sts import Policy
from relayd.routing.mx import LoopsToSelf, NullMx, interleaved, is_public, preference_groups
from relayd.routing.next_hop import NextHop
from relayd.routing.tls_defect import Defect
from relayd.routing.tls_policy import Consequence, TlsPolicy, consequence

IsSelf = Callable[[str, int], bool]
"""Whether a host name or IP address with a port is one that this server listens on."""


Refused = Callable[[str, HostPolicy, Defect], None]
"""Told of a host that does not meet its policy whatever it may say, and why."""


class NoHosts(Exception):
    """There is nothing (more) to connect to; the text says why."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


@dataclass(slots=True)
class Tally:
    """Why hosts had no usable address."""

    temporary: str = ""
    private: str = ""
    missing: str = ""
    insecure: tuple[Trouble, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Domain:
    """What the DNS says of a next hop.  groups: host names by preference.  signed: DNSSEC, or the configuration, says
    that they are the next hop's.  sts: its MTA-STS policy.
    """

    groups: list[list[str]]
    signed: bool
    sts: Policy | None = None


class Hosts:
    """Finds endpoints.  allow_private: `queue.outbound.allow-private`.  chance: 0 <= x < 1.

    local: who is asked for the addresses of a route's host, `resolver` by default.  policies: which TLS each host must
    give, DANE alone by default.  refused: who is told of hosts that are not even connected to.
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
        policies: HostPolicies | None = None,
        refused: Refused | None = None,
    ) -> None:
        self._refused = refused
        self.policies = HostPolicies(resolver) if policies is None else policies
        self._resolver = resolver
        self._local = resolver if local is None else local
        self._options = options
        self._allow_private = allow_private
        self._is_self = is_self
        self._chance = chance

    async def find(self, next_hop: NextHop, span: Span) -> AsyncGenerator[Endpoint, None]:
        """Endpoints in the order to try them; raises NoHosts before the first one when there is none."""
        fixed = fixed_endpoint(next_hop)
        if fixed is not None:
            if next_hop.route is None:
                self.check_literal(next_hop, fixed)
            yield fixed
            return
        tally = Tally()
        found = hosts = 0
        domain = await self._domain(next_hop, span)
        for group in domain.groups:
            group = group[: self._options.hosts - hosts]
            hosts += len(group)
            lists = await asyncio.gather(*(self._endpoints(host, next_hop, domain, span, tally) for host in group))
            if next_hop.route is None and any(self._is_self(e.address, e.port) for each in lists for e in each):
                if not found:
                    events.LOOP_TO_SELF(span, domain=next_hop.host)
                    raise NoHosts(Trouble.LOOP, f"mail for {next_hop.host} loops back to myself")
                return
            for endpoints in lists:
                for endpoint in endpoints:
                    if self.may_connect(endpoint, next_hop, span, tally):
                        found += 1
                        yield endpoint
            if hosts >= self._options.hosts:
                break
        if not found:
            raise self._none(next_hop, tally)

    async def best(self, next_hop: NextHop) -> list[str] | None:
        """The hosts of best preference by the MX records: none without MX, None when the DNS did not say."""
        if not next_hop.use_mx or fixed_endpoint(next_hop) is not None:
            return []
        try:
            records = (await self._resolver.mx(next_hop.host)).records
        except NoData:
            return [next_hop.host]
        except ResolveError:
            return None
        least = min((record.preference for record in records), default=0)
        return [record.exchange for record in records if record.preference == least]

    async def _domain(self, next_hop: NextHop, span: Span) -> _Domain:
        """The hosts of the next hop and its MTA-STS policy, which is asked for meanwhile."""
        if not next_hop.use_mx:
            return _Domain(groups=[[next_hop.host]], signed=True)
        asking = asyncio.create_task(self.policies.of_domain(next_hop, span))
        try:
            groups, signed = await self.groups(next_hop, span)
            return _Domain(groups=groups, signed=signed, sts=await asking)
        finally:
            asking.cancel()

    async def groups(self, next_hop: NextHop, span: Span) -> tuple[list[list[str]], bool]:
        """Host names by preference, and whether they are signed.

        The domain itself where it has no MX (implicit MX): then its addresses' signature says all.
        """
        domain = next_hop.host
        started = time.monotonic()
        try:
            answer = await self._resolver.mx(domain)
        except NoData:
            answer = Answer((Mx(0, domain),), secure=True)
        except ResolveError as error:
            events.MX_LOOKUP_FAILED(span, domain=domain, reason=str(error), elapsed=time.monotonic() - started)
            raise _lookup_failure(error, next_hop) from error
        names = [record.exchange for record in answer.records]
        events.MX_LOOKUP(span, domain=domain, details=names, elapsed=time.monotonic() - started)
        port = next_hop.port
        try:
            ours = self._is_self if next_hop.route is None else _nobody
            return preference_groups(answer.records, lambda name: ours(name, port), self._chance), answer.secure
        except NullMx:
            events.NULL_MX(span, domain=domain)
            raise NoHosts(Trouble.NULL_MX, f"{domain} takes no mail (null MX)") from None
        except LoopsToSelf:
            events.LOOP_TO_SELF(span, domain=domain)
            raise NoHosts(Trouble.LOOP, f"mail for {domain} loops back to myself") from None

    async def _endpoints(
        self, host: str, next_hop: NextHop, domain: _Domain, span: Span, tally: Tally
    ) -> list[Endpoint]:
        literal = _address_of(host)
        addresses, answers = [literal or ""], list[Answer[str]]()
        if literal is None:  # an MX must be a name (RFC 5321 §5.1), but such mistakes are common
            addresses, answers = await self.addresses(host, next_hop, span, tally)
        if not addresses:
            return []
        found = Found(host=host, signed=domain.signed, addresses=answers)
        policy = await self.policies.of_host(next_hop, found, domain.sts, span)
        return [Endpoint(host, address, next_hop.port, policy=policy) for address in addresses]

    async def addresses(
        self, host: str, next_hop: NextHop, span: Span, tally: Tally
    ) -> tuple[list[str], list[Answer[str]]]:
        """The addresses to try, and the answers that they come from."""
        started = time.monotonic()
        answers: list[Answer[str]] = []
        families: list[list[str]] = []
        resolver = self._resolver if next_hop.use_mx else self._local
        for answer in await asyncio.gather(
            resolver.addresses(host, 6), resolver.addresses(host, 4), return_exceptions=True
        ):
            if isinstance(answer, Answer):
                families.append(list(answer.records))
                answers.append(answer)
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
        return addresses, answers

    def may_connect(self, endpoint: Endpoint, next_hop: NextHop, span: Span, tally: Tally) -> bool:
        """Whether policies let us; why not goes into the tally."""
        tls = endpoint.policy.tls if endpoint.policy is not None else None
        if tls is not None and tls.refused is not None:
            tally.insecure = _refusal(tls, tls.refused, endpoint.host)
            if self._refused is not None and endpoint.policy is not None:
                self._refused(endpoint.host, endpoint.policy, tls.refused)
            return False
        if self._allow_private or next_hop.route is not None or is_public(endpoint.address):
            return True
        tally.private = f"{endpoint.host} has the private address {endpoint.address}"
        events.PRIVATE_ADDRESS(span, hostname=endpoint.host, remote_ip=endpoint.address)
        return False

    def check_literal(self, next_hop: NextHop, endpoint: Endpoint) -> None:
        """Raises NoHosts for an address literal that is ourselves, or private."""
        if self._is_self(endpoint.address, endpoint.port):
            raise NoHosts(Trouble.LOOP, f"mail for {next_hop.host} loops back to myself")
        if not self._allow_private and not is_public(endpoint.address):
            raise NoHosts(Trouble.PRIVATE, f"{endpoint.address} is a private address (queue.outbound.allow-private)")

    def _none(self, next_hop: NextHop, tally: Tally) -> NoHosts:
        if tally.temporary:
            return NoHosts(Trouble.LOOKUP, tally.temporary)
        if tally.insecure:
            return NoHosts(*tally.insecure)
        if tally.private:
            return NoHosts(Trouble.PRIVATE, f"{tally.private} (queue.outbound.allow-private)")
        missing = tally.missing or "no address"
        trouble = Trouble.NO_ADDRESS if next_hop.route is None else Trouble.ROUTE_LOOKUP
        return NoHosts(trouble, f"no mail host of {next_hop.host} has an address: {missing}")


def fixed_endpoint(next_hop: NextHop) -> Endpoint | None:
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


def _refusal(policy: TlsPolicy, defect: Defect, host: str) -> tuple[Trouble, str]:
    """Why a host is not connected to, in the name of who demands it."""
    text = f"{host}: {defect.value}"
    if consequence(policy, defect) is Consequence.BOUNCE:
        return Trouble.REQUIRETLS, text
    return (Trouble.MTA_STS if defect is Defect.NOT_IN_POLICY else Trouble.DANE), text


def _nobody(name: str, port: int) -> bool:
    return False


def _lookup_failure(error: ResolveError, next_hop: NextHop) -> NoHosts:
    if not isinstance(error, NoName):
        return NoHosts(Trouble.LOOKUP, str(error))
    return NoHosts(Trouble.NO_NAME if next_hop.route is None else Trouble.ROUTE_LOOKUP, str(error))
