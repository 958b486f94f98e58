"""AUTH to smarthosts: each mechanism as its RFC has it, and tokens from a real server on loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from relayd.delivery import oauth
from relayd.delivery.oauth import Tokens
from relayd.delivery.options import ReuseOptions
from relayd.delivery.sign_in import TokenFailed
from relayd.delivery.tls import TlsContexts
from relayd.events.event import Event, EventStream, Span
from relayd.queue.message import Outcome, Result
from relayd.routing.next_hop import NextHop, TlsMode, TokenGrant
from tests.delivery.setting import Setting, job, smarthost
from tests.rig.peer import ALL, CHALLENGE, Peer, Script, running

START = 1_800_000_000.0


@dataclass
class Authority:
    file: str
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return Authority(str(file), context)


@asynccontextmanager
async def wanting(authority: Authority, offer: str, **script: Any) -> AsyncIterator[Peer]:
    async with running(Script(offers=(*ALL, f"AUTH {offer}"), **script), tls=authority.server) as peer:
        yield peer


async def deliver(setting: Setting, hop: NextHop) -> Outcome:
    [outcome] = await setting.run(job(), hop)
    await setting.pool.close()
    return outcome


def signs_in(peer: Peer, **changes: Any) -> NextHop:
    return smarthost(peer.port, tls=TlsMode.VERIFIED, username="relay", **changes)


def sign_ins(peer: Peer) -> list[str]:
    """The AUTH commands of all sessions, each with the line that came behind it."""
    return [line for session in peer.commands for line in session if line.startswith("AUTH")]


async def test_cram_md5_shows_no_password(authority: Authority) -> None:
    async with wanting(authority, "CRAM-MD5") as peer:
        setting = Setting(tls=TlsContexts([authority.file]))
        assert (await deliver(setting, signs_in(peer, password="s3cret"))).result is Result.DELIVERED
        lines = peer.commands[0]
        answer = base64.b64decode(lines[lines.index("AUTH CRAM-MD5") + 1]).decode()
        digest = hmac.new(b"s3cret", base64.b64decode(CHALLENGE), hashlib.md5).hexdigest()
        assert answer == f"relay {digest}"


async def test_the_route_says_which_mechanisms_may_be_used(authority: Authority) -> None:
    async with wanting(authority, "PLAIN LOGIN CRAM-MD5") as peer:
        setting = Setting(tls=TlsContexts([authority.file]))
        hop = signs_in(peer, password="s3cret", mechanisms=("CRAM-MD5", "LOGIN"))
        assert (await deliver(setting, hop)).result is Result.DELIVERED
        assert sign_ins(peer) == ["AUTH CRAM-MD5"]
    async with wanting(authority, "PLAIN") as peer:
        setting = Setting(tls=TlsContexts([authority.file]))
        outcome = await deliver(setting, signs_in(peer, password="s3cret", mechanisms=("CRAM-MD5",)))
        assert (outcome.result, outcome.reply.text) == (Result.DEFERRED, "AUTH CRAM-MD5 is not offered")
        assert not sign_ins(peer)


# Tokens


@dataclass
class TokenServer:
    """The token endpoint.  answers: one after the other, the last repeats; forms: what was posted."""

    answers: list[Any] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.forms.append({key: str(value) for key, value in (await request.post()).items()})
        answer = self.answers[min(len(self.forms), len(self.answers)) - 1]
        if callable(answer):
            made: web.StreamResponse = await answer(request)
            return made
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json")


@asynccontextmanager
async def token_server(*answers: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[TokenServer]:
    server = TokenServer(list(answers))
    app = web.Application()
    app.router.add_post("/token", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/token"
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """Tokens of one directory."""

    tokens: Tokens
    clock: Clock
    events: list[Event]
    span: Span

    async def ask(self, server: TokenServer, *, instead_of: str = "", **grant: Any) -> str:
        hop = NextHop(key="route:hub", host="h", route="hub", username="relay", grant=_grant(server, **grant))
        return await self.tokens.token(hop, self.span, instead_of=instead_of)


def _grant(server: TokenServer, **changes: Any) -> TokenGrant:
    return TokenGrant(**{"url": server.url, "client_id": "relayd", "client_secret": "cl13nt"} | changes)


@pytest.fixture
def bench(tmp_path: Path, authority: Authority) -> Bench:
    clock, events = Clock(), []  # type: tuple[Clock, list[Event]]
    tokens = Tokens(tmp_path, TlsContexts([authority.file]).verified, clock)
    return Bench(tokens, clock, events, Span(EventStream(clock, [events.append])))


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_token_signs_in(mechanism: str, authority: Authority, bench: Bench) -> None:
    async with wanting(authority, f"PLAIN {mechanism}") as peer, token_server({"access_token": "t1"}) as server:
        setting = Setting(tls=TlsContexts([authority.file]), tokens=bench.tokens)
        hop = signs_in(peer, grant=_grant(server, scopes=("mail.send", "offline")))
        assert (await deliver(setting, hop)).result is Result.DELIVERED
        _, name, initial = sign_ins(peer)[0].split(" ")
        expected = {
            "XOAUTH2": b"user=relay\x01auth=Bearer t1\x01\x01",
            "OAUTHBEARER": b"n,a=relay,\x01auth=Bearer t1\x01\x01",
        }
        assert (name, base64.b64decode(initial)) == (mechanism, expected[mechanism])
        assert server.forms == [
            {
                "client_id": "relayd",
                "client_secret": "cl13nt",
                "scope": "mail.send offline",
                "grant_type": "client_credentials",
            }
        ]
        told = repr([event.fields for event in setting.events])
        assert "t1" not in told
        assert "cl13nt" not in told + repr(hop) + repr(hop.grant)


def takes(good: str) -> Callable[[str], str]:
    """AUTH replies: 235 for the token `good`, else a challenge that tells why."""

    def reply(line: str) -> str:
        if f"Bearer {good}\x01".encode() in base64.b64decode(line.split(" ")[2]):
            return "235 2.7.0 Welcome"
        return "334 eyJzdGF0dXMiOiI0MDEifQ=="

    return reply


@pytest.mark.parametrize(("mechanism", "answer"), [("XOAUTH2", b""), ("OAUTHBEARER", b"\x01")])
async def test_a_token_that_is_refused_is_got_anew_once(
    mechanism: str, answer: bytes, authority: Authority, bench: Bench
) -> None:
    async with (
        wanting(authority, mechanism, auth=takes("t2")) as peer,
        token_server({"access_token": "t1", "expires_in": 3600}, {"access_token": "t2", "expires_in": 3600}) as server,
    ):
        setting = Setting(tls=TlsContexts([authority.file]), tokens=bench.tokens)
        hop = signs_in(peer, grant=_grant(server))
        assert (await deliver(setting, hop)).result is Result.DELIVERED
        lines = peer.commands[0]
        first = next(place for place, line in enumerate(lines) if line.startswith("AUTH"))
        assert base64.b64decode(lines[first + 1]) == answer  # the challenge is answered before the next try
        assert len(sign_ins(peer)) == 2
        assert peer.connections == 1


async def test_a_sign_in_that_is_refused_all_the_same_is_an_alarm(authority: Authority, bench: Bench) -> None:
    async with (
        wanting(authority, "XOAUTH2", auth=takes("none of them")) as peer,
        token_server({"access_token": "t1"}, {"access_token": "t2"}) as server,
    ):
        setting = Setting(tls=TlsContexts([authority.file]), tokens=bench.tokens, reuse=ReuseOptions(idle=0))
        outcome = await deliver(setting, signs_in(peer, grant=_grant(server)))
        assert (outcome.result, outcome.reply.code) == (Result.DEFERRED, 535)
        assert len(sign_ins(peer)) == 2
        assert len(setting.stated("delivery.route-alarm")) == 1


async def test_without_a_token_the_mail_is_deferred(authority: Authority, bench: Bench) -> None:
    async with (
        wanting(authority, "XOAUTH2") as peer,
        token_server((400, {"error": "invalid_client", "error_description": "cl13nt is wrong"})) as server,
    ):
        setting = Setting(tls=TlsContexts([authority.file]), tokens=bench.tokens)
        for _ in range(3):
            outcome = await deliver(setting, signs_in(peer, grant=_grant(server)))
            assert outcome.result is Result.DEFERRED
            assert outcome.reply.text == "no token: the server answered 400 (invalid_client)"
        assert len(server.forms) == 1  # not asked with every message
        assert not sign_ins(peer)
        assert len(setting.stated("delivery.token-failed")) == 1


async def test_a_token_is_used_until_it_expires(bench: Bench) -> None:
    answers = [{"access_token": f"t{n}", "expires_in": 600} for n in (1, 2, 3)]
    async with token_server(*answers) as server:
        assert await bench.ask(server) == "t1"
        bench.clock.now += 500
        assert await bench.ask(server) == "t1"
        bench.clock.now += 50
        assert await bench.ask(server) == "t2"
        assert await bench.ask(server, instead_of="t1") == "t2"  # another connection was quicker
        assert await bench.ask(server, instead_of="t2") == "t3"


async def test_connections_at_once_ask_once(bench: Bench) -> None:
    async with token_server({"access_token": "t1"}, {"access_token": "t2"}) as server:
        assert await asyncio.gather(*(bench.ask(server) for _ in range(10))) == ["t1"] * 10
        assert len(server.forms) == 1


async def test_a_refresh_token_that_is_replaced_is_kept(bench: Bench, tmp_path: Path, authority: Authority) -> None:
    answers = [{"access_token": f"t{n}", "refresh_token": f"r{n}", "expires_in": 100} for n in range(2, 9)]
    async with token_server(*answers) as server:
        await bench.ask(server, refresh_token="r1")
        kept = tmp_path / oauth.FILE
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert "r1" not in kept.read_text()  # the first is in the configuration alone
        again = Tokens(tmp_path, TlsContexts([authority.file]).verified, bench.clock)  # after a restart
        hop = NextHop(key="route:hub", host="h", route="hub", grant=_grant(server, refresh_token="r1"))
        await again.token(hop, bench.span)
        other = NextHop(key="route:hub", host="h", route="hub", grant=_grant(server, refresh_token="n1"))
        await again.token(other, bench.span)
    assert [form["refresh_token"] for form in server.forms] == ["r1", "r2", "n1"]
    assert {form["grant_type"] for form in server.forms} == {"refresh_token"}


async def test_a_refresh_token_that_cannot_be_written_is_kept_in_memory_and_told(bench: Bench, tmp_path: Path) -> None:
    answers = [{"access_token": f"t{n}", "refresh_token": f"r{n}", "expires_in": 600} for n in (2, 3, 4)]
    (tmp_path / f"{oauth.FILE}.new").mkdir()
    async with token_server(*answers) as server:
        assert await bench.ask(server, refresh_token="r1") == "t2"
        [told] = [event for event in bench.events if event.kind.id == "delivery.token-failed"]
        assert "the refresh token could not be kept" in told.fields["reason"]
        (tmp_path / f"{oauth.FILE}.new").rmdir()
        assert await bench.ask(server, refresh_token="r1", instead_of="t2") == "t3"
        assert json.loads((tmp_path / oauth.FILE).read_text())["route:hub"]["token"] == "r3"
    assert [form["refresh_token"] for form in server.forms] == ["r1", "r2"]


async def test_routes_that_renew_at_once_keep_each_their_own(bench: Bench, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        first = (await request.post())["refresh_token"]
        assert isinstance(first, str)
        return web.json_response({"access_token": "t", "refresh_token": f"{first}-later"})

    async with token_server(answer) as server:
        hops = [
            NextHop(key=f"route:{n}", host="h", route=f"{n}", grant=_grant(server, refresh_token=f"r{n}"))
            for n in range(8)
        ]
        await asyncio.gather(*(bench.tokens.token(hop, bench.span) for hop in hops))
    kept = json.loads((tmp_path / oauth.FILE).read_text())
    assert {route: each["token"] for route, each in kept.items()} == {f"route:{n}": f"r{n}-later" for n in range(8)}


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(100):
        await answer.write(b"x" * 4096)
    return answer


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({}, "has no access_token"),
        ("[]", "has no access_token"),
        ("{", "has no access_token"),
        ("[" * 50000, "has no access_token"),
        ({"access_token": 7}, "has no access_token"),
        ({"access_token": "a\r\nMAIL FROM:<>"}, "has no access_token"),
        ({"access_token": "a" * 9000}, "has no access_token"),
        ((500, "oops"), "answered 500"),
        ((302, {}), "answered 302"),
        ((400, {"error": "bad\r\nthing"}), "answered 400"),
        (endless, "longer than 65536 octets"),
        (silent, "no token within 0.3 s"),
    ],
)
async def test_answers_that_are_none(answer: Any, text: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "SECONDS", 0.3)
    async with token_server(answer) as server:
        with pytest.raises(TokenFailed, match=text) as failure:
            await bench.ask(server)
        assert str(failure.value).isprintable()


@pytest.mark.parametrize("life", ["600", 600, 600.5, -5, "soon", None, 1e300, True])
async def test_lifetimes_of_all_kinds(life: object, bench: Bench) -> None:
    async with token_server({"access_token": "t1", "expires_in": life}) as server:
        assert await bench.ask(server) == "t1"


async def test_a_server_over_tls_must_prove_its_name(bench: Bench, authority: Authority, tmp_path: Path) -> None:
    async with token_server({"access_token": "t1"}, tls=authority.server) as server:
        assert await bench.ask(server) == "t1"
        stranger = Tokens(tmp_path, TlsContexts().verified, bench.clock)
        hop = NextHop(key="route:hub", host="h", route="hub", grant=_grant(server))
        with pytest.raises(TokenFailed, match="no token: ClientConnectorCertificateError"):
            await stranger.token(hop, bench.span)
        assert len(server.forms) == 1
