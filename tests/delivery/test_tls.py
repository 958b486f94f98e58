"""TLS and AUTH towards the next hop."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from relayd.delivery.options import TimeoutOptions
from relayd.delivery.tls import TlsContexts
from relayd.queue.message import Outcome, Result
from relayd.routing.next_hop import NextHop, TlsMode
from tests.delivery.setting import Setting, direct, job, smarthost
from tests.rig.peer import ALL, Peer, Script, running

ZONE: dict[str, dict[str, Any]] = {"x.example": {"MX": [(10, "mx.example")]}, "mx.example": {"A": ["127.0.0.1"]}}


@dataclass
class Authority:
    file: str
    server: ssl.SSLContext
    wrong_name: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = Path(tmp_path_factory.mktemp("ca")) / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    contexts = []
    for names in (("mx.example", "127.0.0.1"), ("other.example",)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(context)
        contexts.append(context)
    return Authority(str(file), *contexts)


async def run(setting: Setting, peer: Peer, hop: NextHop) -> Outcome:
    [outcome] = await setting.run(job(), hop)
    await setting.pool.close()
    return outcome


def trusting(authority: Authority) -> Setting:
    return Setting(zone=ZONE, tls=TlsContexts([authority.file]))


async def test_starttls_is_used_where_it_is_offered(authority: Authority) -> None:
    setting = Setting(zone=ZONE)
    async with running(tls=authority.server) as peer:
        outcome = await run(setting, peer, direct(peer.port, tls=TlsMode.OPPORTUNISTIC))
        assert outcome.result is Result.DELIVERED
        assert peer.taken[0].tls
        assert peer.verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]
        [started] = setting.stated("delivery.start-tls")
        assert started.fields["version"].startswith("TLSv1.")


async def test_plain_text_where_it_is_not_offered() -> None:
    setting = Setting(zone=ZONE)
    async with running() as peer:
        outcome = await run(setting, peer, direct(peer.port, tls=TlsMode.OPPORTUNISTIC))
        assert outcome.result is Result.DELIVERED
        assert not setting.stated("delivery.downgraded")


@pytest.mark.parametrize(
    "script", [Script(broken_tls=True), Script(starttls="454 4.7.0 Not now"), Script(starttls="DROP")]
)
async def test_broken_tls_is_followed_by_plain_text_on_a_new_connection(script: Script, authority: Authority) -> None:
    setting = Setting(zone=ZONE)
    async with running(script, tls=authority.server) as peer:
        outcome = await run(setting, peer, direct(peer.port, tls=TlsMode.OPPORTUNISTIC))
        assert outcome.result is Result.DELIVERED
        assert peer.connections == 2
        assert not peer.taken[0].tls
        assert len(setting.stated("delivery.start-tls-error")) == 1
        assert len(setting.stated("delivery.downgraded")) == 1


async def test_a_handshake_that_hangs_is_followed_by_plain_text(authority: Authority) -> None:
    setting = Setting(zone=ZONE, timeouts=TimeoutOptions(tls=0.1))
    async with running(Script(starttls="SILENT"), tls=authority.server) as peer:
        outcome = await run(setting, peer, direct(peer.port, tls=TlsMode.OPPORTUNISTIC))
        assert outcome.result is Result.DELIVERED
        assert peer.connections == 2


@pytest.mark.parametrize("mode", [TlsMode.REQUIRED, TlsMode.VERIFIED])
async def test_demanded_tls_never_falls_back(mode: TlsMode, authority: Authority) -> None:
    for script, tls in ((Script(broken_tls=True), authority.server), (Script(), None)):
        setting = trusting(authority)
        async with running(script, tls=tls) as peer:
            outcome = await run(setting, peer, direct(peer.port, tls=mode))
            assert outcome.result is Result.DEFERRED
            assert outcome.status.startswith("TLS error from 'mx.example': ")
            assert outcome.reply.enhanced == "4.7.5"
            assert not peer.taken


async def test_required_tls_takes_any_certificate(authority: Authority) -> None:
    async with running(tls=authority.wrong_name) as peer:
        outcome = await run(Setting(zone=ZONE), peer, direct(peer.port, tls=TlsMode.REQUIRED))
        assert outcome.result is Result.DELIVERED
        assert peer.taken[0].tls


async def test_verified_tls_checks_authority_and_name(authority: Authority) -> None:
    for setting, context, result in (
        (trusting(authority), authority.server, Result.DELIVERED),
        (trusting(authority), authority.wrong_name, Result.DEFERRED),
        (Setting(zone=ZONE), authority.server, Result.DEFERRED),
    ):
        async with running(tls=context) as peer:
            outcome = await run(setting, peer, direct(peer.port, tls=TlsMode.VERIFIED))
            assert outcome.result is result
            if result is Result.DEFERRED:
                assert "certificate not valid" in outcome.status


async def test_authorities_of_a_route(authority: Authority) -> None:
    setting = Setting(tls=TlsContexts(route_ca_files={"hub": [authority.file]}))
    async with running(tls=authority.server) as peer:
        assert (await run(setting, peer, smarthost(peer.port, tls=TlsMode.VERIFIED))).result is Result.DELIVERED


async def test_authorities_that_cannot_be_read_defer(authority: Authority) -> None:
    setting = Setting(tls=TlsContexts(["/nowhere/ca.pem"]))
    async with running(tls=authority.server) as peer:
        assert (await run(setting, peer, smarthost(peer.port, tls=TlsMode.VERIFIED))).result is Result.DEFERRED


async def test_implicit_tls(authority: Authority) -> None:
    setting = trusting(authority)
    async with running(tls=authority.server, implicit=True) as peer:
        hop = smarthost(peer.port, tls=TlsMode.VERIFIED, implicit_tls=True)
        assert (await run(setting, peer, hop)).result is Result.DELIVERED
        assert peer.taken[0].tls
        assert "STARTTLS" not in peer.verbs


async def test_implicit_tls_towards_a_plain_port(authority: Authority) -> None:
    setting = trusting(authority)
    async with running() as peer:
        outcome = await run(setting, peer, smarthost(peer.port, tls=TlsMode.REQUIRED, implicit_tls=True))
        assert outcome.result is Result.DEFERRED
        assert outcome.status.startswith("TLS error from ")
        assert not peer.taken


CREDENTIALS: dict[str, Any] = {"username": "relay", "password": "s3cret"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_auth_over_verified_tls(mechanism: str, authority: Authority) -> None:
    setting = trusting(authority)
    async with running(Script(offers=(*ALL, f"AUTH {mechanism} X-ODD")), tls=authority.server) as peer:
        hop = smarthost(peer.port, tls=TlsMode.OPPORTUNISTIC, **CREDENTIALS)
        assert (await run(setting, peer, hop)).result is Result.DELIVERED
        lines = peer.commands[0]
        auth = next(number for number, line in enumerate(lines) if line.startswith("AUTH"))
        if mechanism == "PLAIN":
            assert base64.b64decode(lines[auth].split(" ")[2]) == b"\0relay\0s3cret"
        else:
            assert base64.b64decode(lines[auth].split(" ")[2]) == b"relay"
            assert base64.b64decode(lines[auth + 1]) == b"s3cret"
        assert lines.index("STARTTLS") < auth


async def test_a_password_goes_to_nobody_unverified(authority: Authority) -> None:
    for setting, context in ((Setting(), authority.server), (trusting(authority), authority.wrong_name)):
        async with running(Script(offers=(*ALL, "AUTH PLAIN")), tls=context) as peer:
            outcome = await run(setting, peer, smarthost(peer.port, tls=TlsMode.NONE, **CREDENTIALS))
            assert outcome.result is Result.DEFERRED
            assert "AUTH" not in peer.verbs
    async with running(Script(offers=(*ALL, "AUTH PLAIN"))) as peer:
        outcome = await run(trusting(authority), peer, smarthost(peer.port, **CREDENTIALS))
        assert outcome.result is Result.DEFERRED
        assert "AUTH" not in peer.verbs


@pytest.mark.parametrize("offers", [(*ALL, "AUTH PLAIN"), ALL, (*ALL, "AUTH GSSAPI")])
async def test_a_refused_sign_in_defers_and_alarms(offers: tuple[str, ...], authority: Authority) -> None:
    setting = trusting(authority)
    async with running(Script(offers=offers, auth="535 5.7.8 Wrong"), tls=authority.server) as peer:
        outcome = await run(setting, peer, smarthost(peer.port, **CREDENTIALS))
        assert outcome.result is Result.DEFERRED
        assert len(setting.stated("delivery.route-alarm")) == 1
        assert not peer.taken
        assert "s3cret" not in repr(setting.events[0].fields) + outcome.status
