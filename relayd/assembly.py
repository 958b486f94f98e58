"""How the parts are put together: the engine between the listeners and the disk, built from one configuration.

`Loaded` is a configuration turned into what the parts are given; making one checks everything that can be wrong with
it, so that a reload builds the new one whole before any part hears of it.  `Engine` owns the parts; `open` brings them
up in the order in which they need each other, `close` takes them down in reverse.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable

from relayd.config.bounces import bounce_rules
from relayd.config.configuration import Config, ConfigError
from relayd.config.places import data_directory, submit_socket
from relayd.config.settings import Settings as StoredSettings
from relayd.control.app import Setting
from relayd.control.options import HttpOptions
from relayd.database.interface import DatabaseError
from relayd.delivery.attempt import Attempts, Road
from relayd.delivery.bounce import Bounces
from relayd.delivery.connection import Dialer
from relayd.delivery.host_policy import HostPolicies
from relayd.delivery.hosts import Hosts
from relayd.delivery.lanes import LaneStats
from relayd.delivery.options import BounceOptions, ReuseOptions, TimeoutOptions
from relayd.delivery.ourselves import Ourselves
from relayd.delivery.outlook import Outlooks, Roads
from relayd.delivery.pool import Pool
from relayd.delivery.prober import NextHopProber
from relayd.delivery.scheduler import Scheduler, Settings
from relayd.delivery.sts_fetch import PolicyFetcher
from relayd.delivery.sts_policies import FILE as STS_FILE
from relayd.delivery.sts_policies import PolicyStore, StsPolicies, open_policies
from relayd.delivery.tls import TlsContexts
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions, CodeOptions, ExpiryOptions
from relayd.events import smtp
from relayd.events import store as store_events
from relayd.events.event import EventStream, Span
from relayd.listener import options as listening
from relayd.listener.listeners import ListenerConfiguration, Listeners, Machinery
from relayd.listener.options import Bind, ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.mail.snowflake import Snowflakes
from relayd.mailauth.dkim_sign import SignatureRule
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.signature_options import SignatureOptions
from relayd.mailauth.signing_key import SigningKey
from relayd.options import OptionError
from relayd.queue.opening import OpenQueue, QueueOptions, Surroundings, open_queue
from relayd.queue.options import DeletedOptions, LimitOptions, SpaceOptions
from relayd.reception import options as receiving
from relayd.reception.examination import Examinations, InForce
from relayd.reception.keyring import Keyring
from relayd.reception.policy import Policy
from relayd.reception.receive import Parts, Reception
from relayd.reception.rotation import unpublished
from relayd.reception.signing import Signing
from relayd.reception.trial import Trials
from relayd.resolver.answer import Resolver
from relayd.resolver.exchange import parse_server
from relayd.resolver.hosts_file import HostsFile, LocalFirst
from relayd.resolver.live import LiveResolver
from relayd.resolver.options import ResolverOptions
from relayd.routing import options as routing
from relayd.routing.next_hop import DaneUse
from relayd.routing.route import Router
from relayd.routing.schedule import Schedule

SUBMIT = "submit"
"""Id of the listener that the submit socket is."""


class Loaded:
    """A configuration as the parts take it.  Raises OptionError, UnknownRoute, BadServer; nothing is touched then."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.server = config.section(ServerOptions)
        self.hostname = self.server.hostname or socket.getfqdn()
        self.data = data_directory(config)
        self.listeners = self._listeners()
        self.policy = Policy(self._reception())
        self.router = self._router()
        self.queue = QueueOptions(
            space=config.section(SpaceOptions),
            limits=config.section(LimitOptions),
            deleted=config.section(DeletedOptions),
        )
        self.resolving = config.section(ResolverOptions)
        for text in self.resolving.custom:
            parse_server(text, self.resolving.trust_ad)
        self.settings = Settings(
            schedule=Schedule(config.section(routing.ScheduleOptions)),
            concurrency=config.section(routing.ConcurrencyOptions),
            breaker=config.section(routing.BreakerOptions),
        )
        self.keyring = keyring_of(config)
        self.bounce_rules = bounce_rules(config)

    def _listeners(self) -> ListenerConfiguration:
        config = self.config
        listeners = dict(config.records(ListenerOptions))
        if not any(each.role == SUBMIT for each in listeners.values()):
            path = str(submit_socket(config))
            listeners[SUBMIT] = ListenerOptions(bind=(Bind(path=path),), role=SUBMIT)
        return ListenerConfiguration(
            hostname=self.hostname,
            listeners=listeners,
            certificates=config.records(listening.CertificateOptions),
            timeouts=config.section(listening.TimeoutOptions),
            errors=config.section(listening.ErrorLimitOptions),
            plugins=config.section(listening.PluginOptions),
        )

    def _reception(self) -> receiving.ReceptionOptions:
        config = self.config
        return receiving.ReceptionOptions(
            hostname=self.hostname,
            server=self.server,
            session=config.section(receiving.TrustedRelayOptions),
            auth=config.section(AuthOptions),
            rcpt=config.section(receiving.RcptOptions),
            probe=config.section(receiving.ProbeOptions),
            known=config.records(receiving.KnownOptions),
            ehlo=config.section(receiving.EhloOptions),
            data=config.section(receiving.DataOptions),
            limits=config.section(receiving.DataLimits),
            received=config.section(receiving.ReceivedOptions),
            redirect=config.section(receiving.RedirectOptions),
            access=config.records(receiving.AccessOptions),
            rewrite=config.records(receiving.RewriteOptions),
            listener_networks={id: each.relay_networks for id, each in config.records(ListenerOptions).items()},
        )

    def _router(self) -> Router:
        config = self.config
        domains = {id: each.next_hop for id, each in config.records(routing.DomainOptions).items()}
        return Router(config.section(routing.OutboundOptions), config.records(routing.RouteOptions), domains)


class Engine:
    """The parts of one daemon."""

    def __init__(self, loaded: Loaded, stream: EventStream, snowflakes: Snowflakes) -> None:
        self.loaded = loaded
        self.stream = stream
        self.snowflakes = snowflakes
        self.span = Span(stream)
        self.opened: OpenQueue
        self.scheduler: Scheduler
        self.reception: Reception
        self.listeners: Listeners
        self.resolver: LiveResolver
        self.sts: StsPolicies
        self.directory: Directory
        self.signing: Signing

    async def open(self, on_broken: Callable[[str], None]) -> None:
        """Bring everything up but the listeners.  on_broken: the queue's database can be used no more.

        Raises DirectoryInUse, NewerSchema (nothing was touched), DatabaseError, BlobError, OSError.
        """
        loaded = self.loaded
        around = Surroundings(clock=self.stream.clock, span=self.span, on_broken=on_broken)
        self.opened = await open_queue(loaded.data, loaded.queue, loaded.server.node, around)
        self.resolver = LiveResolver(loaded.resolving, self.span)
        self.sts = StsPolicies(self.resolver, self._fetcher(loaded), await self._open_policies(), self.stream.clock)
        self.signing = Signing(loaded.keyring, self.span)
        self._build_delivery()
        self._build_reception()
        self._build_troubleshooting()

    async def _open_policies(self) -> PolicyStore:
        """The MTA-STS policies kept on disk; in memory alone where that cannot be opened: mail goes on without."""
        try:
            return await open_policies(self.loaded.data, self.span, self.stream.clock())
        except DatabaseError as error:
            store_events.BROKEN(self.span, path=str(self.loaded.data / STS_FILE), reason=str(error))
            return PolicyStore()

    def _build_delivery(self) -> None:
        loaded = self.loaded
        self.pool = Pool(loaded.config.section(ReuseOptions), time.monotonic)
        self.attempts = Attempts(
            self._road(loaded),
            self.opened.queue.open_body,
            self.stream,
            self.snowflakes,
            sign_again=self.signing.again,
            soft_bounce=self._soft_bounce(loaded),
        )
        self.prober = NextHopProber(self._road(loaded), lambda: self.loaded.router, self.stream)
        self.bounces = Bounces(
            self.opened.queue,
            loaded.router,
            loaded.policy.local_names,
            hostname=loaded.hostname,
            ids=self.snowflakes,
            schedule=loaded.settings.schedule,
            span=self.span,
            seed=lambda: random.getrandbits(64),
            signing=self.signing,
        )
        self.scheduler = Scheduler(
            self.opened.queue,
            self.attempts,
            loaded.router,
            self.bounces,
            loaded.settings,
            stream=self.stream,
            chance=random.random,
            may_attempt=lambda: self.opened.space.may_attempt,
        )

    def _road(self, loaded: Loaded) -> Road:
        outbound = loaded.config.section(routing.OutboundOptions)
        files = {id: each.tls_ca_files for id, each in loaded.config.records(routing.RouteOptions).items()}
        contexts = TlsContexts(outbound.ca_files, files, minimum=outbound.tls_minimum)
        dialer = Dialer(loaded.hostname, loaded.config.section(TimeoutOptions), contexts)
        reuse = loaded.config.section(ReuseOptions)
        hosts = self._hosts(loaded, self.resolver)
        return Road(hosts=hosts, dialer=dialer, pool=self.pool, reuse=reuse, rules=loaded.bounce_rules)

    def _hosts(self, loaded: Loaded, resolver: Resolver) -> Hosts:
        outbound = loaded.config.section(routing.OutboundOptions)
        binds = (bind for each in loaded.listeners.listeners.values() for bind in each.bind if not bind.path)
        return Hosts(
            resolver,
            loaded.config.section(ReuseOptions),
            local=LocalFirst(resolver, HostsFile()),
            allow_private=outbound.allow_private,
            is_self=Ourselves(loaded.hostname, ((bind.host, bind.port) for bind in binds)),
            chance=random.random,
            policies=HostPolicies(resolver, DaneUse(outbound.dane), self.sts if outbound.mta_sts else None),
        )

    def _fetcher(self, loaded: Loaded) -> PolicyFetcher:
        outbound = loaded.config.section(routing.OutboundOptions)
        contexts = TlsContexts(outbound.ca_files)
        return PolicyFetcher(
            self.resolver,
            lambda: contexts.context(verified=True),
            allow_private=outbound.allow_private,
            port=outbound.mta_sts_port,
        )

    @staticmethod
    def _soft_bounce(loaded: Loaded) -> bool:
        return loaded.config.section(BounceOptions).soft_bounce

    def _build_reception(self) -> None:
        loaded = self.loaded
        self.directory = Directory(loaded.config.records(AccountOptions), self.stream.clock)
        parts = Parts(
            queue=self.opened.queue,
            blobs=self.opened.blobs,
            space=self.opened.space,
            admission=self.scheduler,
            prober=self.prober,
            directory=self.directory,
            resolver=self.resolver,
            clock=self.stream.clock,
            snowflakes=self.snowflakes,
            signing=self.signing,
        )
        self.reception = Reception(loaded.policy, parts)
        self.trials = Trials(parts, lambda: self.reception.policy)
        machinery = Machinery(reception=self.reception, stream=self.stream, snowflakes=self.snowflakes)
        self.listeners = Listeners(loaded.listeners, machinery)

    def _build_troubleshooting(self) -> None:
        """Whom an operator's questions about the road of mail are put to."""

        def in_force() -> InForce:
            return InForce(policy=self.reception.policy, resolver=self.resolver, on_bug=self._bug_in_check)

        def roads() -> Roads:
            loaded = self.loaded
            return Roads(
                router=loaded.router,
                outbound=loaded.config.section(routing.OutboundOptions),
                schedule=loaded.settings.schedule,
                resolver=self.resolver,
                hosts=lambda resolver: self._hosts(loaded, resolver),
                lane=self._lane,
                most=loaded.settings.concurrency.per_destination,
                soft_bounce=self._soft_bounce(loaded),
            )

        self.examinations = Examinations(in_force, self.stream.clock)
        self.outlooks = Outlooks(roads, self.stream.clock)

    def _lane(self, destination: str) -> LaneStats | None:
        found = (each for each in self.scheduler.stats().destinations if each.destination == destination)
        return next(found, None)

    def _bug_in_check(self, check: str, error: Exception) -> None:
        smtp.HANDLER_ERROR(self.span, reason=f"check {check}: {type(error).__name__}: {error}")

    async def reload(self, loaded: Loaded) -> None:
        """Put another configuration in force; sessions and attempts under way end as they began."""
        await self.listeners.reload(loaded.listeners)
        before, self.loaded = self.loaded, loaded
        self.signing.keyring = loaded.keyring
        self.directory.reconfigure(loaded.config.records(AccountOptions))
        self.opened.configure(loaded.queue)
        retired = None
        if loaded.resolving != before.resolving:
            retired, self.resolver = self.resolver, LiveResolver(loaded.resolving, self.span)
        self.sts.reconfigure(self.resolver, self._fetcher(loaded))
        self.reception.reconfigure(loaded.policy, self.resolver)
        road = self._road(loaded)
        self.attempts.reconfigure(road, soft_bounce=self._soft_bounce(loaded))
        self.prober.reconfigure(road)
        self.bounces.local = loaded.policy.local_names
        self.bounces.router, self.bounces.schedule = loaded.router, loaded.settings.schedule
        self.scheduler.reload(loaded.settings, loaded.router)
        if retired is not None:
            await retired.close()

    def reload_certificates(self) -> None:
        """Read the certificates' files again, for new connections."""
        self.listeners.certificates.replace(self.loaded.listeners.certificates)

    def reload_lists(self) -> None:
        """Read the files of known recipients again, each when it is next asked."""
        self.reception.reconfigure(Policy(self.reception.policy.options))

    async def drain(self, timeout: float) -> None:
        """Stop accepting, finish and settle what is in flight within `timeout` seconds; the queue stays open."""
        until = time.monotonic() + timeout
        await self.listeners.drain(timeout)
        await self.scheduler.drain(max(0.0, until - time.monotonic()))

    async def close(self) -> None:
        """Close everything, once it is drained."""
        await self.reception.close()
        await self.pool.close()
        self.directory.close()
        await self.sts.close()
        self.signing.close()
        await self.resolver.close()
        await self.opened.close()

    def problems(self) -> list[str]:
        """Why the daemon is not ready; empty when it is."""
        found = []
        if not self.listeners.is_accepting:
            found.append("a listener does not accept connections")
        if not self.opened.space.is_ready:
            found.append("there is too little space, or the queue is full")
        return found


def keyring_of(config: Config) -> Keyring:
    """The keys of a configuration; reads them, which blocks for a while.  Raises OptionError."""
    expire = config.section(routing.ScheduleOptions).expire
    return Keyring(config.records(SignatureOptions), expire, time.monotonic)


class Signatures:
    """What the control socket is told of the signatures; see `control.api.dkim.SignaturesSide`."""

    def __init__(self, engine: Engine, settings: StoredSettings) -> None:
        self._engine = engine
        self._settings = settings

    @property
    def in_force(self) -> Keyring:
        """What signs now."""
        return self._engine.signing.keyring

    async def configured(self) -> Keyring:
        """What file and database say now; what is in force when that is wrong."""
        try:
            config = await self._settings.load()
            return await asyncio.to_thread(keyring_of, config)
        except (ConfigError, OptionError):
            return self.in_force

    async def unpublished(self, rule: SignatureRule, key: SigningKey) -> str:
        """Why the DNS does not show the key; "" when it does."""
        return await unpublished(self._engine.resolver, rule, key)


def control_setting(loaded: Loaded) -> Setting:
    """What the configuration says about the control socket."""
    config = loaded.config
    return Setting(
        listeners={id: each for id, each in config.records(ListenerOptions).items() if each.protocol == "http"},
        all_listeners=config.records(ListenerOptions),
        certificates=config.records(listening.CertificateOptions),
        hostname=loaded.hostname,
        http=config.section(HttpOptions),
        expiry=config.section(ExpiryOptions),
        codes=config.section(CodeOptions),
    )
