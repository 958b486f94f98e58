"""DANE, MTA-STS and REQUIRETLS towards hosts with real TLS: which certificate leads to which outcome."""

from __future__ import annotations

import dataclasses
import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relayd.delivery import handshake
from relayd.delivery.host_policy import HostPolicies
from relayd.delivery.hosts import Hosts
from relayd.delivery.tls import TlsContexts
from relayd.events.event import Span
from relayd.queue.message import Outcome, Result
from relayd.resolver.answer import Tlsa
from relayd.resolver.zone import FORGED, Zone
from relayd.routing.mta_sts import Mode, Policy
from relayd.routing.next_hop import DaneUse, MessageTls, NextHop, Protocol, TlsMode
from tests.delivery.setting import Setting, direct, job, smarthost
from tests.rig.peer import ALL, Peer, Script, running
from tests.routing.authority import Made, made

TODAY = datetime.now(UTC)
ROOT = made(authority=True, moment=TODAY)
CERTIFICATES: dict[str, Made] = {
    "good": made("mx.example", by=ROOT, moment=TODAY),
    "expired": made("mx.example", by=ROOT, moment=TODAY, days=(-20, -2)),
    "wrong-name": made("other.example", by=ROOT, moment=TODAY),
    "self-signed": made("mx.example", moment=TODAY),
}


def tlsa(usage: int, of: Made) -> Tlsa:
    return Tlsa(usage, 1, 1, hashlib.sha256(of.spki).digest())


class Policies:
    """MTA-STS policies without the web."""

    def __init__(self, policy: Policy | None) -> None:
        self.of = policy

    async def policy(self, domain: str, span: Span) -> Policy | None:
        return self.of if domain == "x.example" else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("certificates"))
    (path / "ca.pem").write_bytes(ROOT.pem)
    for name, each in CERTIFICATES.items():
        (path / f"{name}.pem").write_bytes(each.pem + ROOT.pem.partition(b"-----BEGIN PRIVATE")[0])
    return path


def context(folder: Path, name: str) -> ssl.SSLContext | None:
    if name == "none":
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{name}.pem")
    return made


def setting(
    folder: Path,
    port: int,
    records: list[Tlsa] | str | None = None,
    sts: Policy | None = None,
    dane: DaneUse = DaneUse.OPTIONAL,
    unsigned: tuple[str, ...] = (),
) -> Setting:
    zone: dict[str, dict[str, Any]] = {"x.example": {"MX": [(10, "mx.example")]}, "mx.example": {"A": ["127.0.0.1"]}}
    if records is not None:
        zone[f"_{port}._tcp.mx.example"] = {"TLSA": records}
    made = Setting(zone=zone, tls=TlsContexts([str(folder / "ca.pem")]))
    resolver = Zone(zone, secure=True, unsigned=unsigned)
    hosts = Hosts(
        resolver,
        made.reuse,
        allow_private=True,
        is_self=lambda name, port: False,
        chance=lambda: 0.0,
        policies=HostPolicies(resolver, dane, Policies(sts)),
    )
    made.attempts.reconfigure(dataclasses.replace(made.road, hosts=hosts), soft_bounce=False)
    return made


async def outcome_of(made: Setting, peer: Peer, **changes: Any) -> Outcome:
    hop: NextHop = direct(peer.port, **{"tls": TlsMode.OPPORTUNISTIC, **changes})
    [outcome] = await made.run(job(), hop)
    await made.pool.close()
    return outcome


ENFORCE = Policy(mode=Mode.ENFORCE, mx=("mx.example",), max_age=1000)
TESTING = Policy(mode=Mode.TESTING, mx=("mx.example",), max_age=1000)
ELSEWHERE = Policy(mode=Mode.ENFORCE, mx=("mx2.example",), max_age=1000)
ELSEWHERE_TESTING = Policy(mode=Mode.TESTING, mx=("mx2.example",), max_age=1000)

OFFERED = (*ALL, "REQUIRETLS")
OFFER: dict[str, Any] = {"offers": OFFERED}
MX = ("x.example",)
OPPORTUNISTIC: dict[str, Any] = {}
REQUIRED = {"mode": TlsMode.REQUIRED}
VERIFIED = {"mode": TlsMode.VERIFIED}
TLS, CLEAR, LATER, NEVER = "delivered over TLS", "delivered in the clear", "deferred", "bounced"

TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    # what is demanded, of which certificate, the outcome
    ("none", {"mode": TlsMode.NONE}, "good", CLEAR),
    ("opportunistic", OPPORTUNISTIC, "good", TLS),
    ("opportunistic", OPPORTUNISTIC, "expired", TLS),
    ("opportunistic", OPPORTUNISTIC, "wrong-name", TLS),
    ("opportunistic", OPPORTUNISTIC, "self-signed", TLS),
    ("opportunistic", OPPORTUNISTIC, "none", CLEAR),
    ("required", REQUIRED, "good", TLS),
    ("required", REQUIRED, "expired", TLS),
    ("required", REQUIRED, "wrong-name", TLS),
    ("required", REQUIRED, "self-signed", TLS),
    ("required", REQUIRED, "none", LATER),
    ("verified", VERIFIED, "good", TLS),
    ("verified", VERIFIED, "expired", LATER),
    ("verified", VERIFIED, "wrong-name", LATER),
    ("verified", VERIFIED, "self-signed", LATER),
    ("verified", VERIFIED, "none", LATER),
    ("enforce", {"sts": ENFORCE}, "good", TLS),
    ("enforce", {"sts": ENFORCE}, "expired", LATER),
    ("enforce", {"sts": ENFORCE}, "wrong-name", LATER),
    ("enforce", {"sts": ENFORCE}, "self-signed", LATER),
    ("enforce", {"sts": ENFORCE}, "none", LATER),
    ("enforce, another host", {"sts": ELSEWHERE}, "good", LATER),
    ("testing", {"sts": TESTING}, "good", TLS),
    ("testing", {"sts": TESTING}, "expired", TLS),
    ("testing", {"sts": TESTING}, "wrong-name", TLS),
    ("testing", {"sts": TESTING}, "self-signed", TLS),
    ("testing", {"sts": TESTING}, "none", CLEAR),
    ("testing, another host", {"sts": ELSEWHERE_TESTING}, "good", TLS),
    ("DANE-EE of it", {"ee": True}, "good", TLS),
    ("DANE-EE of it", {"ee": True}, "expired", TLS),
    ("DANE-EE of it", {"ee": True}, "wrong-name", TLS),
    ("DANE-EE of it", {"ee": True}, "self-signed", TLS),
    ("DANE-EE of it", {"ee": True}, "none", LATER),
    ("DANE-TA", {"records": [tlsa(2, ROOT)]}, "good", TLS),
    ("DANE-TA", {"records": [tlsa(2, ROOT)]}, "expired", LATER),
    ("DANE-TA", {"records": [tlsa(2, ROOT)]}, "wrong-name", LATER),
    ("DANE-TA", {"records": [tlsa(2, ROOT)]}, "self-signed", LATER),
    ("DANE-TA", {"records": [tlsa(2, ROOT)]}, "none", LATER),
    ("DANE of another key", {"records": [tlsa(3, ROOT)]}, "good", LATER),
    ("DANE unusable", {"records": [Tlsa(1, 1, 1, bytes(32))]}, "self-signed", TLS),
    ("DANE unusable", {"records": [Tlsa(1, 1, 1, bytes(32))]}, "none", LATER),
    ("DANE unusable, enforce", {"records": [Tlsa(1, 1, 1, bytes(32))], "sts": ENFORCE}, "self-signed", LATER),
    ("DANE over enforce", {"ee": True, "sts": ELSEWHERE}, "self-signed", TLS),
    ("DANE fails, enforce would pass", {"records": [tlsa(3, ROOT)], "sts": ENFORCE}, "good", LATER),
    ("DANE forged", {"records": FORGED}, "good", LATER),
    ("DANE unsigned host", {"records": [tlsa(3, ROOT)], "unsigned": ("mx.example",)}, "good", TLS),
    ("DANE unsigned MX", {"records": [tlsa(3, ROOT)], "unsigned": ("x.example",)}, "good", TLS),
    ("DANE off", {"records": [tlsa(3, ROOT)], "dane": DaneUse.OFF}, "good", TLS),
    ("DANE demanded", {"dane": DaneUse.REQUIRE}, "good", LATER),
    ("DANE and verified", {"ee": True, **VERIFIED}, "self-signed", LATER),
    ("DANE and verified", {"ee": True, **VERIFIED}, "good", TLS),
    ("TLS-Required: No", {"records": [tlsa(3, ROOT)], "message": MessageTls.OPTIONAL}, "self-signed", TLS),
    ("TLS-Required: No", {"sts": ELSEWHERE, "message": MessageTls.OPTIONAL}, "none", CLEAR),
    ("TLS-Required: No, verified", {"message": MessageTls.OPTIONAL, **VERIFIED}, "self-signed", LATER),
    ("REQUIRETLS by DANE", {"ee": True, "message": MessageTls.REQUIRED, "offers": OFFERED}, "self-signed", TLS),
    ("REQUIRETLS by enforce", {"sts": ENFORCE, "unsigned": MX, "message": MessageTls.REQUIRED, **OFFER}, "good", TLS),
    ("REQUIRETLS by testing", {"sts": TESTING, "unsigned": MX, "message": MessageTls.REQUIRED, **OFFER}, "good", TLS),
    ("REQUIRETLS by a signed MX", {"message": MessageTls.REQUIRED, **OFFER}, "good", TLS),
    ("REQUIRETLS by a signed MX", {"message": MessageTls.REQUIRED, **OFFER}, "expired", NEVER),
    ("REQUIRETLS by a signed MX", {"message": MessageTls.REQUIRED, **OFFER}, "wrong-name", NEVER),
    ("REQUIRETLS of a report, not offered", {"sts": ENFORCE, "message": MessageTls.REPORT}, "good", TLS),
    ("REQUIRETLS of a report", {"sts": ENFORCE, "message": MessageTls.REPORT}, "self-signed", NEVER),
    ("REQUIRETLS, not offered", {"ee": True, "message": MessageTls.REQUIRED}, "good", NEVER),
    ("REQUIRETLS, invalid", {"sts": ENFORCE, "message": MessageTls.REQUIRED}, "self-signed", NEVER),
    ("REQUIRETLS, no STARTTLS", {"sts": ENFORCE, "message": MessageTls.REQUIRED}, "none", NEVER),
    ("REQUIRETLS, unproven MX", {"message": MessageTls.REQUIRED, "unsigned": ("x.example",)}, "good", NEVER),
    ("REQUIRETLS, DNS broken", {"records": FORGED, "message": MessageTls.REQUIRED}, "good", LATER),
]


@pytest.mark.parametrize(
    ("demanded", "certificate", "expected"),
    [pytest.param(demanded, name, expected, id=f"{title}-{name}") for title, demanded, name, expected in TABLE],
)
async def test_each_policy_with_each_defect(
    demanded: dict[str, Any], certificate: str, expected: str, folder: Path
) -> None:
    given = dict(demanded)
    mode, message = given.pop("mode", TlsMode.OPPORTUNISTIC), given.pop("message", MessageTls.USUAL)
    if given.pop("ee", False):
        given["records"] = [tlsa(3, CERTIFICATES.get(certificate, ROOT))]
    async with running(Script(offers=given.pop("offers", ALL)), tls=context(folder, certificate)) as peer:
        made = setting(folder, peer.port, **given)
        outcome = await outcome_of(made, peer, tls=mode, message_tls=message)
        found = {Result.DEFERRED: LATER, Result.BOUNCED: NEVER}.get(outcome.result)
        if found is None:
            found = TLS if peer.taken[0].tls else CLEAR
        assert found == expected, outcome.status
        assert bool(peer.taken) is (outcome.result is Result.DELIVERED)


async def test_who_is_blamed(folder: Path) -> None:
    async with running(tls=context(folder, "self-signed")) as peer:
        for given, status in (
            ({"records": [tlsa(3, ROOT)]}, "DANE failed to authenticate 'mx.example': none of 1 TLSA records fits"),
            ({"records": FORGED}, "DANE failed to authenticate 'x.example': mx.example: the TLSA records could not"),
            ({"sts": ENFORCE}, "MTA-STS auth failed: certificate not valid: "),
            ({"sts": ELSEWHERE}, "MTA-STS auth failed: mx.example: the host is not in the domain's MTA-STS policy"),
        ):
            outcome = await outcome_of(setting(folder, peer.port, **given), peer)
            assert outcome.status.startswith(status)
            assert outcome.reply.enhanced == "4.7.5"


async def test_what_is_stated(folder: Path) -> None:
    async with running(tls=context(folder, "good")) as peer:
        made = setting(folder, peer.port, [tlsa(3, CERTIFICATES["good"])])
        await outcome_of(made, peer)
        assert len(made.stated("dane.tlsa-record-fetch")) == 1
        assert len(made.stated("dane.authentication-success")) == 1
        assert len(made.stated("dane.tlsa-record-match")) == 1
        made = setting(folder, peer.port, [tlsa(3, ROOT)])
        await outcome_of(made, peer)
        assert len(made.stated("dane.authentication-failure")) == 1
        made = setting(folder, peer.port, sts=ENFORCE)
        await outcome_of(made, peer)
        assert len(made.stated("dane.tlsa-record-not-found")) == 1
        assert len(made.stated("mta-sts.authorized")) == 1


async def test_requiretls_is_passed_on_and_a_notification_asks_for_what_is_offered(folder: Path) -> None:
    for offers, return_path, said in (
        (OFFERED, "a@sender.example", True),
        (OFFERED, "", True),
        (ALL, "", False),
    ):
        async with running(Script(offers=offers), tls=context(folder, "good")) as peer:
            made = setting(folder, peer.port)
            asked = job(tls=MessageTls.REQUIRED, return_path=return_path)
            [outcome] = await made.run(asked, direct(peer.port, tls=TlsMode.NONE))
            assert outcome.result is Result.DELIVERED, outcome.status
            assert (" REQUIRETLS" in peer.taken[0].mail) is said
            await made.pool.close()


async def test_a_mail_store_on_this_machine_takes_mail_under_requiretls() -> None:
    async with running(Script(lmtp=True)) as peer:
        made = Setting()
        hop = smarthost(peer.port, protocol=Protocol.LMTP)
        [outcome] = await made.run(job(tls=MessageTls.REQUIRED), hop)
        assert outcome.result is Result.DELIVERED
        [outcome] = await made.run(job(tls=MessageTls.REQUIRED), smarthost(peer.port))
        assert (outcome.result, outcome.reply.enhanced) == (Result.BOUNCED, "5.7.30")
        await made.pool.close()


async def test_a_connection_made_for_one_kind_of_message_serves_no_other(folder: Path) -> None:
    async with running(tls=context(folder, "good")) as peer:
        made = setting(folder, peer.port)
        for message in (MessageTls.OPTIONAL, MessageTls.USUAL, MessageTls.USUAL):
            await made.run(job(), direct(peer.port, tls=TlsMode.OPPORTUNISTIC, message_tls=message))
        assert peer.connections == 2
        await made.pool.close()


async def test_certificates_that_cannot_be_held_against_records_are_told_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tls=context(folder, "good")) as peer:
        for chain, event in (([], "dane.no-certificates-found"), ([b"nonsense"], "dane.certificate-parse-error")):
            monkeypatch.setattr(handshake, "presented_chain", lambda connection, chain=chain: chain)
            made = setting(folder, peer.port, [tlsa(3, CERTIFICATES["good"])])
            outcome = await outcome_of(made, peer)
            assert outcome.result is Result.DEFERRED
            assert len(made.stated(event)) == 1
            assert len(made.stated("dane.authentication-failure")) == 1


async def test_a_host_whose_tls_is_too_old_for_its_domain(folder: Path) -> None:
    old = context(folder, "good")
    assert old is not None
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running(tls=old) as peer:
        for mode, minimum, expected in (
            (TlsMode.OPPORTUNISTIC, "", TLS),
            (TlsMode.OPPORTUNISTIC, "1.3", CLEAR),
            (TlsMode.REQUIRED, "1.2", TLS),
            (TlsMode.REQUIRED, "1.3", LATER),
        ):
            peer.taken.clear()
            outcome = await outcome_of(setting(folder, peer.port), peer, tls=mode, tls_minimum=minimum)
            found = LATER if outcome.result is Result.DEFERRED else (TLS if peer.taken[0].tls else CLEAR)
            assert found == expected, outcome.status
