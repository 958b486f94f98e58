"""ARC: chains that relayd seals, and what breaks them (RFC 8617 §5).  The public suite has the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from relayd.mailauth.arc import ChainVerifier
from relayd.mailauth.arc_seal import Sealable, Sealer, seal
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import want_signed
from relayd.mailauth.findings import Result
from relayd.mailauth.results import MethodResult
from relayd.mailauth.signature import FieldSelector
from relayd.mailauth.signing_key import KeyType
from relayd.resolver.answer import Resolver
from relayd.resolver.zone import TIMEOUT
from tests.mailauth import signing
from tests.mailauth.signing import DOMAIN, MESSAGE, NOW, chain, signed

DMARC_PASS = MethodResult(method="dmarc", result="pass", properties=(("header", "from", DOMAIN),))
SEALER = Sealer(authserv_id="mx.example.org", domain=DOMAIN, selector="rsa")


def sealed(
    message: bytes,
    types: Sequence[KeyType] = ("rsa",),
    *,
    results: tuple[MethodResult, ...] = (DMARC_PASS,),
    resolver: Resolver | None = None,
    domain: str = DOMAIN,
) -> bytes | None:
    """The message with one set more for each key; None when one was not added."""
    for type in types:
        header, octets = signing.parts(message)
        body = BodyDigests()
        want_signed(body)
        verifier = ChainVerifier(FieldSelector(header), body)
        signing.digests(body, octets)
        finding = signing.done(verifier.finish(resolver or signing.zone(), NOW))
        sealer = Sealer(authserv_id="mx.example.org", domain=domain, selector=type)
        found = seal(Sealable(header=header, body=body, chain=finding, results=results), sealer, signing.key(type), NOW)
        if found is None:
            return None
        message = found + message
    return message


def surely(message: bytes | None) -> bytes:
    assert message is not None
    return message


def test_a_message_without_sets() -> None:
    finding = chain(MESSAGE)
    assert (finding.result, finding.sets, finding.oldest_pass) == (Result.NONE, (), None)


def test_a_chain_of_three() -> None:
    message = surely(sealed(signed(MESSAGE), ("rsa", "ed25519", "rsa")))
    finding = chain(message)
    assert (finding.result, finding.oldest_pass, finding.problem) == (Result.PASS, 0, "")
    assert [(each.instance, each.domain, each.selector, each.dmarc) for each in finding.sets] == [
        (1, DOMAIN, "rsa", Result.PASS),
        (2, DOMAIN, "ed25519", Result.PASS),
        (3, DOMAIN, "rsa", Result.PASS),
    ]


def test_the_set_that_is_added() -> None:
    message = surely(sealed(signed(MESSAGE)))
    seal_field, signature, results = signing.parts(message)[0].fields[:3]
    assert (seal_field.name, signature.name, results.name) == (
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
    )
    assert results.value == b"i=1; mx.example.org;\tdmarc=pass header.from=example.org"
    assert b"cv=none" in seal_field.raw
    assert not re.search(rb"\bh=", seal_field.raw)
    names = re.sub(rb"\s", b"", signature.raw).split(b"h=")[1].split(b";")[0].split(b":")
    assert {b"From", b"To", b"Subject", b"Date", b"Message-ID", b"DKIM-Signature"} == set(names)
    for line in message.partition(b"DKIM-Signature: v")[0].split(b"\r\n"):
        assert len(line.expandtabs()) <= 78


def test_a_seal_over_a_broken_chain_says_so_and_ends_it() -> None:
    message = surely(sealed(MESSAGE)).replace(b"Bye.", b"Bye!")
    assert chain(message).result is Result.FAIL
    marked = surely(sealed(message))
    assert b"cv=fail" in marked
    finding = chain(marked)
    assert (finding.result, finding.sealed) == (Result.FAIL, True)
    assert sealed(marked) is None


BREAKS = {
    rb"(ARC-Seal: i=2.*?)cv=pass": (rb"\1cv=none", "arc.invalid-cv"),
    rb"(ARC-Seal: i=1.*?)cv=none": (rb"\1cv=pass", "arc.invalid-cv"),
    rb"ARC-Seal: i=2": (rb"ARC-Seal: h=from; i=2", "arc.has-header-tag"),
    rb"ARC-Seal: i=2;": (rb"ARC-Seal: i=51;", "arc.invalid-instance"),
    rb"ARC-Seal: i=1;": (rb"ARC-Seal: i=0;", "arc.invalid-instance"),
    rb"(ARC-Authentication-Results: )i=1;": (rb"\1i=3;", "arc.broken-chain"),
    rb"(ARC-Authentication-Results: )i=1; ": (rb"\1", "arc.invalid-instance"),
    rb"ARC-Authentication-Results: i=1;.*?example.org\r\n": (rb"", "arc.broken-chain"),
    rb"(ARC-Authentication-Results: i=1;.*?)pass": (rb"\1fail", "arc.broken-chain"),
    rb"(ARC-Message-Signature: i=1)": (rb"\1; x=1", "arc.broken-chain"),
    rb"(ARC-Message-Signature: i=2)": (rb"\1; x=1", "arc.broken-chain"),
    rb"(ARC-Message-Signature: i=2.*?h=From)": (rb"\1:arc-seal", "arc.broken-chain"),
    rb"(ARC-Seal: i=2.*?)rsa-sha256": (rb"\1rsa-sha1", "arc.broken-chain"),
    rb"Subject: ": (rb"Subject: x", "arc.broken-chain"),
    rb"(ARC-Seal: i=2)": (rb"ARC-Seal: i=2; d=x\r\n\1", "arc.broken-chain"),
}


@pytest.mark.parametrize("pattern", BREAKS, ids=lambda pattern: pattern.decode())
def test_what_breaks_a_chain(pattern: bytes) -> None:
    message = surely(sealed(MESSAGE, ("ed25519", "rsa")))
    by, cause = BREAKS[pattern]
    broken = re.sub(pattern, by, message, count=1, flags=re.S)
    assert broken != message
    finding = chain(broken)
    assert (finding.result, finding.cause, finding.oldest_pass) == (Result.FAIL, cause, None)


def test_dns_trouble_is_no_failure_and_stops_sealing() -> None:
    message = surely(sealed(MESSAGE))
    zone = signing.zone({f"rsa._domainkey.{DOMAIN}": TIMEOUT})
    finding = chain(message, zone)
    assert (finding.result, finding.cause) == (Result.TEMPERROR, "mail-auth.dns-error")
    assert sealed(message, resolver=zone) is None
    assert chain(message, signing.zone({f"rsa._domainkey.{DOMAIN}": ["v=DKIM1; p="]})).result is Result.FAIL


def test_fifty_sets_and_no_more() -> None:
    message = surely(sealed(MESSAGE, ("ed25519",) * 50))
    finding = chain(message)
    assert (finding.result, len(finding.sets)) == (Result.PASS, 50)
    assert sealed(message) is None
    assert chain(b"ARC-Seal: i=51\r\n" + message).cause == "arc.chain-too-long"


def test_older_message_signatures_may_be_broken() -> None:
    message = surely(sealed(MESSAGE))
    changed = message.replace(b"Bye.", b"Bye, bye.")
    # whoever changed it vouches for what it was before, as a list does
    header, octets = signing.parts(changed)
    body = BodyDigests()
    want_signed(body)
    signing.digests(body, octets)
    was = chain(message)
    found = seal(Sealable(header=header, body=body, chain=was, results=()), SEALER, signing.key(), NOW)
    finding = chain(surely(found) + changed)
    assert (finding.result, finding.oldest_pass) == (Result.PASS, 2)


def test_names_to_ask_for_come_from_the_newest_sets() -> None:
    header, _ = signing.parts(surely(sealed(MESSAGE, ("rsa", "ed25519"))))
    verifier = ChainVerifier(FieldSelector(header), BodyDigests())
    assert verifier.key_names == (f"ed25519._domainkey.{DOMAIN}", f"rsa._domainkey.{DOMAIN}")
    assert verifier.finding.result is Result.TEMPERROR
