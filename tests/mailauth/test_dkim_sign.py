"""Signing: who signs, what is covered, how the field looks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mail.header import HeaderBlock
from relayd.mailauth.dkim_sign import GRACE, NEVER, expiry, quoted_identity, signers
from relayd.mailauth.findings import Result
from relayd.mailauth.signature import FieldSelector, dkim_signature, read_tags
from relayd.mailauth.tags import Tags
from tests.mailauth import signing
from tests.mailauth.signing import MESSAGE, NOW, rule, signed, verified


def tags_of(message: bytes) -> Tags:
    header, _ = signing.parts(message)
    return read_tags(header.fields[0])


def covered(message: bytes) -> list[str]:
    return list(tags_of(message).words("h"))


def test_the_tags() -> None:
    tags = tags_of(signed(MESSAGE, now=NOW + 0.9))
    assert (tags.text("v"), tags.text("a"), tags.text("c")) == ("1", "rsa-sha256", "relaxed/relaxed")
    assert (tags.text("d"), tags.text("s"), tags.text("t")) == ("example.org", "rsa", str(int(NOW)))
    for absent in ("l", "x", "i", "q", "z"):
        assert absent not in tags


def test_one_field_for_each_key() -> None:
    message = signed(MESSAGE, rule("rsa"), rule("ed25519"))
    assert [each.result for each in verified(message)] == [Result.PASS, Result.PASS]
    assert message.count(b"DKIM-Signature:") == 2


def test_what_is_covered() -> None:
    names = covered(
        signed(
            b"Received: x\r\nReturn-Path: <a@example.org>\r\nAuthentication-Results: x\r\nDKIM-Signature: x\r\n"
            b"subject: one\r\nSubject: two\r\nFrom: a@example.org\r\nList-Unsubscribe: <u>\r\nX-Other: y\r\n"
            b"List-Unsubscribe-Post: One-Click\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
            b"Content-Transfer-Encoding: 8bit\r\nMessage-ID: <1@x>\r\nReply-To: b@example.org\r\n\r\n"
        )
    )
    # oversigned: as often as it occurs and once more (issue: From, To, Cc, Subject, Date, Reply-To)
    assert {name: names.count(name) for name in names} == {
        "From": 2,
        "To": 1,
        "Cc": 1,
        "Subject": 3,
        "Date": 1,
        "Message-ID": 1,
        "Reply-To": 2,
        "MIME-Version": 1,
        "Content-Type": 1,
        "Content-Transfer-Encoding": 1,
        "List-Unsubscribe": 1,
        "List-Unsubscribe-Post": 1,
    }


@pytest.mark.parametrize("name", [b"From", b"To", b"Cc", b"Subject", b"Date", b"Reply-To", b"Message-ID"])
def test_nobody_can_add_an_oversigned_field(name: bytes) -> None:
    # Message-ID is not oversigned, but one that is there cannot be replaced either
    (finding,) = verified(b"%b: <x@example.net>\r\n" % name + signed(MESSAGE))
    expected = {b"From": Result.FAIL, b"Message-ID": Result.PASS}.get(name, Result.FAIL)
    assert finding.result is expected


def test_fields_of_the_rule_are_added_but_never_those_that_must_not() -> None:
    message = b"X-Own: 1\r\n" + MESSAGE
    names = covered(signed(message, rule(headers=("x-own", "from", "received", *NEVER))))
    assert names.count("x-own") == 1
    assert names.count("From") + names.count("from") == 2
    assert not NEVER.intersection(name.lower() for name in names)


def test_expiry_and_identity() -> None:
    tags = tags_of(signed(MESSAGE, rule(expire=86400.0, identity="jörg;=x@sub.example.org")))
    assert tags.number("x", 12) == int(NOW) + 86400
    signature = dkim_signature(tags)
    assert (signature.identity, signature.identity_domain) == ("jörg;=x@sub.example.org", "sub.example.org")


def test_a_signature_outlives_the_queue() -> None:
    assert expiry(None, 5 * 86400.0) is None
    assert expiry(86400.0, 5 * 86400.0) == 5 * 86400.0 + GRACE
    assert expiry(90 * 86400.0, 5 * 86400.0) == 90 * 86400.0


def test_lines_are_short() -> None:
    header = b"".join(b"To: x%d@example.org\r\n" % n for n in range(50))
    for line in (
        signed(header + b"\r\n", rule(identity="@example.org"), rule("ed25519")).partition(b"To: ")[0].split(b"\r\n")
    ):
        assert len(line.expandtabs()) <= 78


def test_long_names_make_long_lines_and_hold() -> None:
    long = rule(domain=".".join(["d" * 60] * 3 + ["example"]), selector="s" * 40)
    name = f"{long.selector}._domainkey.{long.domain}"
    (finding,) = verified(signed(MESSAGE, long), signing.zone({name: [signing.key().record()]}))
    assert finding.result is Result.PASS


FIELDS = st.sampled_from(
    [
        b"From: a@b.example\r\n",
        b"from:\r\n c@b.example\r\n",
        b"Subject: \xc3\xa9 \t x\r\n\t \r\n y\r\n",
        b"no field\r\n",
        b"To : \r\n",
        b"DATE:\tx\r\n",
        b"X: y\r\n",
        b"Content-Type: \r\n a\r\n",
    ]
)


@given(st.lists(FIELDS, max_size=8).map(b"".join), st.binary(max_size=60))
def test_whatever_is_signed_verifies(header: bytes, body: bytes) -> None:
    message = signed(header + b"\r\n" + body, rule("ed25519"))
    assert [each.result for each in verified(message)] == [Result.PASS]


@given(st.text(max_size=20))
def test_identities_come_back(local: str) -> None:
    quoted = quoted_identity(local + "@example.org")
    assert re.fullmatch(r"[!-:<>-~=]*", quoted)
    if local.isprintable() and "\ud800" not in local:
        field = signing.parts(signed(MESSAGE, rule(identity=local + "@example.org")))[0].fields[0]
        assert dkim_signature(read_tags(field)).identity == local + "@example.org"


OWN = rule()
ESP = rule("ed25519", domain="esp.example", authors=("*",), return_paths=("bounce.esp.example", ""))
SUB = rule(authors=("*.example.org", "other.example"), accounts=("joe", "ann"))


@pytest.mark.parametrize(
    ("author", "return_path", "account", "expected"),
    [
        ("example.org", "x@anywhere.example", None, [OWN]),
        ("EXAMPLE.ORG.", "x@anywhere.example", None, [OWN]),
        ("example.com", "x@example.org", "joe", []),
        ("", "x@bounce.esp.example", "joe", []),
        ("example.org", "x@BOUNCE.esp.example", None, [OWN, ESP]),
        ("example.com", "x@bounce.esp.example", None, [ESP]),
        ("example.com", "x@esp.example", None, []),
        ("example.com", "", None, [ESP]),
        ("sub.example.org", "x@y.example", "joe", [SUB]),
        ("sub.example.org", "x@y.example", "eve", []),
        ("sub.example.org", "x@y.example", None, []),
        ("other.example", "x@y.example", "ann", [SUB]),
        ("notexample.org", "x@y.example", "ann", []),
    ],
)
def test_who_signs(author: str, return_path: str, account: str | None, expected: list[object]) -> None:
    assert list(signers(author, return_path, account, [OWN, ESP, SUB])) == expected


def test_a_rule_does_not_sign_for_names_below_its_domain_by_itself() -> None:
    assert signers("sub.example.org", "", None, [OWN]) == ()


def test_domains_of_other_scripts() -> None:
    assert signers("MÜLLER.example", "", None, [rule(domain="xn--mller-kva.example")])
    header = HeaderBlock.parse(b"From: x\r\n")
    assert FieldSelector(header).named("from")
    tags = tags_of(signed(MESSAGE, rule(domain="müller.example")))
    assert tags.text("d") == "xn--mller-kva.example"
