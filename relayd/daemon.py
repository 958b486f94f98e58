"""The daemon's life: start, reload, stop.

Start: log, lock, database, queue, delivery, control socket, listeners; readiness is told last.  SIGTERM and SIGINT:
listeners drain, deliveries in flight finish and are settled, all else gives its leases back.  SIGHUP reloads: the new
configuration is built whole before any of it is put in force, and one that is wrong changes nothing.  A background
task that dies takes the daemon down with exit code 70 and the supervisor starts a clean one: no part runs on alone.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from relayd import __version__
from relayd.assembly.control_parts import DaemonSide, control_parts, watch
from relayd.assembly.control_socket import control_setting
from relayd.assembly.engine import Engine
from relayd.assembly.loaded import Loaded
from relayd.assembly.quarantine import QuarantineKeeper
from relayd.assembly.sending import SEAL
from relayd.assembly.telemetry import Views
from relayd.blobs.spool import BlobError
from relayd.config.configuration import Config, ConfigError, Problem
from relayd.config.listeners import check_certificates
from relayd.config.load import located
from relayd.config.places import control_socket
from relayd.config.settings import Settings, findings
from relayd.config.store import SETTINGS, open_store
from relayd.control.api.maintenance import ReloadAnswer
from relayd.control.api.settings import Insert, SettingsRefused, SettingsUnavailable
from relayd.control.app import ControlApp
from relayd.control.options import FallbackAdminOptions
from relayd.control.signing_in import SigningIn
from relayd.database.interface import DatabaseError, NewerSchema
from relayd.directory.schema import FILE as PRINCIPALS
from relayd.events import config as config_events
from relayd.events import server as events
from relayd.events import telemetry as telemetry_events
from relayd.events.event import EventStream, Span, Subscriber
from relayd.listener.plugins import load_plugins
from relayd.mail.snowflake import Snowflakes
from relayd.options import OptionError
from relayd.queue.backup import Backup, backup
from relayd.queue.lock import DirectoryInUse
from relayd.reception.rotation import Rotation
from relayd.reputation.bayes import FILE as MODELS
from relayd.reputation.suppression import FILE as SUPPRESSIONS
from relayd.resolver.exchange import BadServer
from relayd.routing.route import UnknownRoute
from relayd.supervision import Supervisor, inherited_sockets
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.render import rfc3339

EX_OK, EX_SOFTWARE, EX_OSERR, EX_TEMPFAIL, EX_CONFIG = 0, 70, 71, 75, 78

STALL = 0.5
"""Seconds by which a turn of the loop may be late before it is an event."""

LAST_REQUESTS = 1.0
"""Seconds at least that requests at work to the control socket have, however long all else took to stop."""

FIXED = ("server.data-dir", "server.loop", "server.node", "server.hostname")
"""Keys that take effect at the next start."""


class Daemon:
    """One relayd.  config: what to start with, the database's settings laid over it; a reload reads both again.

    console: one more view of the events (`relayd try` prints the path of each message).  clock: Unix time.
    """

    def __init__(
        self,
        config: Config,
        *,
        console: Subscriber | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._started_with = config
        self.stream = EventStream(clock, [console] if console is not None else [])
        self.span = Span(self.stream)
        self.supervisor = Supervisor()
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._exit = EX_OK
        self._reason = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()
        self._metrics = Metrics()
        self.engine: Engine
        self.control: ControlApp
        self.settings: Settings

    def stop(self, reason: str, code: int = EX_OK) -> None:
        """Begin to stop; the first reason counts, the worst code."""
        self._reason = self._reason or reason
        self._exit = max(self._exit, code)
        self._stopping.set()

    async def run(self) -> int:
        """Start, run until told to stop, stop; the exit code (sysexits)."""
        loaded = self._load_first()
        if isinstance(loaded, int):
            return loaded
        self.stream.on_subscriber_failure = self._subscriber_failed
        try:
            self._views = Views(loaded, self.span, self._metrics, asyncio.get_running_loop().call_soon_threadsafe)
        except OSError as error:
            return self._failed(str(error), EX_OSERR)
        try:
            return await self._run(loaded)
        finally:
            await asyncio.to_thread(self._views.close)

    def _load_first(self) -> Loaded | int:
        try:
            return _built(self.config)
        except ConfigError as error:
            return self._failed(str(error), EX_CONFIG)

    def _subscriber_failed(self, subscriber: Subscriber, error: Exception) -> None:
        telemetry_events.SUBSCRIBER_FAILED(self.span, id=type(subscriber).__name__, reason=repr(error))

    async def _run(self, loaded: Loaded) -> int:
        started = time.monotonic()
        snowflakes = Snowflakes(loaded.server.node)
        self.engine = engine = Engine(loaded, self.stream, snowflakes)
        try:
            await engine.open(lambda reason: self.stop(reason, EX_OSERR))
        except DirectoryInUse as error:
            return self._failed(str(error), EX_TEMPFAIL)
        except OptionError as error:  # a plug-in that cannot be loaded: known only now that it is
            await engine.close_stores()
            return self._failed(str(located(self.config, error)), EX_CONFIG)
        except NewerSchema as error:
            return self._failed(str(error), EX_CONFIG)
        except (DatabaseError, BlobError, OSError) as error:
            return self._failed(str(error), EX_OSERR)
        code = await self._open_settings(loaded)
        if code != EX_OK:
            await engine.close_stores()
            return code
        self._watch_signals()
        try:
            try:
                await self._start_faces(loaded)
            except (OSError, OptionError) as error:
                self._stopping.set()
                return self._failed(str(error), EX_OSERR)
            details = f"started in {time.monotonic() - started:.2f} s"
            events.STARTUP(
                self.span, version=__version__, hostname=loaded.hostname, path=str(loaded.data), details=details
            )
            await self._hidden()
            _settle_memory()
            self.supervisor.notify_ready("relaying")
            self.ready.set()
            await self._stopping.wait()
        finally:
            await self._shut_down(loaded.server.stop_timeout)
        return self._exit

    async def _open_settings(self, loaded: Loaded) -> int:
        """Open settings.db, which is ours alone now that the directory is locked; an exit code."""
        try:
            store = await open_store(loaded.data, self.span)
        except NewerSchema as error:
            return self._failed(str(error), EX_CONFIG)
        except (DatabaseError, OSError) as error:
            return self._failed(str(error), EX_OSERR)
        if store.values != self.config.stored:
            await store.close()
            return self._failed("the settings were changed while relayd started: start it again", EX_TEMPFAIL)
        self.settings = Settings(store, self.config, self._tried)
        return EX_OK

    def _tried(self, config: Config) -> Loaded:
        """What a start would make of `config`; plug-ins that are new are loaded and thrown away.  Blocks.

        Raises ConfigError.
        """
        loaded = _built(config)
        if loaded.listeners.plugins != self.engine.loaded.listeners.plugins:
            try:
                load_plugins(loaded.listeners.plugins.plugins)
            except OptionError as error:
                raise located(config, error) from error
        return loaded

    def _failed(self, reason: str, code: int) -> int:
        events.STARTUP_ERROR(self.span, reason=reason)
        _complain(reason)
        self._exit = code
        return code

    async def _start_faces(self, loaded: Loaded) -> None:
        """The background tasks, the control socket, the listeners.  Raises OSError, OptionError."""
        engine = self.engine
        for name, work in engine.tasks().items():
            self._own(name, work)
        self._own("loop watch", self._watch_loop())
        self._own("watchdog", self.supervisor.keep_alive())
        self._rotation = Rotation(
            engine.signing, lambda: engine.resolver, self._remember_key, self.stream.clock, self.span
        )
        self._own("key rotation", self._rotation.run())
        inherited = inherited_sockets()
        keeper = QuarantineKeeper(engine, engine.receiving.remembering.quarantine_notes, self.span)
        self._own("quarantine", keeper.run())
        self._signing_in = SigningIn(
            engine.receiving.directory,
            loaded.config.section(FallbackAdminOptions),
            engine.receiving.tokens,
            self.stream.clock,
        )
        watch(engine, self._metrics)
        parts = control_parts(
            engine,
            DaemonSide(
                config=lambda: self.config,
                settings=self.settings,
                reload=self.reload_part,
                backup=self._backup,
                signing_in=self._signing_in,
                views=self._views,
                metrics=self._metrics,
                span=self.span,
            ),
        )
        for name, work in self._views.tasks().items():
            self._own(name, work)
        setting = control_setting(loaded)
        self.control = ControlApp(parts, self.span, setting)
        passed = {id: inherited.pop(id) for id in setting.listeners if id in inherited}
        await self.control.start(control_socket(loaded.config), passed)
        await engine.receiving.listeners.start(inherited)

    def _own(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            events.TASK_FAILED(self.span, id=task.get_name(), reason=repr(error))
            self.stop(f"{task.get_name()} died: {error!r}", EX_SOFTWARE)

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._own("reload", self._hang_up()))

    async def _hang_up(self) -> None:
        self._views.log.reopen()
        await self.reload()

    async def reload_part(self, part: str, *, dry_run: bool) -> ReloadAnswer:
        """See control.api.maintenance.Reload.  There are no blocked addresses in the settings yet."""
        if dry_run or part not in ("certificate", "lookup", "server.blocked-ip"):
            return await self.reload(dry_run=dry_run)
        errors: dict[str, dict[str, str]] = {}
        if part == "certificate":
            problems = await asyncio.to_thread(lambda: list(check_certificates(self.config)))
            errors = findings([replace(each, kind="build") for each in problems if each.fatal], self.config)
            if not errors:
                self.engine.receiving.reload_certificates()
        elif part == "lookup":
            self.engine.receiving.reload_lists()
        return ReloadAnswer(warnings={}, errors=errors)

    async def reload(self, *, dry_run: bool = False) -> ReloadAnswer:
        """Read the configuration again, file and database, and put it in force; what was found.

        With an error, or when it is only to be looked at, nothing has changed.
        """
        async with self._reloading:
            if dry_run:
                return await self._reload(dry_run)
            self.supervisor.notify_reloading()
            try:
                return await self._reload(dry_run)
            finally:
                self.supervisor.notify_ready("relaying")

    async def _reload(self, dry_run: bool) -> ReloadAnswer:
        path = "" if self.config.path is None else str(self.config.path)
        try:
            config = await self.settings.load()
            loaded = await asyncio.to_thread(self._tried, config)
            if not dry_run:
                await self._put_in_force(config, loaded)
        except ConfigError as refused:
            if not dry_run:
                config_events.PARSE_ERROR(self.span, path=path, reason=str(refused))
            return ReloadAnswer(warnings={}, errors=findings(refused.problems, self.config))
        waiting = [
            Problem(key, "takes effect at the next start", fatal=False, kind="build", stored=key in config.stored)
            for key in self._started_with.changed_keys(config)
            if key in FIXED
        ]
        hidden = await self._hidden()
        if not dry_run:
            for each in waiting:
                config_events.RESTART_NEEDED(self.span, key=each.key)
            for warning in config.warnings:
                config_events.PARSE_WARNING(self.span, key=warning.key, reason=warning.text)
            config_events.RELOADED(self.span, path=path)
        return ReloadAnswer(warnings=findings([*config.warnings, *waiting, *hidden], config), errors={})

    async def _hidden(self) -> list[Problem]:
        """Accounts of the configuration in force that stand in the way of the database's; each is an event."""
        try:
            found = await self.engine.principals.hidden()
        except DatabaseError:  # stated by the database
            return []
        for name, text in found.items():
            config_events.PARSE_WARNING(self.span, key=f"account.{name}", reason=text)
        return [Problem(f"account.{name}", text, fatal=False, kind="build") for name, text in found.items()]

    async def _put_in_force(self, config: Config, loaded: Loaded) -> None:
        """Raises ConfigError for a plug-in that cannot be loaded: nothing has changed then."""
        try:
            await self.engine.reload(loaded)
        except OptionError as error:
            raise located(config, error) from error
        self._signing_in.reconfigure(config.section(FallbackAdminOptions))
        self._views.reload(loaded)
        await self.control.reload(control_setting(loaded))
        self._rotation.wake()
        self.config = self.settings.config = config

    async def _remember_key(self, id: str, at: float) -> None:
        """See reception.rotation.Remember."""
        values = [(f"signature.{id}.published", rfc3339(at))]
        try:
            await self.settings.change([Insert(values=values, assert_empty=False)])
        except (SettingsRefused, SettingsUnavailable) as error:
            raise OSError(str(error)) from error

    async def _backup(self, directory: Path) -> Backup:
        beside = {SETTINGS: self.settings.store.copy_to, PRINCIPALS: self.engine.principals.copy_to}
        beside[SEAL] = self.engine.sending.copy_seal
        suppressions = self.engine.delivering.suppressions
        if suppressions.is_open:
            beside[SUPPRESSIONS] = suppressions.copy_to
        if self.engine.receiving.scoring.bayes.is_open:
            beside[MODELS] = self.engine.receiving.scoring.bayes.copy_to
        return await backup(self.engine.opened, directory, self.stream.clock, self.span, beside=beside)

    async def _watch_loop(self) -> None:
        """State when the loop did not turn for a while: something blocked it."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(STALL)
            late = loop.time() - before - STALL
            if late > STALL:
                events.LOOP_STALLED(self.span, elapsed=late)

    async def _shut_down(self, timeout: float) -> None:
        started = time.monotonic()
        self.supervisor.notify_stopping()
        events.SHUTDOWN(self.span, reason=self._reason)
        until = time.monotonic() + timeout
        if hasattr(self, "control"):
            self.control.streams.end()
        await self.engine.drain(timeout)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "control"):
            await self.control.stop(max(LAST_REQUESTS, until - time.monotonic()))
            self._signing_in.close()
        await self.settings.store.close()  # before the directory is unlocked
        await self.engine.close()
        events.SHUTDOWN_COMPLETE(self.span, elapsed=time.monotonic() - started)


def _built(config: Config) -> Loaded:
    """What the parts would be given of `config`.  Raises ConfigError."""
    try:
        return Loaded(config)
    except (OptionError, UnknownRoute, BadServer) as error:
        raise located(config, error) from error


def _settle_memory() -> None:
    """What start-up made stays for good: the garbage collector need not walk over it again and again.

    A message makes a few hundred objects, nearly all freed by their reference counts; looking for cycles every 700 of
    them (Python's default) finds next to nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _complain(text: str) -> None:
    """To standard error: the log may not be there yet, or go elsewhere."""
    import sys

    sys.stderr.write(f"relayd: {text}\n")
