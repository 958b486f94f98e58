"""Whose mail is signed, with what, and what becomes of it when a key cannot be read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relayd.mailauth.findings import Result
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.mailauth.signing_key import KeyUnreadable, record_name
from relayd.options import Raw
from relayd.reception.body import MEMORY_LIMIT
from tests.mailauth.signing import DOMAIN, key, pem, verified, zone
from tests.reception.house import NOW, House, octets, outcome
from tests.rig.signing import signatures, signing_with

MESSAGE = b"From: Ann <ann@example.org>\r\nTo: b@far.example\r\nSubject: hello\r\n\r\nA line.\r\n"
ACCOUNT: dict[str, Raw] = {"secret": "secret", "emails": ["ann@example.org", "@two.example"], "type": "individual"}


def house(tmp_path: Path, records: dict[str, SignatureOptions] | None = None, **given: Any) -> House:
    return House(tmp_path, {"ann": ACCOUNT}, signatures=signatures() if records is None else records, **given)


def passed(message: bytes, keys: Any = None) -> list[str]:
    """The selectors of good signatures."""
    return [each.selector for each in verified(message, keys, now=NOW) if each.result is Result.PASS]


def signature(domain: str, selector: str = "rsa", **given: Any) -> SignatureOptions:
    return SignatureOptions(private_key=PrivateKey(pem=pem("rsa")), domain=domain, selector=selector, **given)


async def test_a_trusted_message_gets_every_signature_of_its_author_domain(tmp_path: Path) -> None:
    it = house(tmp_path)
    message = await it.deliver(await it.trusted(), MESSAGE)
    content = octets(message)
    assert passed(content) == ["rsa", "ed25519"]
    assert content.startswith(b"DKIM-Signature:")
    assert content.endswith(MESSAGE)
    assert not message.body.signed  # so that it may still be converted, and signed again
    assert [(each["domain"], each["id"]) for each in it.facts("signing.signed")] == [
        (DOMAIN, "rsa"),
        (DOMAIN, "ed25519"),
    ]


async def test_a_stranger_is_never_signed(tmp_path: Path) -> None:
    known = {"all": {"domains": ["far.example"], "check": "any"}}
    it = house(tmp_path, rcpt={"relay-domains": ["far.example"]}, known=known)
    message = await it.deliver(await it.stranger(), MESSAGE)
    assert octets(message).startswith(b"Received:")
    assert b"DKIM-Signature" not in octets(message)


@pytest.mark.parametrize(
    ("author", "signed"),
    [("ann@example.org", True), ("other@EXAMPLE.org", True), ("x@elsewhere.example", False)],
)
async def test_an_account_signs_for_the_domains_of_its_addresses(tmp_path: Path, author: str, signed: bool) -> None:
    records = signatures() | {"else": signature("elsewhere.example")}
    it = house(tmp_path, records, submission={"match-author": False})
    client = await it.trusted(account="ann")
    content = octets(await it.deliver(client, MESSAGE.replace(b"ann@example.org", author.encode()), sender=""))
    assert (b"DKIM-Signature" in content) is signed
    assert len(it.facts("signing.not-signed")) == (not signed)


@pytest.mark.parametrize(
    "author",
    [
        b"From: a@example.org\r\nFrom: b@example.org",
        b"From: a@example.org, b@other.example",
        b"From: nobody",
        b"X-A: b",
    ],
)
async def test_without_one_author_domain_nothing_is_signed(tmp_path: Path, author: bytes) -> None:
    it = house(tmp_path)
    content = octets(await it.deliver(await it.trusted(), MESSAGE.replace(b"From: Ann <ann@example.org>", author)))
    assert b"DKIM-Signature" not in content


async def test_what_is_signed_is_what_is_sent(tmp_path: Path) -> None:
    """Bcc taken out, Date and Message-ID put in, the table applied; then signed."""
    rewrite = {"1": {"from": "sales@example.org", "add": ["X-Route: internal"]}}
    it = house(tmp_path, rewrite=rewrite)
    given = MESSAGE.replace(b"ann@example.org", b"ann@inside.example").replace(
        b"\r\n\r\n", b"\r\nBcc: c@d.example\r\n\r\n"
    )
    content = octets(await it.deliver(await it.trusted(), given))
    assert passed(content) == ["rsa", "ed25519"]
    assert b"sales@example.org" in content
    assert b"Bcc" not in content
    assert passed(content.replace(b"\r\nDate: ", b"\r\nDate: Mon, ")) == []
    assert passed(content.replace(b"Message-ID: <", b"Message-ID: <x")) == []


@pytest.mark.parametrize(
    "content",
    [
        b"\r\nNo header at all.\r\n",
        b"This is no field\r\nFrom: ann@example.org\r\n\r\nbody\r\n",
        b"From: ann@example.org\r\nSubject: no blank line\r\n",
        b"From: ann@example.org\r\n\r\n",
        b"From: ann@example.org\r\n\r\nno line end",
        b"From: ann@example.org",
    ],
)
async def test_messages_of_odd_form_are_verified_as_they_are_sent(tmp_path: Path, content: bytes) -> None:
    it = house(tmp_path)
    sent = octets(await it.deliver(await it.trusted(), content))
    assert sent.endswith(content)
    signed = content.startswith(b"From")
    assert passed(sent if sent.endswith(b"\r\n") else sent + b"\r\n") == (["rsa", "ed25519"] if signed else [])


async def test_text_on_top_is_all_body_whatever_is_added(tmp_path: Path) -> None:
    rewrite = {"1": {"add": ["From: ann@example.org"]}}
    it = house(tmp_path, rewrite=rewrite)
    content = b"This is no field\r\nX: y\r\n\r\nbody\r\n"
    sent = octets(await it.deliver(await it.trusted(), content))
    assert sent.endswith(b"From: ann@example.org\r\n\r\n" + content)
    assert passed(sent) == ["rsa", "ed25519"]


async def test_a_large_body_is_hashed_from_its_file(tmp_path: Path) -> None:
    it = house(tmp_path)
    large = MESSAGE + b"0123456789  abcdef \t x\r\n" * (MEMORY_LIMIT // 20)
    message = await it.deliver(await it.trusted(), large)
    assert isinstance(message.body.content, Path)
    assert passed(octets(message)) == ["rsa", "ed25519"]
    edited = await it.deliver(await it.trusted(), b"Bcc: x@y.example\r\n" + large)
    assert passed(octets(edited)) == ["rsa", "ed25519"]


async def test_a_signature_of_the_same_key_is_replaced_and_others_stay(tmp_path: Path) -> None:
    first = house(tmp_path / "1", {"rsa": signatures()["rsa"], "x": signature(DOMAIN, "x")})
    once = octets(await first.deliver(await first.trusted(), MESSAGE))
    second = house(tmp_path / "2", {"rsa": signatures()["rsa"]})
    message = await second.deliver(await second.trusted(), once)
    twice = octets(message)
    keys = zone({record_name("x", DOMAIN): [key("rsa").record()]})
    assert passed(twice, keys) == ["rsa", "x"]
    assert twice.count(b"DKIM-Signature:") == 2
    assert message.body.signed


async def test_without_its_key_mail_is_deferred_and_taken_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    record = SignatureOptions(private_key=PrivateKey(path=str(path)), domain=DOMAIN, selector="rsa")
    it = house(tmp_path, {"rsa": record})
    client = await it.trusted()
    tx = await it.begin(client)
    await it.rcpt(tx, "b@far.example")
    assert outcome(await it.send(tx, MESSAGE)) == (451, "4.3.0")
    assert it.queue.messages == []
    (fact,) = it.facts("signing.key-unreadable")
    assert (fact["id"], fact["domain"]) == ("rsa", DOMAIN)
    assert "No such file" in fact["reason"]
    other = await it.deliver(client, MESSAGE.replace(b"example.org", b"other.example"))  # of no concern
    assert b"DKIM-Signature" not in octets(other)
    path.write_text(pem("rsa"))
    it.reception._parts.signing.keyring._monotonic = lambda: 1e12
    assert passed(octets(await it.deliver(client, MESSAGE))) == ["rsa"]


async def test_our_own_mail_is_signed_by_the_nearest_domain() -> None:
    own = b"From: MAILER-DAEMON@mx.relay.example.org\r\nTo: a@b.example\r\nDate: x\r\n\r\nIt failed.\r\n"
    records = signatures() | {"far": signature("org.example"), "one": signature(DOMAIN, "one", accounts=("ann",))}
    signing = signing_with(records)
    assert passed(await signing.own(own, 1, NOW) + own) == ["rsa", "ed25519"]
    records["exact"] = signature("mx.relay.example.org", "exact")
    exact = await signing_with(records).own(own, 1, NOW) + own
    keys = zone({record_name("exact", "mx.relay.example.org"): [key("rsa").record()]})
    assert passed(exact, keys) == ["exact"]
    assert await signing_with({"far": signature("other.example")}).own(own, 1, NOW) == b""


async def test_our_own_mail_takes_the_key_as_it_was(tmp_path: Path) -> None:
    own = b"From: MAILER-DAEMON@example.org\r\n\r\nIt failed.\r\n"
    path = tmp_path / "key.pem"
    record = SignatureOptions(private_key=PrivateKey(path=str(path)), domain=DOMAIN, selector="rsa")
    with pytest.raises(KeyUnreadable):
        await signing_with({"rsa": record}).own(own, 1, NOW)
    path.write_text(pem("rsa"))
    signing = signing_with({"rsa": record})
    path.unlink()
    signing.keyring._monotonic = lambda: 1e12
    assert passed(await signing.own(own, 1, NOW) + own) == ["rsa"]


async def test_many_sign_at_once(tmp_path: Path) -> None:
    it = house(tmp_path)
    clients = [await it.trusted() for _ in range(20)]
    await asyncio.gather(*(it.deliver(each, MESSAGE) for each in clients))
    assert [passed(octets(each)) for each in it.queue.messages] == [["rsa", "ed25519"]] * 20
