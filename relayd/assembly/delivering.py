"""The way out: from the queue to the next hop, and back to the sender."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection

from relayd.assembly.account_guard import AccountGuard
from relayd.assembly.loaded import Loaded
from relayd.database.interface import DatabaseError
from relayd.delivery.attempt import Attempts, Road
from relayd.delivery.bounce import Bounces
from relayd.delivery.budget_file import BudgetFile
from relayd.delivery.client_certificate import ClientCertificate
from relayd.delivery.connection import Dialer
from relayd.delivery.endpoint import TlsWitness
from relayd.delivery.host_policy import HostPolicies
from relayd.delivery.hosts import Hosts, Refused
from relayd.delivery.lane import LaneStats
from relayd.delivery.notices import Notices
from relayd.delivery.oauth import Tokens
from relayd.delivery.options import BounceOptions, ReuseOptions, TimeoutOptions
from relayd.delivery.ourselves import Ourselves
from relayd.delivery.pool import Pool
from relayd.delivery.prober import NextHopProber
from relayd.delivery.scheduler import Scheduler
from relayd.delivery.sts_fetch import PolicyFetcher
from relayd.delivery.sts_policies import FILE as STS_FILE
from relayd.delivery.sts_policies import PolicyStore, StsPolicies, open_policies
from relayd.delivery.suppressing import Suppressing
from relayd.delivery.tls import TlsContexts
from relayd.delivery.tls_hosts import TlsHosts, open_hosts
from relayd.delivery.watching import Watching
from relayd.delivery.ways import Ways
from relayd.directory.address_book import AddressBook
from relayd.events import delivery as events
from relayd.events import store as store_events
from relayd.events.event import EventStream, Span
from relayd.mail.envelope import domain_of
from relayd.mail.snowflake import Snowflakes
from relayd.queue.daily import DailyCounts
from relayd.queue.opening import OpenQueue
from relayd.queue.suspension import Subject
from relayd.reception.signing import Signing
from relayd.reports.tls_results import TlsResults, open_results
from relayd.reputation.options import SuppressionOptions
from relayd.reputation.suppression import SuppressionList
from relayd.resolver.answer import Resolver
from relayd.resolver.hosts_file import HostsFile, LocalFirst
from relayd.resolver.live import LiveResolver
from relayd.routing import options as routing
from relayd.routing.next_hop import DaneUse
from relayd.routing.smarthost import Standings


class Delivering:
    """The parts of delivery, made of one configuration and reloaded with another."""

    def __init__(
        self,
        loaded: Loaded,
        opened: OpenQueue,
        book: AddressBook,
        guard: AccountGuard,
        resolver: LiveResolver,
        signing: Signing,
        snowflakes: Snowflakes,
    ) -> None:
        self._book = book
        self._guard = guard
        self._opened = opened
        self._signing = signing
        self._snowflakes = snowflakes
        self._loaded = loaded
        self._resolver = resolver
        self._stream: EventStream
        self.sts: StsPolicies
        self.tls_results: TlsResults
        self.tls_hosts: TlsHosts
        self.ways: Ways
        self.budgets: BudgetFile
        self.tokens: Tokens
        self.pool: Pool
        self.attempts: Attempts
        self.prober: NextHopProber
        self.bounces: Bounces
        self.scheduler: Scheduler
        self.suppressions: SuppressionList
        self.notices: Notices

    async def open(self, stream: EventStream, span: Span) -> None:
        """Bring the parts up; nothing runs yet."""
        loaded, self._stream = self._loaded, stream
        if "." not in loaded.hostname:
            events.MISSING_OUTBOUND_HOSTNAME(span, hostname=loaded.hostname)
        self.tls_results = await open_results(loaded.data, stream.clock, span)
        self.tls_hosts = await open_hosts(loaded.data, self.tls_results, stream.clock, span)
        self.tls_hosts.seconds = loaded.config.section(routing.OutboundOptions).tls_broken_for
        self.sts = StsPolicies(
            self._resolver,
            self._fetcher(loaded),
            await open_sts_policies(loaded, span, stream.clock),
            stream.clock,
            self.tls_results,
        )
        self.pool = Pool(loaded.config.section(ReuseOptions), time.monotonic)
        self._open_ways(loaded, span)
        self.attempts = Attempts(
            self._road(loaded),
            self._opened.queue.open_body,
            stream,
            self._snowflakes,
            sign_again=self._signing.again,
            soft_bounce=soft_bounce(loaded),
        )
        self.prober = NextHopProber(self._road(loaded), lambda: self._loaded.router, stream)
        self.bounces = Bounces(
            self._opened.queue,
            loaded.router,
            loaded.policy.local_names,
            hostname=loaded.hostname,
            ids=self._snowflakes,
            schedule=loaded.settings.schedule,
            span=span,
            seed=lambda: random.getrandbits(64),
            signing=self._signing,
            book=self._book,
        )
        self.notices = Notices(
            self._opened.queue,
            lambda: self._loaded.router,
            lambda: self._loaded.settings.schedule,
            self._signing,
            hostname=loaded.hostname,
            ids=self._snowflakes,
            span=span,
        )
        self.suppressions = SuppressionList(loaded.data, stream.clock, span)
        await self.suppressions.reconfigure(loaded.config.section(SuppressionOptions))
        self.scheduler = Scheduler(
            self._opened.queue,
            Watching(
                Suppressing(self.attempts, self.suppressions, self._is_ours, stream.clock, span), self._guard.outcomes
            ),
            loaded.router,
            self.bounces,
            loaded.settings,
            stream=stream,
            chance=random.random,
            may_attempt=lambda: self._opened.space.may_attempt,
            counts=DailyCounts(self._opened.queue),
        )

    async def reload(self, loaded: Loaded, resolver: LiveResolver) -> None:
        """Take another configuration; attempts under way end as they began."""
        self._loaded, self._resolver = loaded, resolver
        self.tls_hosts.seconds = loaded.config.section(routing.OutboundOptions).tls_broken_for
        self.ways.standings.set_aside = loaded.config.section(routing.OutboundOptions).set_aside
        self.ways.reconfigure(loaded.router)
        self.tokens.context = self._contexts(loaded).verified
        self.sts.reconfigure(resolver, self._fetcher(loaded))
        road = self._road(loaded)
        self.attempts.reconfigure(road, soft_bounce=soft_bounce(loaded))
        self.prober.reconfigure(road)
        self.bounces.local = loaded.policy.local_names
        self.bounces.router, self.bounces.schedule = loaded.router, loaded.settings.schedule
        self.scheduler.reload(loaded.settings, loaded.router)
        await self.suppressions.reconfigure(loaded.config.section(SuppressionOptions))

    def hosts(
        self, loaded: Loaded, resolver: Resolver, *, strict: bool = False, refused: Refused | None = None
    ) -> Hosts:
        """What finds the hosts of a next hop, by `loaded`, asking `resolver`.

        strict: DANE and MTA-STS count whatever the configuration says.  refused: who is told of hosts left out.
        """
        outbound = loaded.config.section(routing.OutboundOptions)
        binds = (bind for each in loaded.listeners.listeners.values() for bind in each.bind if not bind.path)
        return Hosts(
            resolver,
            loaded.config.section(ReuseOptions),
            local=LocalFirst(resolver, HostsFile()),
            allow_private=outbound.allow_private,
            is_self=Ourselves(loaded.hostname, ((bind.host, bind.port) for bind in binds)),
            chance=random.random,
            policies=HostPolicies(
                resolver,
                DaneUse.OPTIONAL if strict else DaneUse(outbound.dane),
                self.sts if strict or outbound.mta_sts else None,
            ),
            refused=refused,
        )

    def dialer(self, loaded: Loaded, timeouts: TimeoutOptions, witness: TlsWitness | None = None) -> Dialer:
        """What makes connections, by `loaded`, within `timeouts`.  witness: who remembers what their TLS came to."""
        return Dialer(loaded.hostname, timeouts, self._contexts(loaded), witness, tokens=self.tokens)

    def lane(self, destination: str) -> LaneStats | None:
        """What runs and waits for a destination; None when nothing does."""
        found = (each for each in self.scheduler.stats().destinations if each.destination == destination)
        return next(found, None)

    def suspendable(self, subject: Subject) -> Collection[str] | None:
        """See `control.api.suspensions.Known`."""
        if subject is Subject.ROUTE:
            return self._loaded.router.routes.keys()
        if subject is Subject.SOURCE:
            return self._loaded.router.sources.sources.keys()
        return self.scheduler.shaping.providers() if subject is Subject.PROVIDER else None

    async def close(self) -> None:
        """Close what is open, once the scheduler is drained."""
        await self.pool.close()
        await self.budgets.write()
        await self.sts.close()
        await self.tls_hosts.close()
        await self.tls_results.close()
        await self.suppressions.close()

    def _is_ours(self, address: str) -> bool:
        place = self._loaded.policy.place(domain_of(address))
        return place.relay or place.local

    def _road(self, loaded: Loaded) -> Road:
        dialer = self.dialer(loaded, loaded.config.section(TimeoutOptions), self.tls_hosts)
        reuse = loaded.config.section(ReuseOptions)
        hosts = self.hosts(loaded, self._resolver, refused=self.tls_hosts.refused)
        return Road(hosts=hosts, dialer=dialer, pool=self.pool, reuse=reuse, ways=self.ways, rules=loaded.bounce_rules)

    @staticmethod
    def _contexts(loaded: Loaded) -> TlsContexts:
        outbound = loaded.config.section(routing.OutboundOptions)
        routes = loaded.config.records(routing.RouteOptions)
        return TlsContexts(
            outbound.ca_files,
            {id: each.tls_ca_files for id, each in routes.items()},
            minimum=outbound.tls_minimum,
            certificates={
                id: ClientCertificate(each.tls_cert, each.tls_private_key)
                for id, each in routes.items()
                if each.tls_cert is not None
            },
        )

    def _open_ways(self, loaded: Loaded, span: Span) -> None:
        """Through which hosts mail goes, from which sources, and with which tokens it signs in."""
        queue, clock = self._opened.queue, self._stream.clock

        def suspended_until(key: str) -> float | None:
            found = [each for each in queue.suspensions() if each.destination == key]
            return None if not found else math.inf if found[0].until is None else found[0].until

        standings = Standings(loaded.config.section(routing.OutboundOptions).set_aside)
        self.ways = Ways(loaded.router, standings, clock=clock, chance=random.random, suspended_until=suspended_until)
        self.budgets = BudgetFile(loaded.data, standings.kept, span)
        standings.restore(self.budgets.read(), self.ways.hosts())
        self.tokens = Tokens(loaded.data, self._contexts(loaded).verified, clock)

    def _fetcher(self, loaded: Loaded) -> PolicyFetcher:
        outbound = loaded.config.section(routing.OutboundOptions)
        contexts = TlsContexts(outbound.ca_files)
        return PolicyFetcher(
            self._resolver,
            lambda: contexts.context(verified=True),
            allow_private=outbound.allow_private,
            port=outbound.mta_sts_port,
        )


async def open_sts_policies(loaded: Loaded, span: Span, clock: Callable[[], float]) -> PolicyStore:
    """The MTA-STS policies kept on disk; in memory alone where that cannot be opened: mail goes on without."""
    try:
        return await open_policies(loaded.data, span, clock())
    except DatabaseError as error:
        store_events.BROKEN(span, path=str(loaded.data / STS_FILE), reason=str(error))
        return PolicyStore()


def soft_bounce(loaded: Loaded) -> bool:
    """`queue.soft-bounce`."""
    return loaded.config.section(BounceOptions).soft_bounce
