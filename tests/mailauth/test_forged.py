"""Fields that claim to be ours are found in every dress, and those of others stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mail.header import HeaderBlock
from relayd.mailauth.forged import forged_fields
from relayd.mailauth.results import results_field
from tests.fuzz.counting import steps

OURS = ("mx.example.org", "münchen.example")

CLAIMS = [
    b"mx.example.org; spf=pass",
    b"MX.Example.ORG; none",
    b"\tmx.example.org\t;none",
    b"\r\n mx.example.org;\r\n spf=pass",
    b"mx.example.org",
    b"mx.example.org.; none",
    b"mx.example.org 1; none",
    b"mx.example.org/1; none",
    b"mx.example.org:25; none",
    b"mx.example.org stray words; none",
    b"(comment (nested) \\) ) mx.example.org (more); none",
    b"mx.(x)example (y) . org; none",
    b'"mx.example.org"; none',
    b'"mx\\.example.org" 1; none',
    b'"mx.exam\r\n ple.org"; none',
    "ｍｘ．ｅｘａｍｐｌｅ．ｏｒｇ; none".encode(),
    "mx。example。org; none".encode(),
    "mx.exa\u00admple.org; none".encode(),
    "münchen.example; none".encode(),
    "mu\u0308nchen.example; none".encode(),
    "MÜNCHEN.EXAMPLE; none".encode(),
    b"xn--mnchen-3ya.example; none",
    b"XN--MNCHEN-3YA.example; none",
    "münchen.example; none".encode("latin-1"),
    b"=?utf-8?q?mx=2Eexample.org?=; none",
    b"=?us-ascii?B?bXguZXhhbXBsZS5vcmc7IG5vbmU=?=",
    b"=?utf-8*en?Q?mx.exa?= =?utf-8?q?mple.org?=; none",
    # what cannot be read, but holds our id
    b"(mx.example.org; spf=pass",
    b'"mx.example.org; spf=pass',
    "(münchen.example".encode(),
    b"(" * 5000 + b"; none",
    b"(" + b"x" * 5000 + b") mx.example.org; none",
]
OTHERS = [
    b"",
    b";",
    b"mx.example.net; mx.example.org=pass",
    b"notmx.example.org; none",
    b"mx.example.org.example.net; none",
    b"x.mx.example.org; none",
    b"(mx.example.org) mx.example.net; none",
    b'mx.example.net; spf=pass reason="mx.example.org"',
    b"(unreadable; spf=pass",
    b'x; spf=pass reason="mx.example.org',
    b"=?utf-8?q?mx.example.net?=; none",
    b"=?x-unknown?q?mx.example.org?=; none",
    b"munchen.example; none",
    b"xn--\xff; none",
]


@pytest.mark.parametrize("value", CLAIMS, ids=lambda value: repr(value[:40]))
def test_claims_are_found(value: bytes) -> None:
    for name in (b"Authentication-Results", b"AUTHENTICATION-results \t"):
        header = HeaderBlock.parse(b"X: y\r\n" + name + b": " + value + b"\r\nFrom: a\r\n")
        assert [field.name.lower() for field in forged_fields(header, OURS)] == ["authentication-results"]


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_those_of_others_stay(value: bytes) -> None:
    raw = b"Authentication-Results: " + value + b"\r\nARC-Authentication-Results: i=1; mx.example.org; none\r\n"
    header = HeaderBlock.parse(raw)
    assert forged_fields(header, OURS) == []


def test_what_we_write_is_found() -> None:
    for id in (*OURS, "two words"):
        for utf8 in (True, False):
            header = HeaderBlock.parse(results_field(id, [], utf8=utf8))
            assert len(forged_fields(header, [id])) == 1


PIECES = [
    b"mx.example.org",
    b"(",
    b")",
    b'"',
    b"\\",
    b";",
    b" ",
    b"\r\n ",
    b"=?utf-8?q?",
    b"?=",
    b"\xc3\xbc",
    b"\xff",
    b"1",
]


@given(st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join))
def test_any_field_is_judged(value: bytes) -> None:
    header = HeaderBlock.parse(b"Authentication-Results:" + value + b"\r\n")
    forged_fields(header, OURS)


@pytest.mark.parametrize("unit", [b"(", b"(a)", b'"a"', b"=?a?q?b?=", b"=?", "ü".encode(), b"\xff", b"\\", b" ", b"a "])
def test_a_megabyte_costs_no_more_than_a_little(unit: bytes) -> None:
    def cost(size: int) -> int:
        header = HeaderBlock.parse(b"Authentication-Results: " + unit * (size // len(unit)) + b"\r\n")
        return steps(lambda: forged_fields(header, OURS))

    # what stands behind the first kilobytes is not looked at by Python
    assert cost(1 << 20) < 1.2 * cost(1 << 14) + 500
