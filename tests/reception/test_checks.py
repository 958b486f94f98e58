"""The checks on the live path, over a zone in a dict."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from relayd.events.event import Event
from relayd.mail.reply import Reply
from relayd.mailauth import dkim_verify, examine
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import SignatureRule, sign, want_signed
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.mailauth.signing_key import record_name
from relayd.reception.body import MEMORY_LIMIT
from relayd.resolver.answer import Answer, Temporary
from relayd.resolver.zone import TIMEOUT, Records, Zone
from tests.mailauth.signing import chain, key, parts
from tests.reception.house import House, octets, outcome
from tests.rig.signing import signatures

CLIENT = "203.0.113.5"
STRANGE = "203.0.113.66"
NAMES: dict[str, dict[str, Records]] = {
    "sender.example": {"TXT": ["v=spf1 ip4:203.0.113.5 -all"]},
    "client.example": {"A": [CLIENT], "TXT": ["v=spf1 a -all"]},
    "5.113.0.203.in-addr.arpa": {"PTR": ["client.example."]},
    record_name("s", "sender.example"): {"TXT": [key("rsa").record()]},
    "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.gentle.example": {"TXT": ["v=DMARC1; p=quarantine"]},
    "gentle.example": {"TXT": ["v=spf1 -all"]},
    "_dmarc.watching.example": {"TXT": ["v=DMARC1; p=none"]},
}
MESSAGE = b"From: Ann <a@sender.example>\r\nTo: b@far.example\r\nSubject: hello\r\n\r\nA line.\r\n"
STRICT = {
    "spf.verify.mail-from": "strict",
    "spf.verify.ehlo": "strict",
    "dkim.verify": "strict",
    "arc.verify": "strict",
    "dmarc.verify": "strict",
}


def house(
    tmp_path: Path, auth: dict[str, Any] | None = None, names: dict[str, Any] | None = None, **given: Any
) -> House:
    return House(
        tmp_path,
        {"ann": {"secret": "x", "emails": ["@sender.example"]}},
        resolver=Zone(NAMES | (names or {})),
        auth=auth or {},
        rcpt={"relay-domains": ["far.example"]},
        known={"far": {"domains": ["far.example"], "check": "any"}},
        **given,
    )


async def offer(rig: House, content: bytes, sender: str = "a@sender.example", **client: Any) -> Reply:
    stranger = await rig.stranger(**client)
    tx = await rig.begin(stranger, sender)
    assert (await rig.rcpt(tx, "b@far.example")).is_positive
    return await rig.send(tx, content)


async def taken(rig: House, content: bytes, sender: str = "a@sender.example", **client: Any) -> bytes:
    reply = await offer(rig, content, sender, **client)
    assert reply.code == 250, reply
    return octets(rig.queue.messages[-1])


def results(message: bytes) -> str:
    """Our Authentication-Results, unfolded."""
    field = parts(message)[0].fields[0]
    assert field.name == "Authentication-Results"
    return field.value.decode().replace("\t", " ")


def signed(content: bytes, domain: str = "sender.example") -> bytes:
    header, octets = parts(content)
    body = BodyDigests()
    want_signed(body)
    body.feed(octets)
    body.finish()
    return (
        sign(header, body, [(SignatureRule(id="rsa", domain=domain, selector="s"), key("rsa"))], 1_600_000_000)
        + content
    )


def told(rig: House) -> list[str]:
    return [event.kind.id for event in rig.events]


def of(text: bytes, **fields: str) -> bytes:
    """MESSAGE from another author, with more fields."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()).encode()
    return MESSAGE.replace(b"a@sender.example", text).replace(b"Subject:", more + b"Subject:")


async def test_what_was_found_stands_on_top_and_below_nothing_changes(tmp_path: Path) -> None:
    rig = house(tmp_path)
    content = signed(MESSAGE)
    message = await taken(rig, content)
    assert message.endswith(content)
    header = parts(message)[0]
    assert [field.name for field in header.fields[:3]] == ["Authentication-Results", "Received", "DKIM-Signature"]
    text = results(message)
    assert text.startswith(
        "mx.relay.example; spf=pass smtp.helo=client.example; spf=pass smtp.mailfrom=a@sender.example;"
    )
    assert "iprev=pass (client.example) policy.iprev=203.0.113.5;" in text
    assert "dkim=pass (2048-bit key) header.d=sender.example" in text
    assert "arc=none smtp.remote-ip=203.0.113.5; dmarc=pass header.from=sender.example policy.dmarc=reject" in text


async def test_the_events_come_in_the_order_of_the_reference(tmp_path: Path) -> None:
    rig = house(tmp_path)
    await taken(rig, signed(MESSAGE))
    ids = ["smtp.spf-ehlo-pass", "smtp.iprev-pass", "smtp.spf-from-pass", "smtp.mail-from", "smtp.rcpt-to"]
    ids += ["smtp.dkim-pass", "smtp.arc-pass", "smtp.dmarc-pass", "queue.queue-message"]
    assert [id for id in told(rig) if id in ids] == ids
    (iprev,) = rig.facts("smtp.iprev-pass")
    assert iprev["domain"] == "client.example"
    assert iprev["result"].data() == {"details": ["client.example."]}
    (dkim,) = rig.facts("smtp.dkim-pass")
    assert dkim["strict"] is False
    assert [each.kind.id for each in dkim["result"]] == ["dkim.pass"]
    (arc,) = rig.facts("smtp.arc-pass")
    assert isinstance(arc["result"], Event)
    assert (arc["result"].kind.id, arc["result"].data()) == ("dkim.none", {})
    (dmarc,) = rig.facts("smtp.dmarc-pass")
    assert (dmarc["domain"], dmarc["policy"], dmarc["result"].kind.id) == ("sender.example", "reject", "dmarc.pass")
    assert isinstance(dmarc["elapsed"], float)


async def test_mail_of_nobody_known_is_told_as_the_seed_tells_it(tmp_path: Path) -> None:
    rig = house(tmp_path)
    await taken(rig, of(b"a@nowhere.test"), "a@nowhere.test", address="198.51.100.1", helo="test.eml")
    for id, result in [("spf-ehlo", "spf.none"), ("spf-from", "spf.none"), ("dmarc", "dmarc.none")]:
        (fields,) = rig.facts(f"smtp.{id}-fail")
        assert (fields["result"].kind.id, fields["result"].data()) == (result, {})
    (dkim,) = rig.facts("smtp.dkim-fail")
    assert dkim["result"] == []
    (iprev,) = rig.facts("smtp.iprev-fail")
    assert iprev["result"].kind.id == "iprev.perm-error"


async def test_a_session_is_looked_at_once(tmp_path: Path) -> None:
    rig = house(tmp_path)
    client = await rig.stranger()
    for _ in range(2):
        assert "spf=pass smtp.helo=client.example" in results(octets(await rig.deliver(client, MESSAGE)))
    assert len(rig.facts("smtp.spf-ehlo-pass")) == len(rig.facts("smtp.iprev-pass")) == 1
    assert len(rig.facts("smtp.spf-from-pass")) == 2
    client.helo = "other.example"  # a second EHLO
    assert "smtp.helo=other.example" in results(octets(await rig.deliver(client, MESSAGE)))


async def test_spf_fail_is_refused_after_data_where_it_is_strict(tmp_path: Path) -> None:
    rig = house(tmp_path, {"spf.verify.mail-from": "strict"})
    reply = await offer(rig, MESSAGE, address=STRANGE)
    assert outcome(reply) == (550, "5.7.23")
    assert "smtp.dmarc-fail" in told(rig), "DMARC is evaluated too"
    assert rig.facts("smtp.auth-verdict")[0]["code"] == 550
    assert not rig.queue.messages
    assert not rig.incoming_files()


async def test_lmtp_refuses_for_every_recipient(tmp_path: Path) -> None:
    rig = house(tmp_path, {"spf.verify.mail-from": "strict"})
    tx = await rig.begin(await rig.stranger(address=STRANGE, protocol="lmtp"))
    for name in ("b@far.example", "c@far.example"):
        await rig.rcpt(tx, name)
    await rig.reception.write(tx, [MESSAGE])
    replies = await rig.reception.finish(tx)
    assert isinstance(replies, list)
    assert [outcome(each) for each in replies] == [(550, "5.7.23")] * 2


async def test_relaxed_checks_refuse_nothing(tmp_path: Path) -> None:
    message = await taken(house(tmp_path), MESSAGE, address=STRANGE)
    assert "spf=fail smtp.mailfrom=a@sender.example" in results(message)
    assert 'dmarc=fail reason="suspicious, policy not applied: local_policy"' in results(message)


@pytest.mark.parametrize(
    ("author", "fields", "code"),
    [
        (b"a@sender.example", {}, 550),
        (b"a@sender.example", {"List_Id": "<l.example>"}, 250),
        (b"a@gentle.example", {}, 250),
        (b"a@watching.example", {}, 250),
    ],
)
async def test_dmarc_by_policy(author: bytes, fields: dict[str, str], code: int, tmp_path: Path) -> None:
    rig = house(tmp_path, {"dmarc.verify": "strict"})
    reply = await offer(rig, of(author, **fields), "x@nowhere.test", address=STRANGE)
    assert reply.code == code
    if code == 550:
        assert outcome(reply) == (550, "5.7.1")
    else:
        text = results(octets(rig.queue.messages[0]))
        assert "dmarc=fail" in text
        assert ("suspicious" in text) == (author != b"a@watching.example")


async def test_quarantine_can_hold(tmp_path: Path) -> None:
    rig = house(tmp_path, {"dmarc.verify": "strict", "dmarc.quarantine": "hold"})
    await taken(rig, of(b"a@gentle.example"), "x@nowhere.test", address=STRANGE)
    (message,) = rig.queue.messages
    assert message.held == "DMARC fail of gentle.example, policy quarantine"
    assert rig.facts("queue.held")[0]["account_name"] == "auth"


@pytest.mark.parametrize("who", ["trusted", "submission", "skip-checks"])
async def test_who_is_not_checked(who: str, tmp_path: Path) -> None:
    access = {"a": {"action": "skip-checks", "client": [STRANGE]}} if who == "skip-checks" else {}
    rig = house(tmp_path, STRICT, access=access)
    if who == "trusted":
        client = await rig.trusted()
    else:
        client = await rig.stranger(address=STRANGE, role="mx" if who == "skip-checks" else "submission")
        client.account, client.account_emails = ("ann", ("@sender.example",)) if who == "submission" else (None, ())
    message = octets(await rig.deliver(client, MESSAGE))
    assert message.startswith(b"Received:")
    assert not any(id.startswith(("smtp.spf", "smtp.dkim", "smtp.dmarc")) for id in told(rig))


async def test_disabled_checks_look_at_nothing(tmp_path: Path) -> None:
    rig = house(tmp_path, dict.fromkeys([*STRICT, "iprev.verify"], "disabled"))
    message = await taken(rig, MESSAGE, address=STRANGE)
    assert message.startswith(b"Received:")


async def test_a_disabled_check_is_no_evidence_for_dmarc(tmp_path: Path) -> None:
    rig = house(tmp_path, {"dmarc.verify": "strict", "dkim.verify": "disabled"})
    text = results(await taken(rig, MESSAGE, address=STRANGE))
    assert "dmarc=none (DKIM is not checked here)" in text
    assert "dkim=" not in text


class Dead:
    """A resolver that never answers."""

    async def _wait(self, *_: object) -> Any:
        await asyncio.Event().wait()

    mx = addresses = txt = ptr = tlsa = _wait


async def test_a_dead_dns_server_costs_the_checks_and_not_the_mail(tmp_path: Path) -> None:
    rig = House(
        tmp_path,
        resolver=Dead(),
        auth=STRICT | {"timeout": "200ms"},
        rcpt={"relay-domains": ["far.example"]},
        known={"far": {"domains": ["far.example"], "check": "any"}},
    )
    async with asyncio.timeout(5):
        text = results(await taken(rig, signed(MESSAGE)))
    assert text.count("spf=temperror") == 2
    for method in ("iprev", "dkim", "dmarc"):
        assert f"{method}=temperror" in text


async def test_a_known_policy_and_an_unknown_key_ask_the_peer_to_wait(tmp_path: Path) -> None:
    names = {record_name("s", "sender.example"): {"TXT": TIMEOUT}}
    reply = await offer(house(tmp_path, {"dmarc.verify": "strict"}, names), signed(MESSAGE), "", address=STRANGE)
    assert outcome(reply) == (451, "4.7.1")


async def test_a_bug_in_a_check_is_recorded_and_the_mail_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(examine, "check_iprev", broken)
    monkeypatch.setattr(examine, "check_mail_from", broken)
    rig = house(tmp_path)
    text = results(await taken(rig, signed(MESSAGE)))
    assert "spf=temperror (internal error) smtp.mailfrom=a@sender.example" in text
    assert "iprev=temperror (internal error)" in text
    assert "dmarc=pass" in text
    assert rig.facts("smtp.handler-error")[0]["reason"] == "check spf-from: ZeroDivisionError: oh"
    reply = await offer(house(tmp_path / "strict", {"spf.verify.mail-from": "strict"}), MESSAGE)
    assert outcome(reply) == (451, "4.3.0")


FORGED = [
    "Authentication-Results: mx.relay.example; spf=pass",
    "authentication-results:\r\n\tmx.relay.example\r\n ; spf=pass",
    "Authentication-Results : MX.Relay.Example (really) 1; spf=pass",
    'Authentication-Results: "mx.relay.example"; spf=pass',
    "Authentication-Results: ｍｘ.relay.example; spf=pass",
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("auth", [{}, dict.fromkeys([*STRICT, "iprev.verify"], "disabled")])
async def test_forged_results_go_and_nothing_else_changes(forged: str, auth: dict[str, str], tmp_path: Path) -> None:
    kept = b"Authentication-Results: elsewhere.example; spf=pass\r\nX-Odd:  two  blanks \r\n"
    rig = house(tmp_path, auth)
    message = await taken(rig, kept + forged.encode() + b"\r\n" + MESSAGE)
    assert message.endswith(b"\r\n" + kept + MESSAGE)
    assert message.count(b"spf=pass") == 1 + message.count(b"spf=pass smtp.")


async def test_an_internationalised_name_of_ours_is_known_in_both_forms(tmp_path: Path) -> None:
    rig = house(tmp_path, {"id": "müller.example"})
    forged = [f"Authentication-Results: {id}; x=forged\r\n" for id in ("xn--mller-kva.example", "MÜLLER.example")]
    message = await taken(rig, "".join(forged).encode() + MESSAGE)
    assert results(message).startswith("xn--mller-kva.example; spf=pass")
    assert message.endswith(b"\r\n" + MESSAGE)
    assert b"x=forged" not in message


RELAY = {"session": {"trusted-relays": ["192.0.2.0/24"]}}
HOP = b"Received: from client.example ([203.0.113.5])\r\n\tby filter.example; Sat, 21 Nov 2026 08:00:00 +0000\r\n"


async def test_the_client_before_a_trusted_relay_is_the_one_that_is_checked(tmp_path: Path) -> None:
    rig = house(tmp_path, STRICT, **RELAY)
    inside = b"Authentication-Results: mx.relay.example; x-filter=pass\r\n"
    forged = b"Authentication-Results: mx.relay.example; x-filter=none\r\n"
    message = await taken(rig, inside + HOP + forged + MESSAGE, address="192.0.2.9", helo="filter.example")
    text = results(message)
    assert "spf=pass smtp.helo=client.example; spf=pass smtp.mailfrom=a@sender.example" in text
    assert "policy.iprev=203.0.113.5" in text
    assert "smtp.remote-ip=203.0.113.5" in text
    assert message.endswith(b"\r\n" + inside + HOP + MESSAGE)
    assert told(rig).index("smtp.spf-from-pass") > told(rig).index("smtp.rcpt-to")


async def test_a_relay_that_does_not_say_who_it_was(tmp_path: Path) -> None:
    rig = house(tmp_path, STRICT, **RELAY)
    text = results(await taken(rig, MESSAGE, address="192.0.2.9"))
    reason = "client before our relay not known: our relay wrote no Received field"
    assert text.count(f"spf=none ({reason})") == 2
    assert f"iprev=none ({reason})" in text
    assert "dmarc=none (SPF could not be checked" in text
    assert rig.facts("smtp.iprev-fail")[0]["result"].data() == {"details": reason}


async def test_a_stranger_on_a_unix_socket(tmp_path: Path) -> None:
    rig = house(tmp_path)
    assert "spf=none (the client has no address)" in results(await taken(rig, MESSAGE, address=None, uid=12345))


async def test_received_spf_where_it_is_wanted(tmp_path: Path) -> None:
    message = await taken(house(tmp_path, {"spf.received-field": True}), MESSAGE)
    names = [field.name for field in parts(message)[0].fields[:3]]
    assert names == ["Authentication-Results", "Received-SPF", "Received"]


@pytest.mark.parametrize("size", [200_000, MEMORY_LIMIT + 500_000])
async def test_a_long_body_is_hashed_in_a_thread(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    feed = BodyDigests.feed

    def watched(self: BodyDigests, octets: bytes) -> None:
        threads.add(threading.current_thread().name)
        feed(self, octets)

    content = signed(MESSAGE + b"0123456789 abcdef\r\n" * (size // 19))
    monkeypatch.setattr(BodyDigests, "feed", watched)
    message = await taken(house(tmp_path), content)
    assert "dkim=pass" in results(message)
    assert message.endswith(content)
    assert threads
    assert all(name.startswith("checks") for name in threads)


async def test_a_long_header_is_read_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    verifier = dkim_verify.Verifier

    def watched(*given: Any) -> Any:
        threads.add(threading.current_thread().name)
        return verifier(*given)

    monkeypatch.setattr(examine, "Verifier", watched)
    content = signed(b"X-Long: a\r\n" * 20_000 + b"Authentication-Results: mx.relay.example; spf=pass\r\n" + MESSAGE)
    message = await taken(house(tmp_path), content)
    assert "dkim=pass" in results(message)
    assert message.count(b"Authentication-Results") == 1
    assert {name[:6] for name in threads} == {"checks"}


async def test_a_body_that_takes_too_long_to_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = signed(MESSAGE + b"0123456789 abcdef\r\n" * 10_000)
    goes_on = threading.Event()
    monkeypatch.setattr(BodyDigests, "feed", lambda self, octets: goes_on.wait(20))
    rig = house(tmp_path, {"timeout": "200ms"})
    text = results(await taken(rig, content))
    goes_on.set()
    assert "dkim=temperror (not concluded)" in text


class Switch:
    """Fails until it is replaced."""

    async def _fail(self, *_: object) -> Answer[Any]:
        raise Temporary("down")

    mx = addresses = txt = ptr = tlsa = _fail


async def test_a_reload_replaces_the_resolver(tmp_path: Path) -> None:
    rig = House(
        tmp_path,
        resolver=Switch(),
        rcpt={"relay-domains": ["far.example"]},
        known={"far": {"domains": ["far.example"], "check": "any"}},
    )
    assert "spf=temperror" in results(await taken(rig, MESSAGE))
    rig.reception.reconfigure(rig.reception.policy, Zone(NAMES))
    assert "spf=temperror" not in results(await taken(rig, MESSAGE))


SEALED = {"signatures": signatures("relay.example")}
SEAL_KEYS: dict[str, dict[str, Records]] = {record_name("rsa", "relay.example"): {"TXT": [key("rsa").record()]}}


async def test_mail_that_is_passed_on_is_sealed(tmp_path: Path) -> None:
    rig = house(tmp_path, {"arc.seal": "rsa"}, SEAL_KEYS, **SEALED, **RELAY)
    content = signed(MESSAGE)
    forged = b"Authentication-Results: mx.relay.example; x=forged\r\n"
    message = await taken(rig, forged + content)
    names = [field.name for field in parts(message)[0].fields[:5]]
    assert names == [
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
        "Authentication-Results",
        "Received",
    ]
    assert message.endswith(b"\r\n" + content)
    found = chain(message, Zone(SEAL_KEYS))
    assert (found.result, found.oldest_pass, found.sets[0].domain) == ("pass", 0, "relay.example")
    assert found.sets[0].dmarc == "pass"
    again = await taken(rig, message)
    assert "arc=pass (i=1)" in "".join(field.value.decode() for field in parts(again)[0].fields[3:4])
    assert len(chain(again, Zone(SEAL_KEYS)).sets) == 2


async def test_trusted_mail_is_not_sealed(tmp_path: Path) -> None:
    rig = house(tmp_path, {"arc.seal": "rsa"}, **SEALED)
    message = octets(await rig.deliver(await rig.trusted(), MESSAGE))
    assert b"ARC-Seal" not in message


async def test_a_seal_whose_key_cannot_be_read_defers(tmp_path: Path) -> None:
    records = {"rsa": SignatureOptions(private_key=PrivateKey(path="/nowhere"), domain="relay.example", selector="rsa")}
    rig = house(tmp_path, {"arc.seal": "rsa"}, signatures=records)
    assert (await offer(rig, MESSAGE)).code == 451
