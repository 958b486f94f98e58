"""The application: what it is made of, where it listens, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aiohttp import web

from relayd.console.files import Console
from relayd.control.access import Gate
from relayd.control.api import later
from relayd.control.api.account_auth import AccountAuth
from relayd.control.api.bans import BanOperations
from relayd.control.api.blobs import BlobOperations, Bodies
from relayd.control.api.description import Description
from relayd.control.api.dkim import DkimOperations, NoSignatures, SignaturesSide
from relayd.control.api.dns_records import DnsOperations
from relayd.control.api.explain import Explanations
from relayd.control.api.health import Health, Ready
from relayd.control.api.logs import LogFilesReader, LogOperations
from relayd.control.api.maintenance import Maintenance, Reload, WriteBackup
from relayd.control.api.oauth import OAuth
from relayd.control.api.principals import PrincipalOperations, domains_of
from relayd.control.api.purging import PurgeOperations
from relayd.control.api.quarantine import Learn, QuarantineOperations
from relayd.control.api.queue import QueueOperations
from relayd.control.api.quota import QuotaOperations, QuotaSide
from relayd.control.api.rehearse import RehearsalOperation
from relayd.control.api.sending import SendingOperations, SendingSide
from relayd.control.api.settings import OwnerOfSettings, SettingsOperations
from relayd.control.api.spam import SpamOperations, SpamSide
from relayd.control.api.spam_rules import NoRules, RulesOperations, RulesSide
from relayd.control.api.steering import Bounce, Destinations, QueueActions, QueueOfMessages, Steering
from relayd.control.api.strangers import StrangerOperations
from relayd.control.api.stream_tokens import StreamTokens
from relayd.control.api.suppression import SuppressionOperations
from relayd.control.api.suspensions import Known, SuspensionOperations
from relayd.control.api.telemetry import Telemetry, TelemetryOperations
from relayd.control.api.telemetry_live import LiveOperations
from relayd.control.api.tls import TlsOperations
from relayd.control.api.troubleshoot import Explaining, Troubleshooting
from relayd.control.api.webhooks import WebhookOperations
from relayd.control.auth import PATH as TOKEN_PATH
from relayd.control.auth import TokenEndpoint
from relayd.control.background import Background
from relayd.control.compat.brainycp import BrainyCp
from relayd.control.compat.brainycp_scanners import NoSwitches, Switches
from relayd.control.compat.directmail import DirectMail
from relayd.control.connection import Connection, Place
from relayd.control.headers import Headers
from relayd.control.hosts import Hosts
from relayd.control.limits import Limits
from relayd.control.listening import Certificates, Doorway, Listening, NoCertificates
from relayd.control.oauth_endpoints import OAuthEndpoints
from relayd.control.options import HttpOptions
from relayd.control.requests import Checks, doors, trace
from relayd.control.routes import Door, Route, add
from relayd.control.signing_in import SigningIn
from relayd.control.streaming import Streams
from relayd.control.sweep import Sweep
from relayd.delivery.tls_hosts import TlsHosts
from relayd.directory.codes import Codes
from relayd.directory.device_codes import DeviceCodes
from relayd.directory.options import CodeOptions, ExpiryOptions
from relayd.directory.principals import Principals
from relayd.events import http, server
from relayd.events.event import Span
from relayd.listener.options import CertificateOptions, ListenerOptions
from relayd.reports.tls_results import TlsResults
from relayd.reputation.bans import Bans
from relayd.reputation.greylist import Greylist
from relayd.reputation.record import Records
from relayd.reputation.suppression import SuppressionList
from relayd.resolver.answer import Resolver
from relayd.smtp.proxy import ProxyHeader
from relayd.telemetry.metrics import Metrics
from relayd.webhooks.webhooks import Webhooks

_CROWD = 4
"""How many times `max-connections` there may be before new ones from the network are not taken."""

_LAST_WRITES = 2.0
"""Seconds for the last octets of answers, once every handler is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the control socket shows and steers; the daemon hands it in.

    queue, actions, bounce, destinations: see `Steering`.  bodies: the messages' octets.  logs: the log files.
    metrics: of the daemon.  ready: what keeps mail from being taken.  backup, reload: carried out by the daemon.
    settings: their owner.  signing_in: checks credentials.  principals: of the database.  ids: issues request ids
    (span ids).  bans: who is shut out.  certificates: of listeners with TLS.  signatures: the keys that sign.
    explaining: whom troubleshooting asks.  suppressions: the list of recipients that are not sent to.  tls_hosts,
    tls_results: what is known of hosts' TLS.  webhooks: who is told of events.  telemetry: the views of the events.
    sending: keys and addresses of programs.  switches: of outside scanners.  greylist, records: what is remembered of
    strangers.  learn: has the statistical model learn a message.  known: what may be suspended.  resolver: asked for
    the DNS records that domains should have.  spam: scoring and learning; spam_rules: who keeps its rules.
    """

    queue: QueueOfMessages
    bodies: Bodies
    actions: QueueActions
    bounce: Bounce
    destinations: Destinations
    metrics: Metrics
    ready: Ready
    backup: WriteBackup
    reload: Reload
    settings: OwnerOfSettings
    signing_in: SigningIn
    principals: Principals
    quota: QuotaSide
    logs: LogFilesReader
    ids: Callable[[], int]
    explaining: Explaining
    telemetry: Telemetry
    bans: Bans = field(default_factory=Bans)
    certificates: Certificates = field(default_factory=NoCertificates)
    signatures: SignaturesSide = field(default_factory=NoSignatures)
    resolver: Callable[[], Resolver | None] = lambda: None
    suppressions: SuppressionList | None = None
    switches: Switches = field(default_factory=NoSwitches)
    greylist: Greylist = field(default_factory=Greylist)
    records: Records = field(default_factory=Records)
    learn: Learn | None = None
    known: Known = lambda subject: None
    tls_hosts: TlsHosts | None = None
    tls_results: TlsResults | None = None
    webhooks: Webhooks | None = None
    spam: SpamSide | None = None
    spam_rules: RulesSide = field(default_factory=NoRules)
    sending: SendingSide | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the configuration says about the control socket.  listeners: those with protocol http; all_listeners.

    hostname: by which the daemon goes.  certificates: of the configuration, for the records that publish them.
    """

    listeners: Mapping[str, ListenerOptions] = field(default_factory=dict)
    all_listeners: Mapping[str, ListenerOptions] = field(default_factory=dict)
    certificates: Mapping[str, CertificateOptions] = field(default_factory=dict)
    hostname: str = "localhost"
    http: HttpOptions = field(default_factory=HttpOptions)
    expiry: ExpiryOptions = field(default_factory=ExpiryOptions)
    codes: CodeOptions = field(default_factory=CodeOptions)

    @property
    def hosts(self) -> Hosts:
        """The names and addresses that are ours."""
        binds = [bind.host for each in self.listeners.values() for bind in each.bind if bind.host]
        own = [host for host in binds if not ipaddress.ip_address(host).is_unspecified]
        return Hosts([self.hostname, *self.http.hosts, *own])


class ControlApp:
    """The control socket of one daemon.  span: the daemon's."""

    def __init__(self, parts: Parts, span: Span, setting: Setting | None = None) -> None:
        self._parts = parts
        self._span = span
        self._setting = setting = setting or Setting()
        options, clock = setting.http, span.stream.clock
        self._sweep = Sweep(options, time.monotonic)
        self._limits = Limits(options)
        self.gate = Gate(parts.signing_in, parts.bans, self._limits)
        self.streams = Streams(options)
        self._headers = Headers(options)
        self._background = Background()
        self._codes = Codes(setting.expiry, setting.codes, clock)
        self._devices = DeviceCodes(setting.expiry, setting.codes, clock)
        self._tokens = TokenEndpoint(
            parts.signing_in, self._codes, self._devices, setting.expiry, self.gate.check_private, options.body_timeout
        )
        self._oauth = OAuthEndpoints(parts.signing_in, self._devices, lambda: self._setting.http.body_timeout)
        self._description = Description(lambda: self.routes)
        self._console = Console()
        self._checks = Checks(gate=self.gate, limits=self._limits, options=options, hosts=setting.hosts, doors={})
        self._app = web.Application(
            middlewares=[self._sweep.middleware(), trace(span, parts.ids), self._checks.middleware()]
        )
        self._app.on_response_prepare.append(self._headers.add)
        self._oauth.add_to(self._app)
        Health(parts.queue, parts.metrics, parts.ready, clock).add_to(self._app)
        self.routes: list[Route] = list(self._areas())
        self._checks.doors.update(doors(self._app, self._doors()))
        add(self._app, self.routes)
        add(self._app, later.fences())
        self._runner: web.AppRunner | None = None
        self._listening: Listening | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def _areas(self) -> Iterator[Route]:
        """Every operation, by area."""
        parts, clock = self._parts, self._span.stream.clock
        steering = Steering(
            queue=parts.queue,
            actions=parts.actions,
            bounce=parts.bounce,
            destinations=parts.destinations,
            owners_of=partial(domains_of, parts.principals),
        )
        yield from QueueOperations(steering, self._background, clock).routes()
        yield from SuspensionOperations(parts.queue, parts.known, clock).routes()
        yield from Maintenance(parts.backup, parts.reload).routes()
        yield from SettingsOperations(parts.settings).routes()
        yield from BlobOperations(parts.bodies).routes()
        yield from LogOperations(parts.logs).routes()
        yield from TelemetryOperations(parts.telemetry, clock).routes()
        yield from LiveOperations(parts.telemetry, self.streams).routes()
        yield from OAuth(self._codes, self._devices).routes()
        yield from StreamTokens(parts.signing_in).routes()
        yield from BanOperations(parts.bans, clock).routes()
        owners_of = partial(domains_of, parts.principals)
        yield from QuarantineOperations(parts.queue, parts.bodies, parts.actions, parts.learn, owners_of).routes()
        yield from StrangerOperations(parts.greylist, parts.records, clock).routes()
        yield from DkimOperations(parts.signatures, parts.settings, clock).routes()
        yield from DnsOperations(
            parts.signatures,
            lambda: self._setting.hostname,
            lambda: self._setting.all_listeners.values(),
            lambda: self._setting.certificates,
            clock,
            parts.resolver,
        ).routes()
        yield from Troubleshooting(parts.explaining).routes()
        yield from RehearsalOperation(parts.explaining.rehearse, self.streams).routes()
        yield from Explanations(parts.explaining, parts.queue).routes()
        yield from SpamOperations(parts.spam).routes()
        yield from PurgeOperations(parts.spam, parts.greylist, parts.records, clock).routes()
        yield from RulesOperations(parts.spam_rules).routes()
        yield from SuppressionOperations(parts.suppressions, clock).routes()
        yield from PrincipalOperations(parts.principals, self._background).routes()
        yield from TlsOperations(parts.tls_hosts, parts.tls_results, clock, lambda: self._setting.hostname).routes()
        yield from QuotaOperations(parts.quota, parts.principals).routes()
        yield from WebhookOperations(parts.webhooks).routes()
        yield from SendingOperations(parts.sending).routes()
        yield from AccountAuth(parts.principals).routes()
        yield from later.routes()
        yield from self._description.routes()

    def _doors(self) -> Iterator[Door]:
        """What sees to credentials itself, or needs none."""
        yield Door(method="POST", path=TOKEN_PATH, handler=self._tokens.handle)
        yield from self._oauth.doors()
        yield from self._description.doors()
        parts = self._parts
        brainycp = BrainyCp(
            self._checks.signed_in,
            parts.queue,
            parts.actions,
            self._background,
            lambda: self._setting.http,
            self._span.stream.clock,
            parts.switches,
        )
        yield from brainycp.doors()
        yield from self._console.doors()
        if parts.sending is None:
            yield Door(method="GET", path="/", handler=self._console.serve, dialect="")
            return
        yield from DirectMail(
            parts.sending.operations,
            parts.sending.keys,
            self.gate,
            self._limits,
            self._checks.admitted,
            lambda: self._setting.http,
            lambda: self._setting.hostname,
            self._span.stream.clock,
            self._console.serve,
        ).doors()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Hosts and ports of the TCP sockets."""
        binds = self._listening.binds if self._listening is not None else []
        return [(bind.host, bind.port) for bind in binds if not bind.path]

    async def start(
        self, unix_path: Path | None = None, inherited: Mapping[str, Sequence[socket.socket]] | None = None
    ) -> None:
        """Listen where the setting says, and on the Unix socket `unix_path`.  Raises OSError, with nothing left open.

        inherited: bound sockets from the supervisor by listener, in place of its binds.
        """
        if os.environ.get("AIOHTTP_NO_EXTENSIONS"):
            raise OSError("AIOHTTP_NO_EXTENSIONS is set: its parser in Python is not safe to serve with")
        self._runner = runner = web.AppRunner(
            self._app, access_log=None, handle_signals=False, shutdown_timeout=_LAST_WRITES
        )
        await runner.setup()
        assert runner.server is not None
        self._listening = Listening(
            Doorway(
                place=partial(self._place, runner.server),
                connection=partial(self._connection, runner.server, _logger(self._span)),
                certificates=self._parts.certificates,
                span=self._span,
            )
        )
        try:
            await self._listening.start(self._setting.listeners, unix_path, inherited or {})
        except OSError:
            await self.stop()
            raise
        self._sweeping = asyncio.create_task(self._sweep.forever(runner.server), name="control-sweep")
        self._sweeping.add_done_callback(self._sweep_ended)

    async def reload(self, setting: Setting) -> None:
        """Take another setting: for requests and connections from now on; open ones are not dropped."""
        self._setting = setting
        options = setting.http
        self._sweep.options = self.streams.options = self._headers.options = options
        self._limits.reconfigure(options)
        self._codes.reconfigure(setting.expiry, setting.codes)
        self._devices.reconfigure(setting.expiry, setting.codes)
        self._tokens.reconfigure(setting.expiry)
        self._checks.options, self._checks.hosts = options, setting.hosts
        if self._listening is not None:
            await self._listening.reload(setting.listeners)

    async def stop(self, timeout: float = 10.0) -> None:
        """Stop listening, end streams, let requests at work finish for `timeout` seconds, close everything."""
        until = time.monotonic() + timeout
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.close()
        self.streams.end()
        runner, self._runner = self._runner, None
        if runner is not None:
            if runner.server is not None:
                self._sweep.finish(runner.server)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._sweep.wait_idle()
            await runner.cleanup()
        await self._background.close(max(0.0, until - time.monotonic()))

    def _place(self, aiohttp: web.Server, id: str, options: ListenerOptions) -> Place:
        return Place(
            id=id,
            options=options,
            span=self._span,
            ids=self._parts.ids,
            most=lambda: self._setting.http.max_connections * _CROWD,
            connections=lambda: len(aiohttp.connections),
            uncounted=lambda: self._setting.http.exempt_networks,
        )

    def _connection(
        self, aiohttp: web.Server, logger: logging.Logger, place: Place, proxied: ProxyHeader | None
    ) -> Connection:
        return Connection(
            aiohttp,
            place,
            proxied,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._setting.http.idle_timeout,
            access_log=None,
            logger=logger,
            auto_decompress=False,  # what unpacks to more than was sent is nobody's way to speak this API
        )

    def _sweep_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            server.TASK_FAILED(self._span, id="control-sweep", reason=repr(task.exception()))


class _Stated(logging.Handler):
    """aiohttp's own complaints as events."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self._span = span

    def emit(self, record: logging.LogRecord) -> None:
        reason = f"{record.getMessage()}: {record.exc_info[1]!r}" if record.exc_info else record.getMessage()
        http.ERROR(self._span, reason=reason, url="")


def _logger(span: Span) -> logging.Logger:
    logger = logging.Logger("relayd.control")  # of our own: not in logging's tree, no handler but ours
    logger.addHandler(_Stated(span))
    return logger
