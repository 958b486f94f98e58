"""All listeners: their sockets, their sessions, the sweep over deadlines, reload and drain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from relayd.events import network, tls
from relayd.events.event import EventStream, Span
from relayd.listener.acceptor import (
    Acceptor,
    Preliminaries,
    bound_as,
    event_fields,
    listening_socket,
    remove_socket_file,
)
from relayd.listener.certificates import Certificates
from relayd.listener.limits import ConnectionCounts
from relayd.listener.options import (
    Bind,
    CertificateOptions,
    ErrorLimitOptions,
    ListenerOptions,
    PluginOptions,
    TimeoutOptions,
)
from relayd.listener.plugins import load_plugins
from relayd.listener.session import RelaySMTP
from relayd.listener.setting import Decisions, Setting
from relayd.mail.snowflake import Snowflakes
from relayd.smtp.proxy import ProxyHeader

SWEEP_EVERY = 1.0
REFRESH_CERTIFICATES_EVERY = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfiguration:
    """What the configuration says about listeners.  listeners: all records; those of protocol "http" are not ours."""

    hostname: str
    listeners: Mapping[str, ListenerOptions]
    certificates: Mapping[str, CertificateOptions] = field(default_factory=dict)
    timeouts: TimeoutOptions = field(default_factory=TimeoutOptions)
    errors: ErrorLimitOptions = field(default_factory=ErrorLimitOptions)
    plugins: PluginOptions = field(default_factory=PluginOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machinery:
    """What listeners get from the daemon.  monotonic: seconds, for deadlines; None is the loop's clock."""

    reception: Decisions
    stream: EventStream
    snowflakes: Snowflakes
    monotonic: Callable[[], float] | None = None


@dataclass(slots=True)
class _Open:
    """One listening socket."""

    bind: Bind
    sock: socket.socket
    server: asyncio.AbstractServer | Acceptor
    inherited: bool


class _Listener:
    """One listener's sockets; `setting` is what new sessions begin with."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.open: list[_Open] = []


class Listeners:
    """Starts, reloads and stops listeners.

    start() raises OSError when an address cannot be bound; reload() reports it and goes on with the others.
    """

    def __init__(self, configuration: ListenerConfiguration, machinery: Machinery) -> None:
        self._configuration = configuration
        self._machinery = machinery
        self._loop = asyncio.get_running_loop()
        self._monotonic = machinery.monotonic or self._loop.time
        self._span = Span(machinery.stream)
        self._plugins = load_plugins(configuration.plugins.plugins)
        self.certificates = Certificates(configuration.certificates, configuration.hostname, self._span)
        self.sessions: set[RelaySMTP] = set()
        self._listeners: dict[str, _Listener] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._refresh_at = self._monotonic() + REFRESH_CERTIFICATES_EVERY
        self._closing: list[Acceptor] = []

    async def start(self, inherited: Mapping[str, Sequence[socket.socket]] | None = None) -> None:
        """Open every listener.  inherited: listening sockets from systemd by listener id; they replace its binds."""
        try:
            for id, options in self._ours(self._configuration).items():
                listener = self._listeners[id] = _Listener(self._setting(id, options))
                given = (inherited or {}).get(id, ())
                for sock in given:
                    sock.setblocking(False)
                    await self._listen(listener, bound_as(sock), sock, inherited=True)
                if not given:
                    for bind in options.bind:
                        await self._bind(listener, bind)
        except BaseException:
            await self.drain(0)
            raise
        self._sweep_handle = self._loop.call_later(SWEEP_EVERY, self._sweep_regularly)

    async def reload(self, configuration: ListenerConfiguration) -> None:
        """Change to another configuration.  Sessions go on with the one they began with.

        Raises OptionError when a plug-in cannot be loaded; nothing has changed then.
        """
        plugins = self._plugins
        if configuration.plugins != self._configuration.plugins:
            plugins = load_plugins(configuration.plugins.plugins)
        self._plugins = plugins
        self._configuration = configuration
        self.certificates.replace(configuration.certificates)
        wanted = self._ours(configuration)
        for id in [id for id in self._listeners if id not in wanted]:
            self._close(self._listeners.pop(id), keep=())
        for id, options in wanted.items():
            listener = self._listeners.get(id)
            if listener is None:
                listener = self._listeners[id] = _Listener(self._setting(id, options))
            else:
                listener.setting = self._setting(id, options, listener.setting.counts)
            await self._rebind(listener)

    async def drain(self, timeout: float) -> None:
        """Stop accepting, end sessions at command boundaries, wait for what is past DATA at most `timeout` seconds."""
        for listener in self._listeners.values():
            self._close(listener, keep=())
        self._listeners.clear()
        if self._sweep_handle is not None and not timeout:
            self._sweep_handle.cancel()
        for session in list(self.sessions):
            session.drain()
        await asyncio.gather(*(acceptor.wait_closed() for acceptor in self._closing))
        tasks = [session.task for session in self.sessions if session.task is not None]
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports let go of their sockets in the loop's next turn
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()

    def end_sessions(self, account: str) -> None:
        """End the sessions of an account at their next command boundary, with 421."""
        for session in list(self.sessions):
            if session.client.account == account:
                session.drain()

    @property
    def is_accepting(self) -> bool:
        """Every configured listener accepts."""
        return bool(self._listeners) and all(listener.open for listener in self._listeners.values())

    def addresses(self, id: str) -> list[Bind]:
        """Where a listener listens in fact: ports chosen by the kernel are told here."""
        return [bound_as(each.sock) if not each.bind.path else each.bind for each in self._listeners[id].open]

    def sweep(self) -> None:
        """End the sessions whose deadline has passed; look at certificate files once a minute."""
        now = self._monotonic()
        for session in [session for session in self.sessions if session.deadline <= now]:
            session.expire()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_CERTIFICATES_EVERY
            self.certificates.refresh()

    def _sweep_regularly(self) -> None:
        self._sweep_handle = self._loop.call_later(SWEEP_EVERY, self._sweep_regularly)
        self.sweep()

    @staticmethod
    def _ours(configuration: ListenerConfiguration) -> dict[str, ListenerOptions]:
        return {id: options for id, options in configuration.listeners.items() if options.protocol != "http"}

    def _setting(self, id: str, options: ListenerOptions, counts: ConnectionCounts | None = None) -> Setting:
        configuration, machinery = self._configuration, self._machinery
        if options.role == "submission" and self.certificates.context is None:
            details = "AUTH is offered on loopback only"
            tls.NO_CERTIFICATES_AVAILABLE(self._span, listener_id=id, details=details)
        if options.tls_implicit and self.certificates.for_role(options.role) is None:
            tls.NOT_CONFIGURED(self._span, listener_id=id, details="every handshake fails until it has one")
        return Setting(
            id=id,
            options=options,
            hostname=configuration.hostname,
            timeouts=configuration.timeouts,
            errors=configuration.errors,
            reception=machinery.reception,
            plugins=self._plugins,
            certificates=self.certificates,
            counts=counts or ConnectionCounts(),
            stream=machinery.stream,
            snowflakes=machinery.snowflakes,
            monotonic=self._monotonic,
            sessions=self.sessions,
        )

    async def _bind(self, listener: _Listener, bind: Bind) -> None:
        id = listener.setting.id
        try:
            sock = listening_socket(bind, listener.setting.options.socket_mode)
        except OSError as error:
            network.BIND_ERROR(self._span, listener_id=id, reason=str(error), **event_fields(bind))
            raise
        await self._listen(listener, bind, sock, inherited=False)

    async def _listen(self, listener: _Listener, bind: Bind, sock: socket.socket, *, inherited: bool) -> None:
        own = _needs_acceptor(listener.setting.options)
        server: asyncio.AbstractServer | Acceptor
        if own:
            server = Acceptor(sock, self._preliminaries(listener))
        else:
            create = self._loop.create_unix_server if bind.path else self._loop.create_server
            server = await create(lambda: self._session(listener), sock=sock)
        listener.open.append(_Open(bind, sock, server, inherited))
        network.LISTEN_START(self._span, listener_id=listener.setting.id, **event_fields(bound_as(sock)))

    def _session(self, listener: _Listener, proxied: ProxyHeader | None = None) -> RelaySMTP:
        return RelaySMTP(listener.setting, self._loop, proxied)

    def _preliminaries(self, listener: _Listener) -> Preliminaries:
        options, timeouts, id = listener.setting.options, listener.setting.timeouts, listener.setting.id

        def refused(peer: str, reason: str) -> None:
            network.PROXY_ERROR(self._span, listener_id=id, remote_ip=peer, reason=reason)

        def failed(peer: str, reason: str) -> None:
            tls.HANDSHAKE_ERROR(self._span, listener_id=id, reason=f"{peer}: {reason}")

        return Preliminaries(
            proxies=options.proxy_protocol,
            header_timeout=timeouts.proxy_header,
            context=(lambda: self.certificates.for_role(options.role)) if options.tls_implicit else None,
            handshake_timeout=timeouts.tls_handshake,
            limit=options.max_connections,
            connected=lambda header: self._session(listener, header),
            refused=refused,
            failed=failed,
        )

    async def _rebind(self, listener: _Listener) -> None:
        """Close sockets that are no longer wanted, open new ones; those that stay lose no connection.

        Inherited sockets always stay: systemd chose them, and we could perhaps not bind them again.
        """
        options = listener.setting.options
        inherited = any(each.inherited for each in listener.open)
        wanted = [each.bind for each in listener.open] if inherited else list(options.bind)
        self._close(listener, keep=wanted)
        changed = []
        for each in list(listener.open):
            if isinstance(each.server, Acceptor) != _needs_acceptor(options):
                changed.append((each.bind, each.sock.dup(), each.inherited))
                listener.open.remove(each)
                self._stop(each)
            elif isinstance(each.server, Acceptor):
                each.server.preliminaries = self._preliminaries(listener)
        for bind, sock, was_inherited in changed:
            sock.setblocking(False)
            await self._listen(listener, bind, sock, inherited=was_inherited)
        have = [each.bind for each in listener.open]
        for bind in wanted:
            if bind not in have:
                try:
                    await self._bind(listener, bind)
                except OSError:
                    continue  # stated as an event; `is_accepting` tells when nothing is left

    def _close(self, listener: _Listener, keep: Sequence[Bind]) -> None:
        for each in [each for each in listener.open if each.bind not in keep]:
            listener.open.remove(each)
            self._stop(each)
            if not each.inherited:
                remove_socket_file(each.bind)
            network.LISTEN_STOP(self._span, listener_id=listener.setting.id)

    def _stop(self, opened: _Open) -> None:
        opened.server.close()
        if isinstance(opened.server, Acceptor):
            self._closing.append(opened.server)


def _needs_acceptor(options: ListenerOptions) -> bool:
    return bool(options.proxy_protocol) or options.tls_implicit
