"""The application: what it is made of, where it listens, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from relayd.control.access import Authenticate, Gate
from relayd.control.api import later
from relayd.control.api.blobs import BlobOperations, Bodies
from relayd.control.api.description import Description
from relayd.control.api.health import Health, Ready
from relayd.control.api.logs import LogFilesReader, LogOperations
from relayd.control.api.maintenance import Maintenance, Reload, WriteBackup
from relayd.control.api.queue import Bounce, QueueActions, QueueOfMessages, QueueOperations, Steering
from relayd.control.api.settings import OwnerOfSettings, SettingsOperations
from relayd.control.background import Background
from relayd.control.options import HttpOptions
from relayd.control.requests import guard, trace
from relayd.control.routes import Route, add
from relayd.control.sweep import Sweep
from relayd.events import http, network, server
from relayd.events.event import Span
from relayd.telemetry.metrics import Metrics

Bind = socket.socket | tuple[str, int] | Path
"""A bound socket (inherited), a host and port (0: the kernel chooses), or the path of a Unix socket."""

_BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the control socket shows and steers; the daemon hands it in.

    queue, actions, bounce: see `Steering`.  bodies: the messages' octets.  logs: the log files.  metrics: of the
    daemon.  ready: what keeps mail from being taken.  backup, reload: carried out by the daemon.  settings: their
    owner.  authenticate: checks a login.  ids: issues request ids (span ids).
    """

    queue: QueueOfMessages
    bodies: Bodies
    actions: QueueActions
    bounce: Bounce
    metrics: Metrics
    ready: Ready
    backup: WriteBackup
    reload: Reload
    settings: OwnerOfSettings
    authenticate: Authenticate
    logs: LogFilesReader
    ids: Callable[[], int]


class ControlApp:
    """The control socket of one daemon.  span: the daemon's."""

    def __init__(self, parts: Parts, span: Span, options: HttpOptions | None = None) -> None:
        self._options = options = options or HttpOptions()
        self._span = span
        self._sweep = Sweep(self._options, time.monotonic)
        self._app = web.Application(
            middlewares=[
                self._sweep.middleware(),
                trace(span, parts.ids),
                guard(Gate(parts.authenticate), self._options.body_timeout),
            ],
            client_max_size=self._options.max_body,
        )
        self._background = Background()
        steering = Steering(queue=parts.queue, actions=parts.actions, bounce=parts.bounce)
        clock = span.stream.clock
        Health(parts.queue, parts.metrics, parts.ready, clock).add_to(self._app)
        description = Description(lambda: self.routes)
        description.add_to(self._app)
        self.routes: list[Route] = [
            *QueueOperations(steering, self._background, clock).routes(),
            *Maintenance(parts.backup, parts.reload).routes(),
            *SettingsOperations(parts.settings).routes(),
            *BlobOperations(parts.bodies).routes(),
            *LogOperations(parts.logs).routes(),
            *later.routes(),
            *description.routes(),
        ]
        add(self._app, self.routes)
        add(self._app, later.fences())
        self._runner: web.AppRunner | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._sockets: list[socket.socket] = []
        self._own_paths: list[tuple[Path, int]] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Hosts and ports of the TCP sockets."""
        return [each.getsockname()[:2] for each in self._sockets if each.family != socket.AF_UNIX]

    async def start(self, binds: Sequence[Bind], unix_path: Path | None = None) -> None:
        """Listen on `binds` and on the Unix socket `unix_path`.  Raises OSError, with nothing left open."""
        if os.environ.get("AIOHTTP_NO_EXTENSIONS"):
            raise OSError("AIOHTTP_NO_EXTENSIONS is set: its parser in Python is not safe to serve with")
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=_logger(self._span),
            handle_signals=False,
            keepalive_timeout=self._options.idle_timeout,
            shutdown_timeout=5.0,
        )
        await self._runner.setup()
        try:
            for bind in [*binds, *([unix_path] if unix_path is not None else [])]:
                await self._listen(bind)
        except OSError:
            await self.stop()
            raise
        if self._runner.server is not None:
            self._sweeping = asyncio.create_task(self._sweep.forever(self._runner.server), name="control-sweep")
            self._sweeping.add_done_callback(self._sweep_ended)

    async def stop(self) -> None:
        """Stop listening, let requests at work finish for a few seconds, close everything."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        await self._background.close()
        for each in self._sockets:
            each.close()
        self._sockets.clear()
        for path, inode in self._own_paths:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:  # not one that somebody else put there since
                    path.unlink()
        self._own_paths.clear()

    async def _listen(self, bind: Bind) -> None:
        if isinstance(bind, Path):
            opened = _unix_socket(bind)
            self._own_paths.append((bind, bind.stat().st_ino))
            network.LISTEN_START(self._span, listener_id="http", path=str(bind))
        else:
            opened = bind if isinstance(bind, socket.socket) else _tcp_socket(*bind)
            network.LISTEN_START(self._span, listener_id="http", **_where(opened))
        self._sockets.append(opened)
        assert self._runner is not None
        await web.SockSite(self._runner, opened, backlog=_BACKLOG).start()

    def _sweep_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            server.TASK_FAILED(self._span, id="control-sweep", reason=repr(task.exception()))


def _where(opened: socket.socket) -> dict[str, object]:
    name = opened.getsockname()
    if isinstance(name, tuple):
        return {"local_ip": name[0], "local_port": name[1]}
    return {"path": str(name)}


def _tcp_socket(host: str, port: int) -> socket.socket:
    """A bound TCP socket; raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


def _unix_socket(path: Path) -> socket.socket:
    """A Unix socket that the daemon's own user and group may connect to; raises OSError.

    A socket left by a daemon that died is replaced: the lock of the data directory says that no other runs.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(path))
        path.chmod(0o660)  # before listen: nobody gets in while the mode is still the umask's
    except OSError:
        opened.close()
        raise
    return opened


class _Stated(logging.Handler):
    """aiohttp's own complaints (requests that are no HTTP) as events."""

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
