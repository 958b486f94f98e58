"""All listeners: their sockets, their sessions, the sweep over deadlines, reload and drain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from relayd.events import network, tls
from relayd.events.event import EventStream, Span
from relayd.listener.acceptor import ProxyAcceptor, bound_as, listening_socket, remove_socket_file
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
    server: asyncio.Server | ProxyAcceptor
    inherited: bool
    proxied: bool


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
        self._closing: list[ProxyAcceptor] = []

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
            where = bind.path or bind.host
            network.BIND_ERROR(self._span, listener_id=id, local_ip=where, local_port=bind.port, reason=str(error))
            raise
        await self._listen(listener, bind, sock, inherited=False)

    async def _listen(self, listener: _Listener, bind: Bind, sock: socket.socket, *, inherited: bool) -> None:
        options = listener.setting.options
        server: asyncio.Server | ProxyAcceptor
        if options.proxy_protocol:
            server = ProxyAcceptor(
                sock,
                options.proxy_protocol,
                listener.setting.timeouts.proxy_header,
                lambda header: self._session(listener, header),
                lambda peer, reason: self._proxy_refused(listener, peer, reason),
                options.max_connections,
            )
        else:
            create = self._loop.create_unix_server if bind.path else self._loop.create_server
            server = await create(lambda: self._session(listener), sock=sock)
        listener.open.append(_Open(bind, sock, server, inherited, bool(options.proxy_protocol)))
        at = bound_as(sock)
        network.LISTEN_START(
            self._span, listener_id=listener.setting.id, local_ip=at.host, local_port=at.port, path=at.path
        )

    def _session(self, listener: _Listener, proxied: ProxyHeader | None = None) -> RelaySMTP:
        return RelaySMTP(listener.setting, self._loop, proxied)

    def _proxy_refused(self, listener: _Listener, peer: str, reason: str) -> None:
        network.PROXY_ERROR(self._span, listener_id=listener.setting.id, remote_ip=peer, reason=reason)

    async def _rebind(self, listener: _Listener) -> None:
        """Close sockets that are no longer wanted, open new ones; those that stay are not touched."""
        options = listener.setting.options
        proxied = bool(options.proxy_protocol)
        if any(each.inherited for each in listener.open) and all(each.proxied == proxied for each in listener.open):
            return
        self._close(listener, keep=options.bind)
        have = [each.bind for each in listener.open]
        for bind in options.bind:
            if bind not in have:
                try:
                    await self._bind(listener, bind)
                except OSError:
                    continue  # stated as an event; `is_accepting` tells when nothing is left

    def _close(self, listener: _Listener, keep: Sequence[Bind]) -> None:
        stay = []
        proxied = bool(listener.setting.options.proxy_protocol)
        for each in listener.open:
            # the networks of an acceptor are its own, so it is opened anew whenever it is one
            if each.bind in keep and not each.proxied and not proxied:
                stay.append(each)
                continue
            each.server.close()
            if isinstance(each.server, ProxyAcceptor):
                self._closing.append(each.server)
            if not each.inherited:
                remove_socket_file(each.bind)
            network.LISTEN_STOP(self._span, listener_id=listener.setting.id)
        listener.open = stay
