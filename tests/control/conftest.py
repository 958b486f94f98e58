"""A control socket on a port of the kernel's choice, over a real queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from relayd.control.app import ControlApp
from relayd.control.options import HttpOptions
from relayd.events.event import Event, EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Account:
    name: str
    roles: tuple[str, ...]


@dataclass
class Counts:
    messages: int = 3
    bytes: int = 300
    recipients: int = 4
    deferred: int = 1
    held: int = 0
    corrupt: int = 0


@dataclass
class Audit:
    difference: int = 0


class StandInQueue:
    async def counts(self) -> Counts:
        return Counts()

    async def audit(self) -> Audit:
        return Audit()


ACCOUNTS = {"admin": ("s3:cret", ("admin",)), "user": ("plain", ("user",))}


@dataclass
class Control:
    app: ControlApp
    events: list[Event]
    problems: list[str]
    path: Path
    metrics: Metrics
    port: int = 0
    answers: dict[str, object] = field(default_factory=dict)

    def named(self, id: str) -> list[Event]:
        return [event for event in self.events if event.kind.id == id]


async def authenticate(login: str, secret: str) -> Account | None:
    known = ACCOUNTS.get(login)
    if login == "broken":
        raise RuntimeError("the directory is down: password=hunter2")
    return Account(login, known[1]) if known is not None and known[0] == secret else None


@pytest.fixture
def options() -> HttpOptions:
    return HttpOptions()


@pytest.fixture
async def control(tmp_path: Path, options: HttpOptions) -> AsyncIterator[Control]:
    events: list[Event] = []
    metrics = Metrics()
    stream = EventStream(lambda: 1_790_000_000.0, [events.append, metrics])
    problems: list[str] = []
    flakes = Snowflakes()
    app = ControlApp(
        queue=StandInQueue(),
        metrics=metrics,
        ready=lambda: problems,
        authenticate=authenticate,
        span=Span(stream),
        ids=lambda: flakes.issue(stream.clock()),
        options=options,
    )
    path = tmp_path / "control.sock"
    await app.start([("127.0.0.1", 0)], path)
    yield Control(app, events, problems, path, metrics, app.addresses[0][1])
    await app.stop()


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
