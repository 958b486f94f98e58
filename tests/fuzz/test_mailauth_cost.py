"""A megabyte of hostile header or body costs what a megabyte may: the time of signatures, chains and results is linear.

Measured as processor time, which other processes do not lengthen, by a bound far above what it takes and far below
what anything quadratic would.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from relayd.mail.header import HeaderBlock
from relayd.mailauth.arc import ChainVerifier
from relayd.mailauth.canonical import BodyDigests, Canonical
from relayd.mailauth.dkim_sign import sign, want_signed
from relayd.mailauth.dkim_verify import Verifier
from relayd.mailauth.forged import forged_fields
from relayd.mailauth.signature import FieldSelector
from relayd.mailauth.tags import TagError, parse_tags
from tests.fuzz.counting import steps
from tests.mailauth import signing
from tests.mailauth.signing import NOW

MB = 1 << 20
BOUND = 5.0
TAGS = (
    b"v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=rsa; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; "
    b"b=AAAA; h=from"
)
SETS = b"".join(
    b"ARC-Seal: i=%d; cv=%b; a=rsa-sha256; d=example.org; s=rsa; b=AAAA\r\n"
    b"ARC-Message-Signature: i=%d; %b\r\nARC-Authentication-Results: i=%d; a; none\r\n"
    % (n, b"none" if n == 1 else b"pass", n, TAGS.partition(b"; ")[2], n)
    for n in range(1, 51)
)

HEADERS = {
    "one field of blanks": b"From: a" + b" \t" * (MB // 2) + b"b\r\n",
    "one field of folds": b"From: a" + b"\r\n " * (MB // 3) + b"b\r\n",
    "many fields": b"From:\r\n" * (MB // 7),
    "many names": b"".join(b"x%d:\r\n" % n for n in range(MB // 10)),
    "many signatures": b"DKIM-Signature: " + TAGS + b"\r\nDKIM-Signature: x\r\n" * (MB // 20),
    "names in h=": b"DKIM-Signature: " + TAGS + b":x" * (MB // 2) + b"\r\n" + b"x:\r\n" * 9999,
    "other names in h=": b"DKIM-Signature: "
    + TAGS
    + b"".join(b":x%d" % n for n in range(MB // 8))
    + b"\r\nFrom:\r\n" * 9999,
    "tags": b"DKIM-Signature: " + TAGS + b"".join(b"; x%d=1" % n for n in range(MB // 10)) + b"\r\nFrom: a\r\n",
    "semicolons": b"DKIM-Signature: " + TAGS + b";" * MB + b"\r\n",
    "blanks in b=": b"DKIM-Signature: " + TAGS.replace(b"AAAA", b" \r\n A" * (MB // 5)) + b"\r\n",
    "b again and again": b"DKIM-Signature: " + TAGS + b";b " * (MB // 3) + b"\r\n",
    "encoded identity": b"DKIM-Signature: " + TAGS + b"; i=" + b"=41" * (MB // 3) + b"@example.org\r\nFrom: a\r\n",
    "ten signatures over all": (b"DKIM-Signature: " + TAGS + b":x" * 999 + b"\r\n") * 10 + b"x: " + b"y" * MB + b"\r\n",
    "sets": SETS,
    "sets over all": SETS.replace(b"h=from", b"h=from:x") + b"x: " + b" y" * (MB // 2) + b"\r\n",
    "set fields": b"ARC-Seal: i=1; a\r\n" * (MB // 18),
    "results in a set": SETS.replace(b"i=7; a; none", b"i=7; a; " + b"(" * MB),
    "results": b"Authentication-Results: a; b=c\r\n" * (MB // 32),
    "results of comments": b"Authentication-Results: " + b"(" * MB + b"\r\n",
    "results of words": b"Authentication-Results: " + b"a " * (MB // 2) + b"\r\n",
}
BODIES = {
    "blanks": b" " * MB + b"a",
    "lines of blanks": (b" " * 997 + b"a\r\n") * (MB // 1000),
    "tabs": b"a\t" * (MB // 2),
    "blank lines": b"\r\n" * (MB // 2),
    "lines of one blank": b" \r\n" * (MB // 3),
    "CR": b"\r" * MB,
    "LF": b"\n" * MB,
    "CR and LF apart": b"\r\n\n\r" * (MB // 4),
}


def bounded(work: Callable[[], object]) -> None:
    started = time.process_time()
    work()
    assert time.process_time() - started < BOUND


@pytest.mark.parametrize("name", HEADERS)
def test_headers(name: str) -> None:
    octets = HEADERS[name]

    def work() -> None:
        header = HeaderBlock.parse(octets)
        body = BodyDigests()
        fields = FieldSelector(header)
        verifier, chain = Verifier(fields, body), ChainVerifier(fields, body)
        want_signed(body)
        body.finish()
        signing.done(verifier.finish(signing.zone(), NOW))
        signing.done(chain.finish(signing.zone(), NOW))
        sign(header, body, [(signing.rule("ed25519"), signing.key("ed25519"))], NOW)
        forged_fields(header, ["mx.example.org"])

    signing.key("ed25519")
    bounded(work)


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str) -> None:
    def work() -> None:
        body = BodyDigests()
        for form in Canonical:
            for limit in (None, *range(0, MB, MB // 10)):
                body.want(form, limit)
        body.feed(BODIES[name])
        body.finish()

    bounded(work)


def test_steps_of_a_body_grow_with_its_blocks() -> None:
    def cost(size: int, piece: bytes) -> int:
        def work() -> None:
            body = BodyDigests()
            body.want(Canonical.RELAXED)
            body.feed(piece * (size // len(piece)))
            body.finish()

        return steps(work)

    for piece in (b" ", b"\r\n", b" \r\n", b"ab  \t\r\n", b"\r"):
        assert cost(MB, piece) < 4.5 * cost(MB // 4, piece)


@pytest.mark.parametrize("unit", [b";", b"a=1;", b"=", b" ", b"a", b"\r\n ", b"a=;"])
def test_tag_lists(unit: bytes) -> None:
    def work() -> None:
        try:
            parse_tags(b"v=1;" + unit * (MB // len(unit)))
        except TagError:
            pass

    bounded(work)
