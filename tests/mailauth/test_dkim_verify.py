"""Verification of DKIM signatures: every rule of RFC 6376 §6.1, 8301 and 8463, by what it makes of a message."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relayd.mail.header import HeaderBlock
from relayd.mailauth.canonical import BodyDigests, Canonical, canonical_field
from relayd.mailauth.dkim_verify import Verifier, VerifyRules
from relayd.mailauth.findings import DkimFinding, Result
from relayd.mailauth.signature import FieldSelector
from relayd.resolver.zone import FORGED, TIMEOUT
from tests.mailauth import signing
from tests.mailauth.signing import DOMAIN, MESSAGE, NOW, rule, signed, verified

KEY_NAME = f"rsa._domainkey.{DOMAIN}"
RSA_RECORD = signing.key("rsa").record()


def only(findings: tuple[DkimFinding, ...]) -> DkimFinding:
    assert len(findings) == 1
    return findings[0]


def by_hand(
    tags: str, *, body: bytes = b"Hi.\r\n", header: bytes = b"From: a@example.org\r\n", key: str = "rsa"
) -> bytes:
    """A message whose signature has exactly these tags, `BH` and the signature filled in; relaxed header."""
    digests = BodyDigests()
    for form in Canonical:
        digests.want(form)
    signing.digests(digests, body)
    form = Canonical.RELAXED if "/relaxed" in tags else Canonical.SIMPLE
    digest = digests.digest(form)
    assert digest is not None
    tags = tags.replace("BH", base64.b64encode(digest).decode())
    field = f"DKIM-Signature: {tags}; b=".encode()
    names = re.search(r"h=([^;]*)", tags)
    selector = FieldSelector(HeaderBlock.parse(header))
    covered = selector.signed((names[1] if names else "").strip().lower().split(":"), Canonical.RELAXED)
    hash = hashlib.sha256(b"".join(covered) + canonical_field(field + b"\r\n", Canonical.RELAXED)[:-2]).digest()
    made = signing.key("rsa" if key == "rsa" else "ed25519").sign(hash)
    return field + base64.b64encode(made) + b"\r\n" + header + b"\r\n" + body


TAGS = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=rsa; h=from; bh=BH"


def test_both_algorithms_pass() -> None:
    message = signed(MESSAGE, rule("rsa"), rule("ed25519", identity="joe@sub.example.org"))
    one, two = verified(message)
    assert (one.result, one.domain, one.selector, one.algorithm, one.bits) == (
        Result.PASS,
        DOMAIN,
        "rsa",
        "rsa-sha256",
        2048,
    )
    assert one.identity == "@example.org"
    assert one.signature == message.split(b"\tb=")[1][:8].decode()
    assert (two.result, two.algorithm, two.identity) == (Result.PASS, "ed25519-sha256", "joe@sub.example.org")
    assert two.problem == two.cause == ""
    assert len(two.steps) == 3


def test_an_unsigned_message_has_no_finding() -> None:
    assert verified(MESSAGE) == ()


@pytest.mark.parametrize(
    ("changed", "by", "result", "cause"),
    [
        (b"Bye.", b"Bye!", Result.FAIL, "dkim.failed-body-hash-match"),
        (b"Blanks  and", b"Spaces and", Result.FAIL, "dkim.failed-verification"),
        (b"\r\n\r\nHello", b"\r\nCc: me@example.org\r\n\r\nHello", Result.FAIL, "dkim.failed-verification"),
        (b"\r\nSubject:", b"\r\nSubject: another\r\nSubject:", Result.FAIL, "dkim.failed-verification"),
        (b"From: Joe", b"From: me@example.org\r\nFrom: Joe", Result.FAIL, "dkim.failed-verification"),
        # what must not matter
        (b"Received: from elsewhere", b"Received: from here", Result.PASS, ""),
        (b"Blanks  and\ttabs \r\n", b"Blanks\r\n and  tabs\r\n", Result.PASS, ""),
        (b"Hello there, \t this", b"Hello there, this", Result.PASS, ""),
        (b"Bye.\r\n", b"Bye.\t\r\n\r\n", Result.PASS, ""),
        (b"\r\nSubject:", b"\r\nsUBJECT :", Result.PASS, ""),
    ],
)
def test_what_changes_on_the_way(changed: bytes, by: bytes, result: Result, cause: str) -> None:
    message = signed(MESSAGE)
    assert changed in message
    finding = only(verified(message.replace(changed, by, 1)))
    assert (finding.result, finding.cause) == (result, cause)


REFUSED = {
    "v=2; a=rsa-sha256; d=example.org; s=rsa; h=from; bh=BH": (Result.NEUTRAL, "dkim.unsupported-version"),
    "a=rsa-sha256; d=example.org; s=rsa; h=from; bh=BH": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS.replace("rsa-sha256", "rsa-sha1"): (Result.PERMERROR, "dkim.incompatible-algorithms"),
    TAGS.replace("rsa-sha256", "rsa-sha512"): (Result.NEUTRAL, "dkim.unsupported-algorithm"),
    TAGS.replace("relaxed/relaxed", "relaxed/nowsp"): (Result.NEUTRAL, "dkim.unsupported-canonicalization"),
    TAGS.replace("h=from", "h=to:subject"): (Result.PERMERROR, "mail-auth.missing-parameters"),
    TAGS.replace("; h=from", ""): (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS.replace("d=example.org", "d=org"): (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS.replace("bh=BH", "bh=AAAA"): (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS.replace("bh=BH", "bh=" + base64.b64encode(bytes(32)).decode()): (Result.FAIL, "dkim.failed-body-hash-match"),
    TAGS + "; i=@elsewhere.org": (Result.PERMERROR, "dkim.failed-auid-match"),
    TAGS + "; i=@notexample.org": (Result.PERMERROR, "dkim.failed-auid-match"),
    TAGS + "; i=example.org": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS + "; q=dns/other": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS + "; t=100; x=100": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS + "; x=1699999999": (Result.POLICY, "dkim.signature-expired"),
    TAGS + "; l=99": (Result.FAIL, "dkim.failed-body-hash-match"),
    TAGS + "; l=-1": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS + "; t=soon": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS + "; d=example.org": (Result.NEUTRAL, "mail-auth.parse-error"),
    TAGS.replace("s=rsa", "s=" + ".".join(["a" * 60] * 4)): (Result.PERMERROR, "mail-auth.parse-error"),
    TAGS.replace("s=rsa", "s=ed25519"): (Result.PERMERROR, "dkim.incompatible-algorithms"),
    TAGS.replace("s=rsa", "s=other"): (Result.PERMERROR, "mail-auth.dns-record-not-found"),
}


@pytest.mark.parametrize("tags", REFUSED)
def test_signatures_that_do_not_count(tags: str) -> None:
    finding = only(verified(by_hand(tags)))
    assert (finding.result, finding.cause) == REFUSED[tags]
    assert finding.problem
    assert finding.steps[-1] == finding.problem


@pytest.mark.parametrize(
    "tags",
    [
        TAGS,
        TAGS + "; i=@example.org; q=dns/other:dns/txt; t=99999999999; x=999999999999; z=From:x; unknown=1",
        TAGS + "; i=joe=40home@a.b.EXAMPLE.org",
        TAGS.replace("relaxed/relaxed", "relaxed"),
        TAGS.replace("h=from", "h=from:from:cc:x-none"),
        TAGS.replace("d=example.org", "d=EXAMPLE.ORG") + "; l=5",
    ],
)
def test_signatures_that_count(tags: str) -> None:
    assert only(verified(by_hand(tags))).result is Result.PASS


def test_blanks_around_everything() -> None:
    message = by_hand(TAGS.replace("; ", "\t;\r\n\t").replace("=rsa;", "= rsa ;"))
    head, end, tail = message.rpartition(b"; b=")
    signature, crlf, rest = tail.partition(b"\r\n")
    folded = b"\r\n\t".join(signature[at : at + 30] for at in range(0, len(signature), 30))
    assert only(verified(head + end + b" " + folded + b"\r\n " + crlf + rest)).result is Result.PASS


def test_simple_headers_must_stay_as_they_are() -> None:
    # RFC 6376 §3.4.1: not even the folding of the signature's own field may change
    message = (
        b"DKIM-Signature: v=1; a=ed25519-sha256; c=simple/simple; d=example.org;\r\n s=ed25519; h=From; bh=BH; b=\r\n"
        b"From: a@example.org\r\n\r\nHi.\r\n"
    )
    message = message.replace(b"BH", base64.b64encode(hashlib.sha256(b"Hi.\r\n").digest()))
    field, _, rest = message.partition(b"\r\nFrom")
    made = signing.key("ed25519").sign(hashlib.sha256(b"From: a@example.org\r\n" + field).digest())
    message = field + base64.b64encode(made) + b" \r\nFrom" + rest
    assert only(verified(message)).result is Result.PASS
    assert only(verified(message.replace(b";\r\n s=", b"; s="))).cause == "dkim.failed-verification"
    assert only(verified(message.replace(b"From: a", b"From:  a"))).cause == "dkim.failed-verification"


def test_length_counts_and_may_be_refused() -> None:
    message = by_hand(TAGS + "; l=5") + b"added\r\n"
    finding = only(verified(message))
    assert (finding.result, finding.unsigned_octets) == (Result.PASS, 7)
    refused = only(verified(message, rules=VerifyRules(refuse_length=True)))
    assert (refused.result, refused.cause) == (Result.POLICY, "dkim.signature-length")


def test_a_second_from_must_be_signed() -> None:
    message = by_hand(TAGS).replace(b"From:", b"From: other@example.net\r\nFrom:")
    assert only(verified(message)).result is Result.POLICY


def test_expiry_is_that_of_the_moment() -> None:
    message = signed(MESSAGE, rule(expire=100.0))
    assert only(verified(message, now=NOW + 100)).result is Result.PASS
    assert only(verified(message, now=NOW + 101)).cause == "dkim.signature-expired"


KEYS = {
    (RSA_RECORD + "; t=y",): (Result.PASS, ""),
    (RSA_RECORD + "; t=s",): (Result.PERMERROR, "dkim.failed-auid-match"),
    (RSA_RECORD + "; s=email",): (Result.PASS, ""),
    (RSA_RECORD + "; s=tlsrpt",): (Result.PERMERROR, "dkim.unsupported-key-type"),
    (RSA_RECORD.replace("h=sha256", "h=sha1"),): (Result.PERMERROR, "dkim.incompatible-algorithms"),
    ("v=DKIM1; p=",): (Result.PERMERROR, "dkim.revoked-public-key"),
    ("nonsense",): (Result.PERMERROR, "mail-auth.parse-error"),
    # several records: one that holds is enough, and what is said of a key counts for more than that one is none
    ("nonsense", RSA_RECORD): (Result.PASS, ""),
    (RSA_RECORD + "; t=s", RSA_RECORD): (Result.PASS, ""),
    ("nonsense", "v=DKIM1; p="): (Result.PERMERROR, "mail-auth.parse-error"),
    ("nonsense", "nonsense", "nonsense", "nonsense", RSA_RECORD): (Result.PERMERROR, "mail-auth.parse-error"),
    TIMEOUT: (Result.TEMPERROR, "mail-auth.dns-error"),
    FORGED: (Result.TEMPERROR, "mail-auth.dns-error"),
}


@pytest.mark.parametrize("records", KEYS, ids=range(len(KEYS)))
def test_keys(records: str | tuple[str, ...]) -> None:
    message = signed(MESSAGE, rule(identity="@sub.example.org"))
    finding = only(verified(message, signing.zone({KEY_NAME: records})))
    assert (finding.result, finding.cause) == KEYS[records]


def test_a_testing_domain_does_not_fare_worse_than_an_unsigned_message() -> None:
    # RFC 6376 §3.6.1, t=y
    zone = signing.zone({KEY_NAME: [RSA_RECORD + "; t=y"]})
    finding = only(verified(signed(MESSAGE).replace(b"Subject: ", b"Subject: x"), zone))
    assert (finding.result, finding.testing) == (Result.NEUTRAL, True)


def test_weak_keys_do_not_count() -> None:
    # RFC 8301 §3.2: 1024 bits at least, whatever the rules say
    der = (
        rsa.RSAPublicNumbers(65537, (1 << 1022) + 1)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    zone = signing.zone({KEY_NAME: ["p=" + base64.b64encode(der).decode()]})
    finding = only(verified(signed(MESSAGE), zone, rules=VerifyRules(minimum_bits=512)))
    assert (finding.result, finding.bits) == (Result.POLICY, 1023)
    assert only(verified(signed(MESSAGE), rules=VerifyRules(minimum_bits=4096))).result is Result.POLICY


def test_no_key_is_asked_for_a_body_that_changed() -> None:
    zone = signing.zone({KEY_NAME: TIMEOUT})
    assert only(verified(signed(MESSAGE) + b"more\r\n", zone)).result is Result.FAIL


def test_only_so_many_signatures_are_looked_at() -> None:
    header, octets = signing.parts(b"DKIM-Signature: x\r\n" * 12 + signed(MESSAGE))
    body = BodyDigests()
    verifier = Verifier(FieldSelector(header), body, VerifyRules(signatures=5))
    signing.digests(body, octets)
    assert [each.result for each in signing.done(verifier.finish(signing.zone(), NOW))] == [Result.NEUTRAL] * 5
    assert verifier.unseen == 8


def test_before_it_is_concluded() -> None:
    header, _ = signing.parts(signed(MESSAGE, rule("rsa"), rule("ed25519"), rule("rsa")))
    verifier = Verifier(FieldSelector(header), BodyDigests())
    assert verifier.key_names == (KEY_NAME, f"ed25519._domainkey.{DOMAIN}")
    assert {each.result for each in verifier.findings} == {Result.TEMPERROR}


def test_names_of_other_scripts() -> None:
    # RFC 8616: the key is looked for at the A-labels
    zone = signing.zone({"rsa._domainkey.xn--mller-kva.example": [RSA_RECORD]})
    message = by_hand(TAGS.replace("d=example.org", "d=müller.example") + "; i=jörg@müller.example")
    finding = only(verified(message, zone))
    assert (finding.result, finding.domain) == (Result.PASS, "xn--mller-kva.example")
    assert finding.identity == "jörg@xn--mller-kva.example"


def test_a_signature_may_cover_others_but_never_itself() -> None:
    inner = signed(MESSAGE)
    header, octets = signing.parts(inner)
    selector = FieldSelector(header)
    own = header.fields[0]
    assert selector.signed(["dkim-signature", "dkim-signature"], Canonical.SIMPLE, own) == []
    assert len(selector.signed(["dkim-signature", "dkim-signature"], Canonical.SIMPLE)) == 1
    assert octets
