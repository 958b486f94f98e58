"""Rehearsed deliveries: every stage that operation 26 documents, in its order, over real connections."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.delivery import stages
from relayd.resolver.answer import Tlsa
from relayd.resolver.zone import FORGED, TIMEOUT
from relayd.routing.mta_sts import Mode, Policy
from relayd.routing.options import RouteOptions
from relayd.routing.source_options import RuleOptions, SourceOptions
from tests.rig.peer import ALL, DROP, SILENT, Peer, Script, running
from tests.rig.rehearsing import Rehearsing, types
from tests.routing.authority import Made, made

TODAY = datetime.now(UTC)
ROOT = made(authority=True, moment=TODAY)
OWN = made("mx.example", by=ROOT, moment=TODAY)
EXPIRED = made("mx.example", by=ROOT, moment=TODAY, days=(-20, -2))

STAGES = [
    "mxLookupStart", "mxLookupSuccess", "mxLookupError", "mtaStsFetchStart", "mtaStsFetchSuccess",
    "mtaStsFetchError", "mtaStsNotFound", "tlsRptLookupStart", "tlsRptLookupSuccess", "tlsRptLookupError",
    "tlsRptNotFound", "deliveryAttemptStart", "mtaStsVerifySuccess", "mtaStsVerifyError", "tlsaLookupStart",
    "tlsaLookupSuccess", "tlsaNotFound", "tlsaLookupError", "ipLookupStart", "ipLookupSuccess",
    "ipLookupError", "connectionStart", "connectionSuccess", "connectionError", "readGreetingStart",
    "readGreetingSuccess", "readGreetingError", "ehloStart", "ehloSuccess", "ehloError",
    "startTlsStart", "startTlsSuccess", "startTlsError", "daneVerifySuccess", "daneVerifyError",
    "mailFromStart", "mailFromSuccess", "mailFromError", "rcptToStart", "rcptToSuccess",
    "rcptToError", "quitStart", "quitCompleted", "completed",
]  # fmt: skip

UP_TO_HOST = [
    "mxLookupStart", "mxLookupSuccess", "mtaStsFetchStart", "mtaStsNotFound", "tlsRptLookupStart", "tlsRptNotFound",
]  # fmt: skip
HOST = ["deliveryAttemptStart", "tlsaLookupStart", "tlsaNotFound", "ipLookupStart", "ipLookupSuccess"]
GREETED = ["connectionStart", "connectionSuccess", "readGreetingStart", "readGreetingSuccess"]
TLS = ["ehloStart", "ehloSuccess", "startTlsStart", "startTlsSuccess", "ehloStart", "ehloSuccess"]
ENVELOPE = ["mailFromStart", "mailFromSuccess", "rcptToStart", "rcptToSuccess"]
QUIT = ["quitStart", "quitCompleted"]
ENFORCE = Policy(mode=Mode.ENFORCE, mx=("mx.example", "*.x.example"), max_age=1000)
ELSEWHERE = Policy(mode=Mode.TESTING, mx=("mx2.example",), max_age=1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("certificates"))
    (path / "ca.pem").write_bytes(ROOT.pem)
    for name, each in (("good", OWN), ("expired", EXPIRED)):
        (path / f"{name}.pem").write_bytes(each.pem)
    return path


def context(folder: Path, name: str = "good") -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{name}.pem")
    return made


def tlsa(usage: int, of: Made) -> Tlsa:
    return Tlsa(usage, 1, 1, hashlib.sha256(of.spki).digest())


def setting(peer: Peer, folder: Path, records: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Rehearsing:
    zone: dict[str, dict[str, Any]] = {"x.example": {"MX": [(10, "mx.example")]}, "mx.example": {"A": ["127.0.0.1"]}}
    changes.setdefault("ca_files", [str(folder / "ca.pem")])
    return Rehearsing(port=peer.port, zone=zone | (records or {}), **changes)


def test_there_are_exactly_the_documented_stages() -> None:
    kinds = [each for each in vars(stages).values() if isinstance(each, type) and issubclass(each, stages.Stage)]
    declared = {each.__struct_config__.tag for each in kinds} - {"stage", "timed", "failed"}
    assert declared == set(STAGES)
    assert len(STAGES) == 44


async def test_all_goes_well_and_nothing_is_sent(folder: Path) -> None:
    async with running(tls=context(folder)) as peer:
        records: dict[str, dict[str, Any]] = {
            "x.example": {"MX": [(10, "mx.example"), (20, "mx2.example")]},
            "_mta-sts.x.example": {"TXT": ["v=STSv1; id=7;"]},
            "_smtp._tls.x.example": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@x.example,https://x.example/r"]},
            f"_{peer.port}._tcp.mx.example": {"TLSA": [tlsa(3, OWN), tlsa(2, ROOT)]},
        }
        where = setting(peer, folder, records, policy=ENFORCE)
        found = await where.run("b@x.example")
    digest = list(hashlib.sha256(OWN.spki).digest())
    authority = list(hashlib.sha256(ROOT.spki).digest())
    assert found == [
        {"type": "mxLookupStart", "domain": "x.example"},
        {
            "type": "mxLookupSuccess",
            "mxs": [
                {"exchanges": ["mx.example"], "preference": 10},
                {"exchanges": ["mx2.example"], "preference": 20},
            ],
            "elapsed": 0,
        },
        {"type": "mtaStsFetchStart"},
        {
            "type": "mtaStsFetchSuccess",
            "policy": {
                "id": "7",
                "mode": "enforce",
                "mx": [{"equals": "mx.example"}, {"startsWith": "x.example"}],
                "max_age": 1000,
            },
            "elapsed": 0,
        },
        {"type": "tlsRptLookupStart"},
        {
            "type": "tlsRptLookupSuccess",
            "rua": [{"type": "mail", "email": "tls@x.example"}, {"type": "http", "url": "https://x.example/r"}],
            "elapsed": 0,
        },
        {"type": "deliveryAttemptStart", "hostname": "mx.example"},
        {"type": "mtaStsVerifySuccess"},
        {"type": "tlsaLookupStart"},
        {
            "type": "tlsaLookupSuccess",
            "record": {
                "entries": [
                    {"is_end_entity": True, "is_sha256": True, "is_spki": True, "data": digest},
                    {"is_end_entity": False, "is_sha256": True, "is_spki": True, "data": authority},
                ],
                "has_end_entities": True,
                "has_intermediates": True,
            },
            "elapsed": 0,
        },
        {"type": "ipLookupStart"},
        {"type": "ipLookupSuccess", "remote_ips": ["127.0.0.1"], "elapsed": 0},
        {"type": "connectionStart", "remote_ip": "127.0.0.1"},
        {"type": "connectionSuccess", "elapsed": 0},
        {"type": "readGreetingStart"},
        {"type": "readGreetingSuccess", "elapsed": 0},
        {"type": "ehloStart"},
        {"type": "ehloSuccess", "elapsed": 0},
        {"type": "startTlsStart"},
        {"type": "startTlsSuccess", "elapsed": 0},
        {"type": "daneVerifySuccess"},
        {"type": "ehloStart"},
        {"type": "ehloSuccess", "elapsed": 0},
        {"type": "mailFromStart"},
        {"type": "mailFromSuccess", "elapsed": 0},
        {"type": "rcptToStart"},
        {"type": "rcptToSuccess", "elapsed": 0},
        {"type": "quitStart"},
        {"type": "quitCompleted", "elapsed": 0},
        {"type": "completed"},
    ]
    assert peer.commands == [
        ["EHLO relay.example", "STARTTLS", "EHLO relay.example", "MAIL FROM:<>", "RCPT TO:<b@x.example>", "QUIT"]
    ]
    assert [each.kind.id for each in where.events] == ["tls-rpt.record-fetch"]


async def test_a_bare_domain_is_not_asked_about_a_recipient(folder: Path) -> None:
    async with running(tls=context(folder)) as peer:
        found = await setting(peer, folder, {"x.example": {"A": ["127.0.0.1"]}}).run("x.example")
    assert types(found) == [*UP_TO_HOST, *HOST, *GREETED, *TLS, *QUIT, "completed"]
    assert found[1] == {"type": "mxLookupSuccess", "mxs": [], "elapsed": 0}  # no MX: the domain itself
    assert found[6] == {"type": "deliveryAttemptStart", "hostname": "x.example"}


@pytest.mark.parametrize(
    ("records", "last", "reason"),
    [
        ({"x.example": {"MX": [(0, "")]}}, "mxLookupError", "null MX"),
        ({"x.example": {"MX": TIMEOUT}}, "mxLookupError", "x.example"),
        ({"x.example": {"MX": [(10, "relay.example")]}}, "mxLookupError", "loops back"),
        ({"mx.example": {"TXT": ["x"]}}, "ipLookupError", "mx.example"),
        ({"mx.example": {"A": TIMEOUT}}, "ipLookupError", "mx.example"),
        ({"_mta-sts.x.example": {"TXT": ["v=STSv1; id=1;"]}}, "mtaStsFetchError", "404"),
        ({"_mta-sts.x.example": {"TXT": TIMEOUT}}, "mtaStsFetchError", "_mta-sts"),
        ({"_mta-sts.x.example": {"TXT": ["v=STSv1; nonsense"]}}, "mtaStsFetchError", "TXT record"),
        ({"_smtp._tls.x.example": {"TXT": ["v=TLSRPTv1; rua=no uri"]}}, "tlsRptLookupError", "not a URI"),
        ({"_smtp._tls.x.example": {"TXT": TIMEOUT}}, "tlsRptLookupError", "_smtp._tls"),
        ({"TLSA": FORGED}, "tlsaLookupError", "TLSA"),
        ({"TLSA": [Tlsa(1, 1, 1, bytes(32))]}, "tlsaLookupError", "none of the TLSA records can be used"),
    ],
)
async def test_what_the_dns_does_not_say(folder: Path, records: dict[str, Any], last: str, reason: str) -> None:
    async with running(tls=context(folder)) as peer:
        given = dict(records)
        if "TLSA" in given:
            given[f"_{peer.port}._tcp.mx.example"] = {"TLSA": given.pop("TLSA")}
        found = await setting(peer, folder, given).run("b@x.example")
    [failed] = [each for each in found if each["type"] == last]
    assert reason in failed["reason"]
    assert found[-1] == {"type": "completed"}
    went_on = last not in ("mxLookupError", "ipLookupError")
    assert ("rcptToSuccess" in types(found)) is went_on


@pytest.mark.parametrize(
    ("script", "last"),
    [
        (Script(banner="554 5.7.1 Not you"), "readGreetingError"),
        (Script(banner=SILENT), "readGreetingError"),
        (Script(ehlo="550 5.5.1 no", helo="550 5.5.1 no"), "ehloError"),
        (Script(ehlo=DROP), "ehloError"),
        (Script(starttls="454 4.7.0 Not now"), "startTlsError"),
        (Script(broken_tls=True), "startTlsError"),
        (Script(mail="451 4.3.0 Not now"), "mailFromError"),
        (Script(mail=SILENT), "mailFromError"),
        (Script(rcpt="550 5.1.1 No such user"), "rcptToError"),
        (Script(rcpt="421 4.7.0 Go away"), "rcptToError"),
    ],
)
async def test_what_hosts_do(folder: Path, script: Script, last: str) -> None:
    async with running(script, tls=context(folder)) as peer:
        found = await setting(peer, folder).run("b@x.example", seconds=0.3)
    names = types(found)
    assert next(each["reason"] for each in found if each["type"] == last)
    step = last.removesuffix("Error")
    assert names[names.index(last) - 1] == step + "Start"
    assert names[names.index(last) + 1 :] == ([*QUIT, "completed"] if "To" in step or "From" in step else ["completed"])


async def test_no_host_is_given_up_before_its_last_address(folder: Path) -> None:
    async with running(tls=context(folder)) as peer:
        zone = {"mx.example": {"A": ["127.0.0.9", "127.0.0.1"]}}
        found = await setting(peer, folder, zone).run("b@x.example")
    names = types(found)
    assert names[names.index("connectionError") :] == [
        "connectionError", *GREETED, *TLS, *ENVELOPE, *QUIT, "completed"
    ]  # fmt: skip


async def test_there_is_no_way_in_the_clear(folder: Path) -> None:
    async with running() as peer:
        found = await setting(peer, folder).run("b@x.example")
        assert found[-2]["type"] == "startTlsError"
        assert "not offered" in found[-2]["reason"]
        routes = {"hub": RouteOptions(address="127.0.0.1", port=peer.port, tls_mode="none")}
        found = await setting(peer, folder, routes=routes, options={"next_hop": "hub"}).run("b@x.example")
        assert types(found) == [
            *UP_TO_HOST, *HOST, *GREETED, "ehloStart", "ehloSuccess", *ENVELOPE, *QUIT, "completed"
        ]  # fmt: skip
        assert found[0] == {"type": "mxLookupStart", "domain": "127.0.0.1"}
        found = await setting(peer, folder, routes=routes, options={"next_hop": "hub"}).run("b@x.example", direct=True)
        assert found[0] == {"type": "mxLookupStart", "domain": "x.example"}


async def test_certificates(folder: Path) -> None:
    async with running(tls=context(folder, "expired")) as peer:
        name = f"_{peer.port}._tcp.mx.example"
        assert types(await setting(peer, folder).run("x.example"))[-4:] == ["ehloSuccess", *QUIT, "completed"]
        strict = await setting(peer, folder).run("x.example", direct=True)
        assert strict[-2]["type"] == "startTlsError"
        assert "certificate not valid" in strict[-2]["reason"]
        records = {name: {"TLSA": [tlsa(3, ROOT)]}}
        found = await setting(peer, folder, records).run("x.example")
        assert "none of 1 TLSA records fits" in found[types(found).index("daneVerifyError")]["reason"]
        assert types(found)[-3:] == [*QUIT, "completed"]
        records = {name: {"TLSA": [tlsa(2, ROOT)]}}
        assert "tlsaLookupSuccess" in types(await setting(peer, folder, records).run("x.example"))
        found = await setting(peer, folder, records).run("x.example", direct=True)
        assert found[types(found).index("tlsaLookupError")]["reason"] == "no TLSA record is of an end entity"


async def test_a_host_that_the_policy_does_not_name(folder: Path) -> None:
    async with running(tls=context(folder)) as peer:
        record = {"_mta-sts.x.example": {"TXT": ["v=STSv1; id=1;"]}}
        testing = await setting(peer, folder, record, policy=ELSEWHERE).run("b@x.example")
        assert "mail goes there all the same" in testing[types(testing).index("mtaStsVerifyError")]["reason"]
        assert "rcptToSuccess" in types(testing)
        enforced = Policy(mode=Mode.ENFORCE, mx=ELSEWHERE.mx, max_age=1000)
        for how in ({"policy": enforced}, {"policy": ELSEWHERE, "direct": True}):
            direct = how.pop("direct", False)
            found = await setting(peer, folder, record, **how).run("b@x.example", direct=direct)
            assert types(found)[-2:] == ["mtaStsVerifyError", "completed"]


async def test_private_addresses_are_as_forbidden_as_to_mail(folder: Path) -> None:
    async with running(tls=context(folder)) as peer:
        found = await setting(peer, folder, options={"allow_private": False}).run("b@x.example")
        assert found[-2]["type"] == "connectionError"
        assert "private" in found[-2]["reason"]
        assert not peer.commands


async def test_smtputf8_is_asked_for_where_it_is_needed(folder: Path) -> None:
    for offers, last in ((ALL, "rcptToSuccess"), (("SIZE",), "mailFromError")):
        async with running(Script(offers=offers), tls=context(folder)) as peer:
            found = await setting(peer, folder).run("jörg@x.example")
            assert last in types(found)
            assert any("MAIL FROM:<> SMTPUTF8" in each for each in peer.commands) is (last == "rcptToSuccess")


@pytest.mark.parametrize("recipient", ["", "@", "a@@b", "a b@x.example", "a@x..example", "a\r\nb@x.example", "x" * 400])
async def test_what_is_no_address_ends_at_once(folder: Path, recipient: str) -> None:
    async with running() as peer:
        found = await setting(peer, folder).run(recipient)
        assert types(found) == ["mxLookupStart", "mxLookupError", "completed"]
        assert not peer.commands


async def test_who_stops_listening_stops_it(folder: Path) -> None:
    async with running(Script(banner=SILENT)) as peer:
        run = setting(peer, folder).rehearsals.run("b@x.example", seconds=600)
        seen = []
        async for stage in run:
            seen.append(msgspec.to_builtins(stage)["type"])
            if seen[-1] == "readGreetingStart":
                break
        [session] = peer._sessions
        await run.aclose()
        assert not [each for each in asyncio.all_tasks() if "_Rehearsal" in repr(each.get_coro())]
        assert session  # the peer's side is only torn down with the peer


async def test_it_goes_by_rules_pools_and_sources(folder: Path) -> None:
    async with running(tls=context(folder)) as peer:
        routes = {
            "pool": RouteOptions(
                address="127.0.0.9", port=peer.port, hosts=("127.0.0.1",), tls_mode="required", weight=1000
            )
        }
        where = setting(
            peer,
            folder,
            routes=routes,
            rules={"news": RuleOptions(sender=("news.example",), next_hop="pool")},
            sources={"out": SourceOptions(address="127.0.0.3", ehlo="out.relay.example")},
            options={"source": "out"},
        )
        found = await where.run("b@x.example", sender="a@news.example")
        assert found[1]["mxs"] == [{"exchanges": ["127.0.0.9", "127.0.0.1"], "preference": 0}]
        assert types(found).count("deliveryAttemptStart") == 2
        assert "connectionError" in types(found)
        assert "rcptToSuccess" in types(found)
        assert "EHLO out.relay.example" in peer.commands[-1]
        assert (await where.run("b@x.example", sender="a@other.example"))[0]["domain"] == "x.example"
