"""A control socket on a port of the kernel's choice, over a real queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from relayd.config.configuration import Config, ConfigError, Problem
from relayd.config.load import load
from relayd.config.settings import Settings
from relayd.config.store import open_store
from relayd.control.api.maintenance import ReloadAnswer
from relayd.control.api.sending import SendingSide
from relayd.control.api.telemetry import Telemetry
from relayd.control.app import ControlApp, Parts, Setting
from relayd.control.compat.directmail_operations import DirectMailOperations, Surroundings
from relayd.control.options import FallbackAdminOptions, HttpOptions
from relayd.control.signing_in import SigningIn
from relayd.directory.access_keys import AccessKeys
from relayd.directory.account import Account, Refusal
from relayd.directory.directory import Directory, TooBusy
from relayd.directory.entry import Entry
from relayd.directory.options import AccountOptions
from relayd.directory.principal import reserved_by
from relayd.directory.principals import Principals, open_principals
from relayd.directory.sending_addresses import Quotas, SendingAddress, SendingAddresses
from relayd.directory.tokens import Tokens
from relayd.events.event import Event, EventStream, Span
from relayd.listener.options import Bind, ListenerOptions
from relayd.mail.snowflake import Snowflakes
from relayd.queue.backup import backup
from relayd.queue.filter import Filter
from relayd.queue.message import Message, Outcome
from relayd.queue.usage import Ledger
from relayd.reception.options import SubmissionOptions
from relayd.reception.submission import Submissions
from relayd.reputation.options import SuppressionOptions
from relayd.reputation.suppression import SuppressionList
from relayd.resolver.zone import Zone
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router
from relayd.telemetry.figures import Figures
from relayd.telemetry.forgetting import Forgotten
from relayd.telemetry.live import Live
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.reading import Logs, Place
from relayd.telemetry.recording import Stores
from relayd.webhooks.webhooks import Webhooks
from tests.queue.conftest import Rig
from tests.rig.explaining import World

ACCOUNTS = {
    "user": AccountOptions(secret="plain"),
    "operator": AccountOptions(secret="plain", roles=("admin",), disabled_permissions=("unlimited-requests",)),
    "nobody": AccountOptions(secret="plain", roles=("admin",), disabled_permissions=("authenticate",)),
    "robot": AccountOptions(type_="apiKey", secret="plain", roles=("admin",)),
    "careful": AccountOptions(
        secret="plain", otp="otpauth://totp/relayd:careful?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    ),
}
"""Beside the fallback administrator, "admin" with the secret "s3:cret"."""


@dataclass
class LogPlace:
    """Where the log files are, for tests to set."""

    place: Place | None = None


async def at_once(seconds: float) -> None:
    """In place of waiting."""


class Accounts(Directory):
    """The directory of the tests; "busy" and "broken" are out of order."""

    async def authenticate(self, login: str, secret: str, site: str = "") -> Account | Refusal:
        if login == "busy":
            raise TooBusy
        if login == "broken":
            raise RuntimeError("the directory is down: password=hunter2")
        return await super().authenticate(login, secret, site)


@dataclass
class Kept:
    """What is stored of the events, for tests to set."""

    stores: Stores = field(default_factory=lambda: Stores(traces=None, history=None, points=None))
    forgotten: list[str] = field(default_factory=list)
    failure: Exception | None = None

    def forget(self, address: str) -> Forgotten:
        if self.failure is not None:
            raise self.failure
        self.forgotten.append(address)
        return Forgotten(traces=1, history=2, logs=3)


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
    parts: Parts
    accounts: Accounts
    logs: LogPlace
    kept: Kept
    port: int = 0

    @property
    def signing_in(self) -> SigningIn:
        return self.parts.signing_in

    def session(self, **headers: str) -> aiohttp.ClientSession:
        """A client on TCP with these headers."""
        return aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=headers)

    def named(self, id: str) -> list[Event]:
        return [event for event in self.events if event.kind.id == id]


@pytest.fixture
def options() -> HttpOptions:
    return HttpOptions()


@pytest.fixture
def setting(options: HttpOptions) -> Setting:
    listener = ListenerOptions(bind=(Bind(host="127.0.0.1"),), protocol="http")
    return Setting(listeners={"http": listener}, hostname="relay.test", http=options)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """What troubleshooting finds; no name is known to its DNS."""
    return World(tmp_path)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """An open queue."""
    rig = Rig(tmp_path / "data")
    await rig.open()
    yield rig
    await rig.o.close()


@pytest.fixture
async def control(tmp_path: Path, setting: Setting, rig: Rig, world: World) -> AsyncIterator[Control]:
    events: list[Event] = []
    metrics = Metrics()
    stream = EventStream(rig.clock, [events.append, metrics])
    span = Span(stream)
    problems: list[str] = []
    flakes = Snowflakes()
    refusals: list[str] = []
    control_logs = LogPlace()
    kept = Kept()

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

    principals = await open_principals(tmp_path, span)
    principals.reserved = reserved_by(ACCOUNTS)
    accounts = Accounts(ACCOUNTS, rig.clock, [principals], pause=at_once)
    principals.on_change.append(accounts.changed)
    fallback = FallbackAdminOptions(user="admin", secret="s3:cret")
    signing_in = SigningIn(accounts, fallback, Tokens(bytes(32), rig.clock), rig.clock)
    suppressions = SuppressionList(tmp_path, rig.clock, span)
    await suppressions.reconfigure(SuppressionOptions(enable=True))
    webhooks = Webhooks(tmp_path, stream, flakes, lambda: Zone({}))
    ledger = Ledger(rig.o.queue.database, rig.clock)
    submissions = Submissions(accounts, principals, ledger, rig.clock)
    parts = Parts(
        queue=rig.o.queue,
        bodies=rig.o.queue,
        actions=rig.o.actions,
        bounce=bounce,
        destinations=Router(OutboundOptions(), {"hub": RouteOptions(address="hub.example")}).under,
        metrics=metrics,
        ready=lambda: problems,
        backup=lambda directory: backup(rig.o, directory, stream.clock, span),
        reload=reload,
        settings=settings,
        signing_in=signing_in,
        principals=principals,
        quota=lambda name: submissions.quota(name, SubmissionOptions()),
        logs=Logs(lambda: control_logs.place, lambda timeout: True),
        ids=lambda: flakes.issue(stream.clock()),
        explaining=world.explaining(),
        telemetry=Telemetry(stores=lambda: kept.stores, figures=Figures(metrics), live=Live(span), forget=kept.forget),
        suppressions=suppressions,
        webhooks=webhooks,
        sending=await sending_of(principals, accounts, ledger, rig),
    )
    app = ControlApp(parts, span, setting)
    path = tmp_path / "control.sock"
    await app.start(path)
    port = app.addresses[0][1]
    yield Control(
        app, events, problems, refusals, reloads, settings, path, rig, parts, accounts, control_logs, kept, port
    )
    await app.stop()
    signing_in.close()
    accounts.close()
    await principals.close()
    await suppressions.close()
    await webhooks.close()
    await settings.store.close()


async def sending_of(principals: Principals, accounts: Directory, ledger: Ledger, rig: Rig) -> SendingSide:
    """Access keys and sending addresses; no ticket is mailed, and no domain but those of accounts is known."""

    async def known(domain: str) -> bool:
        return domain == "known.example"

    async def somebodys(address: str, owner: Entry) -> bool:
        return address == "taken@example.org"

    async def mailed(address: SendingAddress, ticket: str) -> None:
        return None

    async def account(name: str) -> Entry | None:
        return principals.reserved.entries.get(name) or await principals.get(name)

    addresses = SendingAddresses(principals, rig.clock)
    addresses.account_of = accounts.get
    await addresses.open()
    around = Surroundings(
        account=accounts.get,
        spent=ledger.spent,
        is_known=known,
        is_somebodys=somebodys,
        send_ticket=mailed,
        quotas=lambda: Quotas(addresses=3),
    )
    return SendingSide(
        keys=AccessKeys(principals, bytes(32), rig.clock),
        addresses=addresses,
        operations=DirectMailOperations(addresses, around),
        account=account,
        spent=ledger.spent,
    )


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
