"""MTA-STS policies: fetched from a real HTTPS server, kept across restarts, and asked for as seldom as may be."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from relayd.delivery.sts_fetch import FetchFailed, PolicyFetcher
from relayd.delivery.sts_policies import FILE, PolicyStore, StsPolicies, open_policies
from relayd.delivery.tls import TlsContexts
from relayd.events.event import Event, EventStream, Span
from relayd.resolver.zone import TIMEOUT, Zone
from relayd.routing.mta_sts import MAX_POLICY, BadPolicy, Mode, Policy
from tests.routing.authority import made

TODAY = datetime.now(UTC)
ROOT = made(authority=True, moment=TODAY)
TEXT = "version: STSv1\nmode: enforce\nmx: mx.x.example\nmax_age: 86400\n"
POLICY = Policy(mode=Mode.ENFORCE, mx=("mx.x.example",), max_age=86400)
ZONE: dict[str, dict[str, Any]] = {"mta-sts.x.example": {"A": ["127.0.0.1"]}}


class Web:
    """The policy host of x.example.  answer: what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer: web.StreamResponse | None = None
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, *names: str, days: tuple[int, int] = (-10, 30)) -> None:
        """Listen with a certificate for `names`."""
        await self.stop()
        own = made(*names, by=ROOT, moment=TODAY, days=days)
        (self.folder / "web.pem").write_bytes(own.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "web.pem")
        app = web.Application()
        app.router.add_get("/.well-known/mta-sts.txt", self._policy)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _policy(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=TEXT) if self.answer is None else self.answer

    def fetcher(self, *, allow_private: bool = True, seconds: float = 20.0) -> PolicyFetcher:
        (self.folder / "ca.pem").write_bytes(ROOT.pem)
        contexts = TlsContexts([str(self.folder / "ca.pem")])
        return PolicyFetcher(
            Zone(ZONE),
            lambda: contexts.context(verified=True),
            allow_private=allow_private,
            port=self.port,
            seconds=seconds,
        )


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Web]:
    running = Web(tmp_path)
    await running.start("mta-sts.x.example")
    yield running
    await running.stop()


async def test_a_policy_is_fetched(host: Web) -> None:
    assert await host.fetcher().fetch("x.example") == POLICY


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web.Response(status=404, text=TEXT), "answered 404"),
        (web.Response(status=302, headers={"Location": "/elsewhere"}), "answered 302"),
        (web.Response(text=TEXT, content_type="text/html"), "text/html"),
    ],
)
async def test_answers_that_do_not_count(host: Web, answer: web.Response, reason: str) -> None:
    host.answer = answer
    with pytest.raises(FetchFailed, match=reason):
        await host.fetcher().fetch("x.example")


@pytest.mark.parametrize("text", ["nothing", TEXT + "x: y\n" * MAX_POLICY])
async def test_bodies_that_are_no_policy(host: Web, text: str) -> None:
    host.answer = web.Response(text=text)
    with pytest.raises(BadPolicy):
        await host.fetcher().fetch("x.example")


@pytest.mark.parametrize(("names", "days"), [(("x.example",), (-10, 30)), (("mta-sts.x.example",), (-20, -2))])
async def test_the_hosts_certificate_must_be_valid(host: Web, names: tuple[str, ...], days: tuple[int, int]) -> None:
    await host.start(*names, days=days)
    with pytest.raises(FetchFailed, match="certificate"):
        await host.fetcher().fetch("x.example")


async def test_private_addresses_are_not_asked(host: Web) -> None:
    with pytest.raises(FetchFailed, match="private address"):
        await host.fetcher(allow_private=False).fetch("x.example")


async def test_a_host_that_does_not_exist_or_says_nothing(host: Web) -> None:
    with pytest.raises(FetchFailed):
        await host.fetcher().fetch("y.example")
    with pytest.raises(FetchFailed, match="within"):
        await host.fetcher(seconds=0.0).fetch("x.example")


class Fetching:
    """Policies without the web; asked counts."""

    def __init__(self) -> None:
        self.answer: Policy | Exception = POLICY
        self.asked = 0

    async def fetch(self, domain: str) -> Policy:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """Policies with everything about them in a test's hands."""

    def __init__(self, store: PolicyStore | None = None) -> None:
        self.record: Any = ["v=STSv1; id=1"]
        self.fetching, self.clock = Fetching(), Clock()
        self.events: list[Event] = []
        self.span = Span(EventStream(self.clock, [self.events.append]))
        self.store = PolicyStore() if store is None else store

    async def policy(self) -> Policy | None:
        """As a fresh process would be asked."""
        zone = Zone({"_mta-sts.x.example": {"TXT": self.record}}) if self.record else Zone({})
        self.policies = StsPolicies(zone, self.fetching, self.store, self.clock)
        return await self.policies.policy("x.example", self.span)

    def ids(self) -> list[str]:
        found = [event.kind.id for event in self.events]
        self.events.clear()
        return found


async def test_a_policy_counts_while_it_is_fresh_whatever_becomes_of_the_record() -> None:
    house = House()
    assert await house.policy() == POLICY
    assert house.ids() == ["mta-sts.policy-fetch"]
    for record in ([], TIMEOUT, ["v=STSv1; id=1", "v=STSv1; id=2"], ["v=STSv1; id=1"]):
        house.record = record
        assert await house.policy() == POLICY
    assert house.fetching.asked == 1
    house.clock.now += 86400
    house.record = []
    assert await house.policy() is None
    assert "mta-sts.policy-not-found" in house.ids()


async def test_a_new_id_is_fetched_and_the_old_policy_counts_until_that_works() -> None:
    house = House()
    await house.policy()
    house.record = ["v=STSv1; id=2"]
    house.fetching.answer = FetchFailed("gone")
    assert await house.policy() == POLICY
    assert house.ids()[-1] == "mta-sts.policy-fetch-error"
    house.fetching.answer = BadPolicy("no mx")
    assert await house.policy() == POLICY
    assert house.ids()[-1] == "mta-sts.invalid-policy"
    house.fetching.answer = Policy(mode=Mode.NONE, mx=(), max_age=86400)
    assert await house.policy() == house.fetching.answer


async def test_a_domain_is_asked_once_a_minute_and_a_broken_one_every_five() -> None:
    house = House()
    house.fetching.answer = FetchFailed("gone")
    assert await house.policy() is None
    for seconds, asked in ((0, 1), (61, 1), (200, 1), (100, 2)):
        house.clock.now += seconds
        assert await house.policies.policy("x.example", house.span) is None
        assert house.fetching.asked == asked


async def test_a_domain_without_a_policy() -> None:
    house = House()
    house.record = ["v=spf1 -all"]
    assert await house.policy() is None
    house.record = []
    assert await house.policy() is None
    assert house.fetching.asked == 0


async def test_policies_survive_a_restart(tmp_path: Path) -> None:
    span, now = Span(EventStream(Clock())), Clock.now
    store = await open_policies(tmp_path, span, now)
    house = House(store)
    assert await house.policy() == POLICY
    await store.close()
    again = await open_policies(tmp_path, span, now + 1)
    house = House(again)
    house.record = []
    assert await house.policy() == POLICY
    assert house.fetching.asked == 0
    await again.close()
    late = await open_policies(tmp_path, span, now + 86400)
    assert len(late) == 0
    await late.close()
    assert (tmp_path / FILE).exists()
