"""A control socket on a port of the kernel's choice, over a real queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from relayd.config.configuration import Config, ConfigError, Problem
from relayd.config.load import load
from relayd.config.settings import Settings
from relayd.config.store import open_store
from relayd.control.api.maintenance import ReloadAnswer
from relayd.control.app import ControlApp, Parts
from relayd.control.options import HttpOptions
from relayd.directory.directory import TooBusy
from relayd.events.event import Event, EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.queue.backup import backup
from relayd.queue.filter import Filter
from relayd.queue.message import Message, Outcome
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.reading import Logs, Place
from tests.queue.conftest import Rig


@dataclass(frozen=True)
class Account:
    name: str
    roles: tuple[str, ...]


ACCOUNTS = {"admin": ("s3:cret", ("admin",)), "user": ("plain", ("user",))}


@dataclass
class LogPlace:
    """Where the log files are, for tests to set."""

    place: Place | None = None


@dataclass
class Control:
    app: ControlApp
    events: list[Event]
    problems: list[str]
    refusals: list[str]
    reloads: list[tuple[str, bool]]
    settings: Settings
    path: Path
    rig: Rig
    logs: LogPlace
    port: int = 0

    def named(self, id: str) -> list[Event]:
        return [event for event in self.events if event.kind.id == id]


async def authenticate(login: str, secret: str) -> Account | None:
    known = ACCOUNTS.get(login)
    if login == "busy":
        raise TooBusy
    if login == "broken":
        raise RuntimeError("the directory is down: password=hunter2")
    return Account(login, known[1]) if known is not None and known[0] == secret else None


@pytest.fixture
def options() -> HttpOptions:
    return HttpOptions()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """An open queue."""
    rig = Rig(tmp_path / "data")
    await rig.open()
    yield rig
    await rig.o.close()


@pytest.fixture
async def control(tmp_path: Path, options: HttpOptions, rig: Rig) -> AsyncIterator[Control]:
    events: list[Event] = []
    metrics = Metrics()
    stream = EventStream(rig.clock, [events.append, metrics])
    span = Span(stream)
    problems: list[str] = []
    flakes = Snowflakes()
    refusals: list[str] = []
    control_logs = LogPlace()

    reloads: list[tuple[str, bool]] = []

    async def reload(part: str, *, dry_run: bool) -> ReloadAnswer:
        reloads.append((part, dry_run))
        if refusals:
            return ReloadAnswer(warnings={}, errors={"server.loop": {"type": "parse", "error": refusals[0]}})
        return ReloadAnswer(warnings={"queue.min-free": {"type": "build", "error": "is low"}}, errors={})

    settings = await settings_of(tmp_path, span)

    async def untold(message: Message, outcomes: Sequence[Outcome]) -> None:
        return None

    async def bounce(filter: Filter, by: str, reason: str) -> int:
        return await rig.o.actions.bounce(filter, by, reason, untold)

    parts = Parts(
        queue=rig.o.queue,
        bodies=rig.o.queue,
        actions=rig.o.actions,
        bounce=bounce,
        metrics=metrics,
        ready=lambda: problems,
        backup=lambda directory: backup(rig.o, directory, stream.clock, span),
        reload=reload,
        settings=settings,
        authenticate=authenticate,
        logs=Logs(lambda: control_logs.place, lambda timeout: True),
        ids=lambda: flakes.issue(stream.clock()),
    )
    app = ControlApp(parts, span, options)
    path = tmp_path / "control.sock"
    await app.start([("127.0.0.1", 0)], path)
    yield Control(app, events, problems, refusals, reloads, settings, path, rig, control_logs, app.addresses[0][1])
    await app.stop()
    await settings.store.close()


FILE = """
server.hostname = "mx.example.org"
server.postmaster = "ops@example.org"
session.rcpt.relay-domains = ["example.org", "example.net"]
session.ehlo.reject-non-fqdn = true
[server.listener.smtp]
bind = ["127.0.0.1:2525"]
protocol = "smtp"
[server.listener.http]
bind = ["127.0.0.1:8080"]
protocol = "http"
[account.app]
secret = "of the file"
emails = ["app@example.org"]
"""


async def settings_of(directory: Path, span: Span) -> Settings:
    """Settings over the file FILE and an empty database."""
    (directory / "settings").mkdir()
    file = directory / "settings" / "relayd.toml"
    file.write_text(f'server.data-dir = "{directory}/settings"\n{FILE}', encoding="utf-8")
    config = load(file, environ={})
    return Settings(await open_store(directory / "settings", span), config, refuse_marked)


def refuse_marked(config: Config) -> None:
    """The daemon's part of the validation, played: one host name that it would not start with."""
    if config.flat().get("server.hostname") == "unbuildable.example.org":
        raise ConfigError(config.path, [Problem("server.hostname", "is refused", kind="build", stored=True)])


@pytest.fixture
async def tcp(control: Control) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without credentials."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{control.port}") as session:
        yield session


@pytest.fixture
async def admin(control: Control) -> AsyncIterator[aiohttp.ClientSession]:
    """The administrator on TCP."""
    headers = {"Authorization": aiohttp.encode_basic_auth("admin", "s3:cret")}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{control.port}", headers=headers) as session:
        yield session


@pytest.fixture
async def local(control: Control) -> AsyncIterator[aiohttp.ClientSession]:
    """The daemon's own uid on the Unix socket."""
    connector = aiohttp.UnixConnector(str(control.path))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session
