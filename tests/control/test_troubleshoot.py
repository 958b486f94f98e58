"""Operation 27 and the explanations: what is found out about a message, and which way mail would go."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from relayd.delivery.lane import LaneStats
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.signing_key import record_name
from relayd.options import parse_network
from relayd.reception.options import AccessOptions, RcptOptions, RewriteOptions, TrustedRelayOptions
from relayd.resolver.answer import Answer, Mx, Tlsa
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.source_options import RuleOptions
from tests.control.conftest import Control
from tests.mailauth.signing import DOMAIN, key, rule, signed
from tests.mailauth.signing import MESSAGE as MESSAGE_TO_SIGN
from tests.rig.explaining import World

DMARC = "/api/troubleshoot/dmarc"
INBOUND = "/api/explain/inbound"
OUTBOUND = "/api/explain/outbound"

NAMES: dict[str, dict[str, Any]] = {
    "bank.test": {"TXT": ["v=spf1 ip4:192.0.2.1 exp=why.bank.test -all"], "MX": [(10, "mx.bank.test")]},
    "why.bank.test": {"TXT": ["%{i} is none of ours"]},
    "_dmarc.bank.test": {"TXT": ["v=DMARC1; p=reject; sp=quarantine"]},
    "mx.bank.test": {"A": ["192.0.2.1"], "TXT": ["v=spf1 a -all"]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mx.bank.test"]},
    "9.2.0.192.in-addr.arpa": {"PTR": ["liar.test"]},
    "plain.test": {"A": ["192.0.2.5"]},
}

MESSAGE = "From: Ann <ann@bank.test>\nSubject: hello\n\nA line\n"


@pytest.fixture(autouse=True)
def _names(world: World) -> None:
    world.names = dict(NAMES)


async def ask(admin: aiohttp.ClientSession, **given: Any) -> dict[str, Any]:
    """The answer to operation 27."""
    body = {"remoteIp": "192.0.2.1", "ehloDomain": "mx.bank.test", "mailFrom": "ann@bank.test", **given}
    async with admin.post(DMARC, json=body) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = (await answer.json())["data"]
        return found


async def test_27_everything_passes(admin: aiohttp.ClientSession) -> None:
    found = await ask(admin, body=MESSAGE)
    assert isinstance(found.pop("elapsed"), int)
    assert found == {
        "spfEhloDomain": "mx.bank.test",
        "spfEhloResult": {"type": "pass"},
        "spfMailFromDomain": "bank.test",
        "spfMailFromResult": {"type": "pass"},
        "ipRevResult": {"type": "pass"},
        "ipRevPtr": ["mx.bank.test."],
        "dkimResults": [],
        "dkimPass": False,
        "arcResult": {"type": "none"},
        "dmarcResult": {"type": "pass"},
        "dmarcPass": True,
        "dmarcPolicy": "reject",
    }


async def test_27_a_forgery(admin: aiohttp.ClientSession) -> None:
    found = await ask(admin, remoteIp="192.0.2.9", ehloDomain="liar.test", body=MESSAGE)
    assert found["spfEhloResult"] == {"type": "none"}
    assert found["spfMailFromResult"] == {"type": "fail", "details": "192.0.2.9 is none of ours"}
    assert found["ipRevResult"] == {"type": "fail", "details": "no name of the address leads back to it"}
    assert found["ipRevPtr"] == ["liar.test."]
    assert found["dmarcResult"]["type"] == "fail"
    assert (found["dmarcPass"], found["dmarcPolicy"]) == (False, "reject")


async def test_27_line_endings_do_not_matter(admin: aiohttp.ClientSession) -> None:
    found = [await ask(admin, body=text) for text in (MESSAGE, MESSAGE.replace("\n", "\r\n"))]
    for each in found:
        del each["elapsed"]
    assert found[0] == found[1]
    assert found[0]["dmarcPass"]


@pytest.mark.parametrize("body", [None, "absent"])
async def test_27_without_a_body_the_message_is_from_the_return_path(admin: aiohttp.ClientSession, body: Any) -> None:
    found = await ask(admin, **({} if body else {"body": None}))
    assert found["dmarcPass"]
    assert (await ask(admin, mailFrom="ann@sub.bank.test"))["dmarcPolicy"] == "quarantine"


async def test_27_no_return_path(admin: aiohttp.ClientSession) -> None:
    found = await ask(admin, mailFrom="")
    assert found["spfMailFromDomain"] == found["spfEhloDomain"] == "mx.bank.test"
    assert found["spfMailFromResult"] == {"type": "pass"}
    assert (found["dmarcResult"], found["dmarcPolicy"]) == ({"type": "none"}, "unspecified")


@pytest.mark.parametrize(
    "odd", ["nobody", "@", "a@b@c", "<x>", "a\r\nb: c@d", "ü@ä", "a@[192.0.2.1]", "a@" + "x" * 300]
)
async def test_27_odd_names_are_evaluated(admin: aiohttp.ClientSession, world: World, odd: str) -> None:
    found = await ask(admin, mailFrom=odd, ehloDomain=odd)
    assert found["spfMailFromResult"] == {"type": "none"}
    assert found["spfEhloResult"] == {"type": "none"}
    assert world.bugs == []


@pytest.mark.parametrize("body", ["", "no header\n\nat all", "\n\nFrom: late@bank.test\n"])
async def test_27_what_is_no_message(admin: aiohttp.ClientSession, body: str) -> None:
    given = {"remoteIp": "192.0.2.1", "ehloDomain": "x.test", "mailFrom": "a@b.test", "body": body}
    async with admin.post(DMARC, json=given) as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "error": "other",
            "details": "Invalid message body",
            "reason": "Failed to parse message body",
        }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"remoteIp": "192.0.2.1", "ehloDomain": "x.test"},
        {"remoteIp": "192.0.2.300", "ehloDomain": "x.test", "mailFrom": ""},
        {"remoteIp": "fe80::1%eth0", "ehloDomain": "x.test", "mailFrom": ""},
        {"remoteIp": "192.0.2.1", "ehloDomain": None, "mailFrom": ""},
        {"remoteIp": "192.0.2.1", "ehloDomain": "x.test", "mailFrom": "", "body": 7},
        [],
    ],
)
async def test_27_what_is_missing_or_of_another_type(admin: aiohttp.ClientSession, body: Any) -> None:
    async with admin.post(DMARC, json=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["detail"] == "JSON deserialization failed"


async def test_27_a_name_longer_than_any_session_gives(admin: aiohttp.ClientSession) -> None:
    body = {"remoteIp": "192.0.2.1", "ehloDomain": "x.test", "mailFrom": "x" * 2000}
    async with admin.post(DMARC, json=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["detail"] == "mailFrom: expected at most 1024 characters"


async def test_27_every_kind_of_result(admin: aiohttp.ClientSession, world: World) -> None:
    world.names |= {
        "soft.test": {"TXT": ["v=spf1 ~all"]},
        "neutral.test": {"TXT": ["v=spf1 ?all"]},
        "broken.test": {"TXT": ["v=spf1 wrong:x"]},
        "dead.test": {"TXT": "TIMEOUT"},
    }
    expected = {"soft": "softFail", "neutral": "neutral", "broken": "permError", "dead": "tempError"}
    for name, type in expected.items():
        result = (await ask(admin, mailFrom=f"a@{name}.test"))["spfMailFromResult"]
        assert result["type"] == type
        assert set(result) == {"type", "details"}
    assert (await ask(admin, mailFrom="a@soft.test"))["spfMailFromResult"]["details"] is None
    assert (await ask(admin, remoteIp="192.0.2.77"))["ipRevResult"]["type"] == "permError"


async def test_27_signatures_are_looked_at(admin: aiohttp.ClientSession, world: World) -> None:
    world.names |= {record_name("rsa", DOMAIN): {"TXT": [key().record()]}}
    message = signed(MESSAGE_TO_SIGN, rule()).decode()
    given = {"mailFrom": "", "ehloDomain": "x.test"}
    found = await ask(admin, body=message.replace("\r\n", "\n"), **given)
    assert (found["dkimResults"], found["dkimPass"]) == ([{"type": "pass"}], True)
    found = await ask(admin, body=message.replace("Bye", "Buy"), **given)
    assert found["dkimResults"] == [{"type": "fail", "details": "rsa._domainkey.example.org: the body was changed"}]
    assert found["dkimPass"] is False


async def test_27_makes_disabled_checks_too(admin: aiohttp.ClientSession, world: World) -> None:
    world.auth = AuthOptions(
        spf_ehlo="disabled",
        spf_mail_from="disabled",
        dkim="disabled",
        arc="disabled",
        dmarc="disabled",
        iprev="disabled",
    )
    assert (await ask(admin, body=MESSAGE))["dmarcPass"]


class Silent:
    """A resolver that never answers."""

    async def mx(self, name: str) -> Answer[Mx]:
        await asyncio.Event().wait()
        raise AssertionError

    async def txt(self, name: str) -> Answer[bytes]:
        await asyncio.Event().wait()
        raise AssertionError

    async def addresses(self, name: str, family: int) -> Answer[str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def ptr(self, address: str) -> Answer[str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_27_a_dead_dns_costs_no_more_than_its_time(admin: aiohttp.ClientSession, world: World) -> None:
    world.resolver = Silent()
    world.auth = AuthOptions(timeout=0.05)
    found = await ask(admin, body=MESSAGE)
    for name in ("spfEhloResult", "spfMailFromResult", "ipRevResult", "dmarcResult"):
        assert found[name]["type"] == "tempError"
    assert 40 <= found["elapsed"] < 5000


@pytest.mark.parametrize(("method", "path"), [("POST", DMARC), ("POST", INBOUND), ("GET", OUTBOUND)])
async def test_the_permission_comes_before_the_request(control: Control, method: str, path: str) -> None:
    async with control.session(Authorization=aiohttp.encode_basic_auth("user", "plain")) as user:
        async with user.request(method, path, data=b"{not json") as answer:
            assert answer.status == 403


async def inbound(admin: aiohttp.ClientSession, message: bytes | None = None, **given: str) -> dict[str, Any]:
    """An examination as it is configured."""
    query = {"remote-ip": "192.0.2.9", "helo": "liar.test", "from": "ann@bank.test", **given}
    async with admin.post(INBOUND, params=query, data=message) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = (await answer.json())["data"]
        return found


async def test_inbound_tells_steps_verdict_and_questions(admin: aiohttp.ClientSession, world: World) -> None:
    world.auth = AuthOptions(spf_mail_from="strict", dmarc="strict", iprev="disabled")
    found = await inbound(admin, MESSAGE.encode())
    assert (found["client"], found["session"], found["notes"]) == ("192.0.2.9", "stranger", [])
    findings = found["findings"]
    assert findings["iprev"] is None
    assert findings["spf_mail_from"]["mechanism"] == "-all"
    assert "bank.test: v=spf1 ip4:192.0.2.1 exp=why.bank.test -all" in findings["spf_mail_from"]["steps"]
    assert findings["dmarc"]["record"] == "v=DMARC1; p=reject; sp=quarantine"
    verdict = found["verdict"]
    assert (verdict["action"], verdict["reply"]["code"], verdict["reply"]["enhanced"]) == ("reject", 550, "5.7.23")
    assert "DMARC fail of bank.test, policy reject" in verdict["reasons"]
    asked = {(each["type"], each["name"]): each for each in found["questions"]}
    assert asked["TXT", "bank.test"]["records"] == ["v=spf1 ip4:192.0.2.1 exp=why.bank.test -all"]
    assert asked["TXT", "liar.test"]["outcome"] == "no-name"
    results = found["authentication_results"]
    assert results.startswith("Authentication-Results: mx.test;\r\n\tspf=none")
    assert "dmarc=fail" in results


async def test_inbound_without_a_message(admin: aiohttp.ClientSession) -> None:
    found = await inbound(admin, None, **{"remote-ip": "192.0.2.1", "helo": "mx.bank.test"})
    assert found["findings"]["dmarc"]["result"] == "pass"
    assert found["verdict"] == {"action": "tag", "reply": None, "reasons": [], "is_suspicious": False, "override": None}


async def test_inbound_of_a_trusted_client(admin: aiohttp.ClientSession, world: World) -> None:
    world.reception = {"rcpt": RcptOptions(relay_networks=(parse_network("192.0.2.9"),))}
    found = await inbound(admin)
    assert found["session"] == "trusted"
    assert found["notes"] == [
        "192.0.2.9 is in session.rcpt.relay-networks: its mail is trusted, and none of this is checked"
    ]
    world.reception = {"listener_networks": {"inside": (parse_network("192.0.2.0/24"),)}}
    found = await inbound(admin)
    assert found["session"] == "stranger"
    assert "server.listener.inside.relay-networks" in found["notes"][0]


async def test_inbound_through_our_own_relay(admin: aiohttp.ClientSession, world: World) -> None:
    world.reception = {"session": TrustedRelayOptions(trusted_relays=(parse_network("192.0.2.9"),))}
    received = b"Received: from mx.bank.test (mx.bank.test [192.0.2.1])\r\n\tby filter.test; Sat, 21 Nov 2026\r\n"
    found = await inbound(admin, received + MESSAGE.encode())
    assert (found["session"], found["client"], found["helo"]) == ("trusted-relay", "192.0.2.1", "mx.bank.test")
    assert found["findings"]["spf_mail_from"]["result"] == "pass"
    assert found["notes"][-1] == "Received field 1 names 192.0.2.1"
    found = await inbound(admin, MESSAGE.encode())
    assert (found["client"], found["findings"]["spf_mail_from"]["result"]) == ("", "none")
    assert "our relay wrote no Received field" in found["notes"][-1]


async def test_inbound_takes_octets_as_they_are(admin: aiohttp.ClientSession) -> None:
    message = b"From ann@bank.test Sat Nov 21 09:00:00 2026\nFrom: ann@bank.test\nX: \xff\n\n\xff\xfe"
    found = await inbound(admin, message, **{"remote-ip": "192.0.2.1"})
    assert found["findings"]["dmarc"]["result"] == "pass"


async def test_inbound_a_large_header_is_read_apart(admin: aiohttp.ClientSession, world: World) -> None:
    header = b"".join(b"X-Filler: %d\r\n" % number for number in range(20_000))
    found = await inbound(admin, b"From: ann@bank.test\r\n" + header, **{"remote-ip": "192.0.2.1"})
    assert found["findings"]["dmarc"]["result"] == "pass"
    assert world.bugs == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({}, "remote-ip: expected an IP address"),
        ({"remote-ip": "mx.test", "helo": "x"}, "remote-ip: expected an IP address"),
        ({"remote-ip": "192.0.2.1"}, "helo: expected the name that the client gives in EHLO"),
        ({"remote-ip": "192.0.2.1", "helo": "x" * 1025}, "helo: expected at most 1024 characters"),
    ],
)
async def test_inbound_bad_parameters(admin: aiohttp.ClientSession, query: dict[str, str], detail: str) -> None:
    async with admin.post(INBOUND, params=query) as answer:
        assert answer.status == 400
        assert (await answer.json())["detail"] == detail


async def outbound(admin: aiohttp.ClientSession, to: str, sender: str = "") -> dict[str, Any]:
    """The way out."""
    async with admin.get(OUTBOUND, params={"to": to, "from": sender}) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = (await answer.json())["data"]
        return found


async def test_outbound_by_mx(admin: aiohttp.ClientSession, world: World) -> None:
    world.names |= {
        "b.test": {"MX": [(20, "far.b.test"), (10, "near.b.test"), (5, "gone.b.test")]},
        "near.b.test": {"A": ["203.0.113.1"], "AAAA": ["2001:db8::1"]},
        "far.b.test": {"A": ["203.0.113.2"]},
    }
    found = await outbound(admin, "Bob@B.test", "ann@a.test")
    assert found["trial"] == {
        "accepted": True,
        "reply": "250 2.1.5 Recipient ok",
        "return_path": "ann@a.test",
        "recipients": ["Bob@b.test"],
        "held": None,
        "steps": [],
        "signers": [],
    }
    (road,) = found["roads"]
    outlook = road["outlook"]
    assert (outlook["destination"], outlook["route"], outlook["use_mx"]) == ("b.test", None, True)
    assert outlook["setting"] == 'queue.outbound.next-hop = "mx"'
    tls = {"tls": "TLS where offered", "tls_why": ["tls.mode is opportunistic"], "tls_known": ""}
    assert outlook["hosts"] == [
        {"host": "near.b.test", "addresses": ["2001:db8::1", "203.0.113.1"], "port": 25, "preference": 10} | tls,
        {"host": "far.b.test", "addresses": ["203.0.113.2"], "port": 25, "preference": 20} | tls,
    ]
    assert (outlook["tls"], outlook["sign_in_as"], outlook["problem"]) == ("opportunistic", "", "")
    assert any("gone.b.test" in note for note in outlook["notes"])
    assert outlook["retries"]["retry"][:2] == ["2m", "5m"]
    assert outlook["retries"]["attempts"][-1]["note"] == "gives up"
    assert ("MX", "b.test") in {(each["type"], each["name"]) for each in outlook["questions"]}
    assert road["standing"] == {"suspended": "", "queued": 0, "deferred": 0, "held": 0}
    assert (found["paused"], found["unshown"]) == ("", 0)


async def test_outbound_by_a_route_never_tells_its_secret(admin: aiohttp.ClientSession, world: World) -> None:
    world.names |= {"hub.test": {"A": ["203.0.113.9"]}}
    world.routes = {"hub": RouteOptions(address="hub.test", username="relay", secret="hunter2")}
    world.domains = {"b.test": "hub"}
    world.lanes = {"route:hub": LaneStats("route:hub", running=3, waiting=7, senders=2, limit=5)}
    found = await outbound(admin, "bob@b.test")
    outlook = found["roads"][0]["outlook"]
    assert (outlook["destination"], outlook["route"], outlook["port"]) == ("route:hub", "hub", 587)
    assert outlook["setting"] == 'queue.outbound.domain.b.test = "hub"'
    assert (outlook["tls"], outlook["sign_in_as"]) == ("verified", "relay")
    assert (outlook["running"], outlook["waiting"], outlook["limit"]) == (3, 7, 5)
    tls = {"tls": "TLS with a valid certificate", "tls_why": ["tls.mode is verified"], "tls_known": ""}
    hub = {"host": "hub.test", "addresses": ["203.0.113.9"], "port": 587, "preference": None}
    assert outlook["hosts"] == [hub | tls]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("names", "outcome", "word"),
    [
        ({}, "bounced", "does not exist"),
        ({"b.test": {"MX": [(0, "")]}}, "bounced", "null MX"),
        ({"b.test": {"MX": "TIMEOUT"}}, "deferred", "timed out"),
        ({"b.test": {"MX": [(10, "mx.test")]}}, "bounced", "loops back to myself"),
        ({"b.test": {"A": ["10.0.0.1"]}}, "deferred", "private"),
    ],
)
async def test_outbound_to_nowhere(
    admin: aiohttp.ClientSession, world: World, names: dict[str, Any], outcome: str, word: str
) -> None:
    world.names = names
    world.outbound = OutboundOptions()
    outlook = (await outbound(admin, "bob@b.test"))["roads"][0]["outlook"]
    assert word in outlook["problem"]
    assert (outlook["outcome"], outlook["hosts"]) == (outcome, [])


async def test_outbound_of_local_names_rules_and_refusals(admin: aiohttp.ClientSession, world: World) -> None:
    found = await outbound(admin, "sales")
    assert found["trial"]["recipients"] == ["ann@a.test", "bob@b.test"]
    assert [each["outlook"]["address"] for each in found["roads"]] == ["ann@a.test", "bob@b.test"]
    world.reception = {
        "access": {
            "bad": AccessOptions(sender=("*@spam.test",), action="reject", text="Not from there"),
            "look": AccessOptions(sender=("*@odd.test",), action="hold", text="look first"),
        }
    }
    found = await outbound(admin, "bob@b.test", "x@spam.test")
    assert found["trial"]["accepted"] is False
    assert found["trial"]["reply"] == "550 5.7.1 Not from there"
    assert any('id = "bad"' in step for step in found["trial"]["steps"])
    assert found["roads"] == []
    assert (await outbound(admin, "bob@b.test", "x@odd.test"))["trial"]["held"] == "look first"


async def test_outbound_asks_routing_rules_about_the_return_path_as_it_goes_out(
    admin: aiohttp.ClientSession, world: World
) -> None:
    world.reception = {"rewrite": {"m": RewriteOptions(sender=("in.test",), envelope_from="{local}@out.test")}}
    world.routes = {"hub": RouteOptions(address="127.0.0.1")}
    world.rules = {"ours": RuleOptions(sender=("out.test",), next_hop="hub")}
    (road,) = (await outbound(admin, "bob@b.test", "ann@in.test"))["roads"]
    assert road["outlook"]["setting"] == 'queue.rule.ours.next-hop = "hub"'


async def test_outbound_tells_suspension_and_pause(admin: aiohttp.ClientSession, control: Control) -> None:
    await control.rig.o.queue.suspend("plain.test", None, "breaker", "too many bounces")
    await control.rig.o.queue.pause("root", "maintenance")
    found = await outbound(admin, "a@plain.test")
    assert found["roads"][0]["standing"]["suspended"].startswith("until it is lifted, since 20")
    assert found["roads"][0]["standing"]["suspended"].endswith("by breaker: too many bounces")
    assert found["paused"].endswith("by root: maintenance")


async def test_outbound_by_a_route_tells_the_suspension_of_the_domain(
    admin: aiohttp.ClientSession, control: Control, world: World
) -> None:
    world.routes = {"hub": RouteOptions(address="127.0.0.1")}
    world.domains = {"b.test": "hub", "c.test": "hub"}
    await control.rig.o.queue.suspend("b.test", None, "ann", "their request")
    found = [(await outbound(admin, f"x@{domain}"))["roads"][0]["standing"] for domain in ("B.test", "c.test")]
    assert found[0]["suspended"].endswith("by ann: their request")
    assert found[1]["suspended"] == ""


@pytest.mark.parametrize(
    ("to", "sender", "start"),
    [("", "", "to: "), ("a b@c", "", "to: "), ("a@b@c", "", "to: "), ("a@b.test", "<>x", "from: ")],
)
async def test_outbound_bad_parameters(admin: aiohttp.ClientSession, to: str, sender: str, start: str) -> None:
    async with admin.get(OUTBOUND, params={"to": to, "from": sender}) as answer:
        assert answer.status == 400
        assert (await answer.json())["detail"].startswith(f"{start}expected an address")
