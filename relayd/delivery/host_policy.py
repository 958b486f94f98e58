"""Which TLS each host of a next hop must give: asks DNSSEC and MTA-STS, and `routing/tls_policy` decides.

TLSA records are asked for only where they would prove something: the MX records (when there are any) and the host's
addresses came with the AD bit of a trusted resolver (RFC 7672 §2.1, §2.2).
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

from relayd.delivery.tls import demanded_mode
from relayd.events import dane as dane_events
from relayd.events import mta_sts as sts_events
from relayd.events.event import Span
from relayd.resolver.answer import Answer, NoData, NoName, ResolveError, Resolver, Tlsa
from relayd.routing.dane import tlsa_name, usable
from relayd.routing.mta_sts import Policy
from relayd.routing.next_hop import DaneUse, MessageTls, NextHop, Protocol, TlsMode
from relayd.routing.tls_policy import Circumstances, Level, Lookup, Source, TlsPolicy, decide
from relayd.routing.tls_report import AppliedPolicy, PolicyType


class PolicySource(Interface):
    """Who knows the MTA-STS policies of domains."""

    async def policy(self, domain: str, span: Span) -> Policy | None:
        """The policy that counts now, None where there is none; raises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicy:
    """What is demanded of a host.  names: what its certificate may be for under DANE, the name for SNI first.

    applied: what TLS reports hold its sessions against; None: nobody is told of them.
    """

    tls: TlsPolicy
    names: tuple[str, ...]
    applied: AppliedPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A host as the DNS gave it.  signed: its MX record, or that the domain has none, is proven, or it needs none.

    addresses: the answers to A and AAAA.
    """

    host: str
    signed: bool
    addresses: Sequence[Answer[str]]


class HostPolicies:
    """dane: `queue.outbound.tls.dane`.  sts: None for `queue.outbound.tls.mta-sts = false`."""

    def __init__(self, resolver: Resolver, dane: DaneUse = DaneUse.OPTIONAL, sts: PolicySource | None = None) -> None:
        self._resolver = resolver
        self._dane = dane
        self._sts = sts

    async def of_domain(self, next_hop: NextHop, span: Span) -> Policy | None:
        """The MTA-STS policy of a next hop that is reached by MX; None for others."""
        if self._sts is None or not next_hop.use_mx or not _may_matter(next_hop):
            return None
        return await self._sts.policy(next_hop.host, span)

    async def of_host(self, next_hop: NextHop, found: Found, sts: Policy | None, span: Span) -> HostPolicy:
        """What is demanded of one host of the next hop."""
        lookup, base = Lookup.NOT_ASKED, found.host
        records: tuple[Tlsa, ...] = ()
        proven = found.signed and bool(found.addresses) and all(each.secure for each in found.addresses)
        if proven and self._dane is not DaneUse.OFF and _may_matter(next_hop):
            aliases = {each.canonical for each in found.addresses if each.canonical}
            lookup, records, base = await self._tlsa(found.host, sorted(aliases), next_hop.port, span)
        policy = decide(
            Circumstances(
                host=found.host,
                mode=demanded_mode(next_hop),
                message=next_hop.message_tls,
                by_mx=next_hop.use_mx,
                proven=proven,
                dane=self._dane,
                lookup=lookup,
                tlsa=records,
                sts=sts,
            )
        )
        if policy.source is Source.MTA_STS and sts is not None:
            allowed = policy.refused is None and policy.noted is None
            kind = sts_events.AUTHORIZED if allowed else sts_events.NOT_AUTHORIZED
            kind(span, domain=next_hop.host, hostname=found.host, policy=sts.mode.value)
        names = tuple(dict.fromkeys((base, found.host, next_hop.host)))
        return HostPolicy(tls=policy, names=names, applied=_applied(next_hop, policy, sts))

    async def _tlsa(
        self, host: str, aliases: Sequence[str], port: int, span: Span
    ) -> tuple[Lookup, tuple[Tlsa, ...], str]:
        """The TLSA records of the name that the host is an alias of, else of its own (RFC 7672 §2.2.2)."""
        started = time.monotonic()
        unsigned = False
        for base in dict.fromkeys((*aliases, host)):
            try:
                answer = await self._resolver.tlsa(tlsa_name(base, port))
            except (NoName, NoData):
                continue
            except ResolveError as error:
                elapsed = time.monotonic() - started
                dane_events.TLSA_RECORD_FETCH_ERROR(span, hostname=host, reason=str(error), elapsed=elapsed)
                return Lookup.FAILED, (), base
            if not answer.secure:
                unsigned = True
                continue
            shown = [str(each) for each in answer.records]
            elapsed = time.monotonic() - started
            dane_events.TLSA_RECORD_FETCH(span, hostname=host, details=shown, elapsed=elapsed)
            if not usable(answer.records):
                dane_events.TLSA_RECORD_INVALID(span, hostname=host, details=shown)
            return Lookup.FOUND, answer.records, base
        kind = dane_events.TLSA_RECORD_NOT_DNSSEC_SIGNED if unsigned else dane_events.TLSA_RECORD_NOT_FOUND
        kind(span, hostname=host, elapsed=time.monotonic() - started)
        return Lookup.NONE, (), host


def _applied(next_hop: NextHop, policy: TlsPolicy, sts: Policy | None) -> AppliedPolicy | None:
    """What the domain is told that its hosts were held against; mail by a route is not between it and us."""
    if not next_hop.use_mx or next_hop.route is not None or policy.level is Level.PLAIN:
        return None
    type = policy.report_type
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    if type is PolicyType.TLSA:
        strings = tuple(str(each) for each in policy.tlsa)
    elif type is PolicyType.STS and sts is not None:
        strings, mx = sts.lines(), sts.mx
    return AppliedPolicy(domain=next_hop.host, type=type, strings=strings, mx=mx)


def _may_matter(next_hop: NextHop) -> bool:
    """Whether DANE or MTA-STS could change anything."""
    if next_hop.message_tls in (MessageTls.REQUIRED, MessageTls.REPORT):
        return True
    return demanded_mode(next_hop) is not TlsMode.NONE and next_hop.message_tls is not MessageTls.OPTIONAL


def configured(next_hop: NextHop, host: str) -> HostPolicy:
    """What the configuration alone demands: of hosts that no DNS answer named."""
    store = next_hop.protocol is Protocol.LMTP and _is_loopback(next_hop.host)
    policy = decide(
        Circumstances(
            host=host,
            mode=demanded_mode(next_hop),
            message=next_hop.message_tls,
            by_mx=False,
            on_this_machine=store or next_hop.host.startswith("unix:"),
        )
    )
    return HostPolicy(tls=policy, names=(host,))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
