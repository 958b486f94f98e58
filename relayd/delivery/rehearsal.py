"""A delivery without a message: everything up to RCPT, told stage by stage while it happens (operation 26).

It goes the way that mail would go now: the configured route, sources, EHLO name and TLS policies.  `direct` is for the
behaviour of the API's origin: always by MX, every certificate checked against authorities, a host outside of an MTA-STS
policy passed over whatever its mode, and TLSA records without one for end entities not counted.  Neither ever goes on
in the clear where STARTTLS is not offered, unless the configuration says that TLS is not to be used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from relayd.delivery import stages
from relayd.delivery.connection import Connection, Dialer
from relayd.delivery.endpoint import ConnectionFailed, Endpoint
from relayd.delivery.errand import Errand, WaysOf, direct_errand, errand, only_way
from relayd.delivery.host_policy import Found, HostPolicy, configured
from relayd.delivery.hosts import Hosts, NoHosts, Tally, fixed_endpoint
from relayd.delivery.options import TimeoutOptions
from relayd.delivery.stage_facts import StageWatch, shown_policy, shown_records, uris
from relayd.delivery.stages import Stage
from relayd.delivery.sts_policies import StsPolicies
from relayd.delivery.tls import Demand
from relayd.events import dane as dane_events
from relayd.events import mta_sts as sts_events
from relayd.events.event import Event, EventStream, Span
from relayd.reports.tls_record import reporting_record
from relayd.resolver.answer import Answer, Mx, NoData, ResolveError, Resolver
from relayd.routing.mta_sts import Policy
from relayd.routing.next_hop import NextHop
from relayd.routing.options import OutboundOptions
from relayd.routing.route import Router
from relayd.routing.tls_records import BadRecord

MOST_HOSTS = 20
"""Hosts that are tried of one domain."""

MOST_SECONDS = 600.0
"""The longest time for one step that may be asked for."""

_END_ENTITY = 3
_SHA256 = 1
_KEY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a rehearsal goes by.  hosts: for `direct` or not.  dialer: with the given time limits.

    sts: None when policies are switched off.
    """

    router: Router
    outbound: OutboundOptions
    resolver: Resolver
    hosts: Callable[[bool], Hosts]
    sts: StsPolicies
    dialer: Callable[[TimeoutOptions], Dialer]
    ways: WaysOf = only_way


class Rehearsals:
    """Makes rehearsals.  means: asked for each.  span: where it is stated what domains ask for."""

    def __init__(self, means: Callable[[], Means], span: Span) -> None:
        self._means = means
        self._span = span

    async def run(
        self, recipient: str, sender: str = "", *, seconds: float = 30.0, direct: bool = False
    ) -> AsyncGenerator[Stage, None]:
        """The stages, each as it comes; the last is Completed.  Closing the generator ends what it does at once.

        recipient: an address, or a domain.  sender: the return path that routing rules are asked about.  seconds: for
        each step on the network.
        """
        told: asyncio.Queue[Stage | None] = asyncio.Queue()
        means = self._means()
        if direct:
            what = direct_errand(recipient, means.outbound.port)
        else:
            what = errand(means.router, means.ways, recipient, sender)
        rehearsal = _Rehearsal(means, what, min(seconds, MOST_SECONDS), told, self._span)
        task = asyncio.create_task(rehearsal.run())
        task.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (stage := await told.get()) is not None:
                yield stage
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class _Rehearsal:
    """One run."""

    def __init__(
        self, means: Means, errand: Errand, seconds: float, told: asyncio.Queue[Stage | None], span: Span
    ) -> None:
        self._errand = errand
        self._address = errand.address
        self._direct = errand.direct
        self._hop = errand.hops[0]
        self._means = means
        self._seconds = seconds
        self._told = told
        self._daemon = span
        self._stated: list[Event] = []
        self._span = Span(EventStream(time.time, [self._stated.append]))  # nobody else's: no mail is delivered
        self._hosts = means.hosts(errand.direct)
        every = dict.fromkeys(("connect", "greeting", "tls", "mail", "rcpt", "data", "block", "dot"), seconds)
        self._dialer = means.dialer(TimeoutOptions(**every))
        self._policy: Policy | None = None

    def _tell(self, stage: Stage) -> None:
        self._told.put_nowait(stage)

    async def run(self) -> None:
        """Everything."""
        found = await self._domain()
        if found is not None:
            hosts, signed = found
            for hop, host in hosts[:MOST_HOSTS]:
                self._hop = hop
                if await self._host(host, signed):
                    break
        self._tell(stages.Completed())

    # The domain

    async def _domain(self) -> tuple[list[tuple[NextHop, str]], bool] | None:
        """The hosts in their order, and whether DNSSEC vouches for them; None: there are none."""
        hop = self._hop
        self._tell(stages.MxLookupStart(domain=hop.host))
        started = time.monotonic()
        if self._errand.problem:
            self._tell(stages.MxLookupError(self._errand.problem, 0))
            return None
        hosts, signed = [(each, each.host) for each in self._errand.hops], True
        exchanges: tuple[stages.Exchanges, ...] = (stages.Exchanges(tuple(host for _, host in hosts), 0),)
        try:
            fixed = fixed_endpoint(hop)
            if fixed is not None and hop.route is None:
                self._hosts.check_literal(hop, fixed)
            if hop.use_mx:
                async with asyncio.timeout(self._seconds):
                    groups, signed = await self._hosts.groups(hop, self._span)
                    exchanges = await self._exchanges()
                hosts = [(hop, host) for group in groups for host in group]
        except (NoHosts, ResolveError, TimeoutError) as error:
            self._tell(stages.MxLookupError(str(error) or "timed out", _ms(started)))
            return None
        self._tell(stages.MxLookupSuccess(exchanges, _ms(started)))
        await self._mta_sts()
        await self._tls_rpt()
        return hosts, signed

    async def _exchanges(self) -> tuple[stages.Exchanges, ...]:
        """The MX records as they are shown; the resolver has just been asked."""
        try:
            records: Sequence[Mx] = (await self._means.resolver.mx(self._hop.host)).records
        except NoData:
            records = ()
        preferences = sorted({each.preference for each in records})
        return tuple(
            stages.Exchanges(tuple(each.exchange for each in records if each.preference == preference), preference)
            for preference in preferences
        )

    async def _mta_sts(self) -> None:
        self._tell(stages.MtaStsFetchStart())
        started = time.monotonic()
        if not self._hop.use_mx:
            self._tell(stages.MtaStsNotFound(0))  # such policies are about MX hosts
            return
        if not self._direct and not self._means.outbound.mta_sts:
            self._tell(stages.MtaStsFetchError("switched off (queue.outbound.tls.mta-sts)", 0))
            return
        before = len(self._stated)
        try:
            async with asyncio.timeout(self._seconds):
                kept = await self._means.sts.look(self._hop.host, self._span)
        except TimeoutError:
            self._tell(stages.MtaStsFetchError("timed out", _ms(started)))
            return
        if kept is not None:
            self._policy = kept.policy
            self._tell(stages.MtaStsFetchSuccess(shown_policy(kept), _ms(started)))
            return
        failures = (sts_events.POLICY_FETCH_ERROR, sts_events.INVALID_POLICY)
        reasons = [str(each.fields["reason"]) for each in self._stated[before:] if each.kind in failures]
        if reasons:
            self._tell(stages.MtaStsFetchError(reasons[0], _ms(started)))
        else:
            self._tell(stages.MtaStsNotFound(_ms(started)))

    async def _tls_rpt(self) -> None:
        self._tell(stages.TlsRptLookupStart())
        started = time.monotonic()
        if not self._hop.use_mx:
            self._tell(stages.TlsRptNotFound(0))
            return
        try:
            async with asyncio.timeout(self._seconds):
                record = await reporting_record(self._means.resolver, self._hop.host, self._daemon)
        except (ResolveError, BadRecord, TimeoutError) as error:
            self._tell(stages.TlsRptLookupError(str(error) or "timed out", _ms(started)))
            return
        if record is None:
            self._tell(stages.TlsRptNotFound(_ms(started)))
        else:
            self._tell(stages.TlsRptLookupSuccess(tuple(uris(record)), _ms(started)))

    # One host

    async def _host(self, host: str, signed: bool) -> bool:
        """Whether one of its addresses took everything."""
        self._tell(stages.DeliveryAttemptStart(host.removeprefix("unix:")))
        if self._policy is not None and not self._is_of_policy(host):
            return False
        self._tell(stages.TlsaLookupStart())
        started = time.monotonic()
        tally = Tally()
        fixed = fixed_endpoint(replace(self._hop, host=host) if self._hop.use_mx else self._hop)
        addresses: list[str] = []
        answers: list[Answer[str]] = []
        if fixed is not None:
            addresses = [fixed.address]
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    addresses, answers = await self._hosts.addresses(host, self._hop, self._span, tally)
        if self._direct:
            addresses.sort(key=lambda each: ":" in each)  # IPv4 first, as the API says
        looked = _ms(started)
        policy = await self._tlsa(host, Found(host=host, signed=signed, addresses=answers), started)
        self._tell(stages.IpLookupStart())
        if not addresses:
            reason = tally.temporary or tally.missing or "timed out"
            self._tell(stages.IpLookupError(reason, looked))
            return False
        self._tell(stages.IpLookupSuccess(tuple(addresses), looked))
        is_unix = fixed is not None and fixed.is_unix
        port = 0 if is_unix else self._hop.port
        for address in addresses:
            endpoint = Endpoint(host, address, port, is_unix=is_unix, policy=policy)
            if await self._address_took_all(endpoint, policy):
                return True
        return False

    def _is_of_policy(self, host: str) -> bool:
        """Whether to go on with the host."""
        policy = self._policy
        assert policy is not None
        if policy.allows(host):
            self._tell(stages.MtaStsVerifySuccess())
            return True
        enforced = self._direct or policy.mode.value == "enforce"
        reason = f"the policy (mode {policy.mode.value}) does not name {host}"
        self._tell(stages.MtaStsVerifyError(reason if enforced else f"{reason}; mail goes there all the same"))
        return not enforced

    async def _tlsa(self, host: str, found: Found, started: float) -> HostPolicy:
        """What TLS the host must give; tells of its TLSA records."""
        before = len(self._stated)
        if self._hop.use_mx or found.addresses:
            try:
                async with asyncio.timeout(self._seconds):
                    policy = await self._hosts.policies.of_host(self._hop, found, self._policy, self._span)
            except TimeoutError:
                self._tell(stages.TlsaLookupError(_ms(started), "timed out"))
                return configured(self._hop, host)
        else:
            policy = configured(self._hop, host)
        elapsed = _ms(started)
        for event in self._stated[before:]:
            if event.kind is dane_events.TLSA_RECORD_FETCH_ERROR:
                self._tell(stages.TlsaLookupError(elapsed, str(event.fields["reason"])))
                return policy
            if event.kind is dane_events.TLSA_RECORD_FETCH:
                return self._records(policy, elapsed)
            if event.kind is dane_events.TLSA_RECORD_NOT_DNSSEC_SIGNED:
                self._tell(stages.TlsaNotFound(elapsed, "there are TLSA records, and no DNSSEC signature of them"))
                return policy
            if event.kind is dane_events.TLSA_RECORD_NOT_FOUND:
                self._tell(stages.TlsaNotFound(elapsed, "the host has no TLSA records"))
                return policy
        self._tell(stages.TlsaNotFound(elapsed, self._not_asked()))
        return policy

    def _not_asked(self) -> str:
        """Why TLSA records were not even asked for."""
        if self._means.outbound.dane == "off" and not self._direct:
            return "DANE is switched off (queue.outbound.tls.dane)"
        return "MX and addresses of the host are not of a signed zone, or the resolver does not validate"

    def _records(self, policy: HostPolicy, elapsed: int) -> HostPolicy:
        """Tell of the records that were found."""
        entries = shown_records(policy.tls.tlsa)
        end_entities = any(each.is_end_entity for each in entries)
        if not entries:
            self._tell(stages.TlsaLookupError(elapsed, "none of the TLSA records can be used"))
            return policy
        if self._direct and not end_entities:
            self._tell(stages.TlsaLookupError(elapsed, "no TLSA record is of an end entity"))
            return replace(policy, tls=replace(policy.tls, tlsa=()))
        intermediates = not all(each.is_end_entity for each in entries)
        self._tell(stages.TlsaLookupSuccess(stages.TlsaSet(entries, end_entities, intermediates), elapsed))
        return policy

    # One address

    async def _address_took_all(self, endpoint: Endpoint, policy: HostPolicy) -> bool:
        self._tell(stages.ConnectionStart(endpoint.address))
        tally = Tally()
        if not self._hosts.may_connect(replace(endpoint, policy=None), self._hop, self._span, tally):
            self._tell(stages.ConnectionFailure(0, f"{tally.private} (queue.outbound.allow-private)"))
            return False
        demand = Demand.of(policy.tls, policy.names)
        demand = replace(demand, tlsa=(), may_be_plain=not demand.encrypt, requiretls=False)
        if self._direct:
            demand = replace(demand, encrypt=True, may_be_plain=False, pkix=True)
        watch = StageWatch(self._tell, policy)
        try:
            connection = await self._dialer.connect_once(endpoint, self._hop, demand, self._span, watch)
        except ConnectionFailed as failure:
            if not watch.failed:
                self._tell(stages.MailFromStart())
                self._tell(stages.MailFromError(str(failure), 0))
            return False
        try:
            return await self._envelope(connection)
        finally:
            connection.protocol.abort()

    async def _envelope(self, connection: Connection) -> bool:
        """MAIL and RCPT where there is an address, and QUIT."""
        took = True
        if self._address:
            international = not self._address.isascii()
            mail = "MAIL FROM:<>" + (" SMTPUTF8" if international else "")
            if international and not connection.extensions.smtputf8:
                self._tell(stages.MailFromStart())
                self._tell(stages.MailFromError("the address needs SMTPUTF8, which is not offered", 0))
                took = False
            else:
                took = await self._said(
                    connection, mail, stages.MailFromStart(), stages.MailFromSuccess, stages.MailFromError
                ) and await self._said(
                    connection,
                    f"RCPT TO:<{self._address}>",
                    stages.RcptToStart(),
                    stages.RcptToSuccess,
                    stages.RcptToError,
                )
        self._tell(stages.QuitStart())
        started = time.monotonic()
        await connection.protocol.command(b"QUIT\r\n", self._seconds)
        self._tell(stages.QuitCompleted(_ms(started)))
        return took

    async def _said(
        self,
        connection: Connection,
        line: str,
        start: Stage,
        success: Callable[[int], Stage],
        error: Callable[[str, int], Stage],
    ) -> bool:
        """One command; whether it was taken."""
        self._tell(start)
        started = time.monotonic()
        reply = await connection.protocol.command(line.encode() + b"\r\n", self._seconds)
        if reply is None or not reply.is_positive:
            self._tell(error(str(reply) if reply is not None else connection.protocol.lost, _ms(started)))
            return False
        self._tell(success(_ms(started)))
        return True


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
