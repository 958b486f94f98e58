"""Canonical forms: the RFC's examples, and every body in every cut against a plain reading of the RFC."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.canonical import BLOCK, BodyDigests, Canonical, canonical_field

SIMPLE, RELAXED = Canonical.SIMPLE, Canonical.RELAXED
BODIES = st.lists(st.sampled_from([b"a", b"bb", b" ", b"\t", b"  ", b"\r\n", b"\r", b"\n"]), max_size=16).map(b"".join)


def plainly(body: bytes, form: Canonical) -> bytes:
    """RFC 6376 §3.4.3 and §3.4.4, word by word."""
    lines = body.split(b"\r\n")
    if form is RELAXED:
        lines = [re.sub(rb"[ \t]+\Z", b"", re.sub(rb"[ \t]+", b" ", line)) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if form is RELAXED else b"\r\n"
    return b"".join(line + b"\r\n" for line in lines)


def sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def digest_of(body: bytes, form: Canonical, limit: int | None = None) -> bytes | None:
    digests = BodyDigests()
    digests.want(form, limit)
    digests.feed(body)
    digests.finish()
    return digests.digest(form, limit)


def test_fields_of_the_rfc_example() -> None:
    # RFC 6376 §3.4.5
    assert canonical_field(b"A: X\r\n", RELAXED) == b"a:X\r\n"
    assert canonical_field(b"B : Y\t\r\n\tZ  \r\n", RELAXED) == b"b:Y Z\r\n"
    assert canonical_field(b"B : Y\t\r\n\tZ  \r\n", SIMPLE) == b"B : Y\t\r\n\tZ  \r\n"


@pytest.mark.parametrize(
    ("form", "canonical"), [(SIMPLE, b" C \r\nD \t E\r\n"), (RELAXED, b" C\r\nD E\r\n")], ids=["simple", "relaxed"]
)
def test_body_of_the_rfc_example(form: Canonical, canonical: bytes) -> None:
    assert digest_of(b" C \r\nD \t E\r\n\r\n\r\n", form) == sha256(canonical)


@given(st.lists(BODIES, max_size=6), st.lists(st.integers(0, 8), max_size=3))
def test_any_body_in_any_cut(chunks: list[bytes], limits: list[int]) -> None:
    digests = BodyDigests()
    for form in Canonical:
        for limit in (None, *limits):
            digests.want(form, limit)
    for chunk in chunks:
        digests.feed(chunk)
    digests.finish()
    for form in Canonical:
        canonical = plainly(b"".join(chunks), form)
        assert digests.digest(form) == sha256(canonical)
        assert digests.length(form) == len(canonical)
        for limit in limits:
            expected = sha256(canonical[:limit]) if limit <= len(canonical) else None
            assert digests.digest(form, limit) == expected


def test_runs_longer_than_a_block() -> None:
    for run in (b" ", b"\r\n", b" \r\n", b"\r", b"\t\t \r\n"):
        body = b"a" + run * (2 * BLOCK // len(run) + 7)
        for text in (body, body + b"b\r\n"):
            for form in Canonical:
                assert digest_of(text, form) == sha256(plainly(text, form)), (run, form)


def test_wishes_come_before_the_body() -> None:
    digests = BodyDigests()
    digests.feed(b"x")
    with pytest.raises(ValueError, match="begun"):
        digests.want(SIMPLE)
