"""Signatures and sets of any kind: every one gets a finding, and nothing is raised."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.findings import Result
from tests.mailauth import signing
from tests.mailauth.signing import chain, signed, verified

EMPTY = base64.b64encode(hashlib.sha256(b"").digest()).decode()
WORDS = """
v=1 a=rsa-sha256 a=ed25519-sha256 a=rsa-sha1 b=AAAA b=é bh=AAAA c=relaxed/relaxed c=simple c=x d=example.org d=x d=é.de
s=rsa s=ed25519 s=none h=from h=from:to h= i=1 i=2 i=@example.org i=x l=0 l=9 q=dns/txt t=1 t=x x=1 x=9999999999
cv=none cv=pass cv=fail z= = a
"""
TAGS = st.lists(
    st.one_of(
        st.sampled_from(WORDS.split()),
        st.just(f"bh={EMPTY}"),
        st.text(max_size=6),
    ),
    max_size=14,
).map("; ".join)
NAMES = st.sampled_from(
    ["DKIM-Signature", "ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results", "From", "To", ""]
)
HEADERS = st.lists(st.tuples(NAMES, TAGS), max_size=6).map(
    lambda fields: "".join(f"{name}: {tags}\r\n" for name, tags in fields).encode("utf-8", "surrogatepass")
)


@given(HEADERS, st.binary(max_size=20))
def test_every_signature_gets_a_finding(header: bytes, body: bytes) -> None:
    message = header + b"\r\n" + body
    for finding in verified(message):
        assert finding.result in Result
        assert finding.problem or finding.result is Result.PASS
        assert finding.cause.partition(".")[0] in ("dkim", "mail-auth") or finding.result in (
            Result.PASS,
            Result.POLICY,
        )
    assert chain(message).result in (Result.NONE, Result.FAIL, Result.PASS, Result.TEMPERROR)


@given(HEADERS, st.binary(max_size=20))
def test_whatever_stands_in_a_message_it_can_be_signed(header: bytes, body: bytes) -> None:
    assert verified(signed(header + b"\r\n" + body, signing.rule("ed25519")))[0].result is Result.PASS
