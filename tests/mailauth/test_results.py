"""Authentication-Results as written: the forms of RFC 8601, and nothing that anybody said can leave its place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.mail.header import HeaderBlock
from relayd.mailauth.findings import (
    ArcFinding,
    ArcSet,
    DkimFinding,
    DmarcFinding,
    Findings,
    IprevFinding,
    Policy,
    Result,
    SpfFinding,
)
from relayd.mailauth.results import MethodResult, finding_results, results_field
from relayd.mailauth.results_read import parse_results
from tests.mailauth import signing

FINDINGS = Findings(
    spf_ehlo=SpfFinding(
        scope="helo", result=Result.NONE, domain="mail.example.org", sender="postmaster@mail.example.org"
    ),
    spf_mail_from=SpfFinding(scope="mfrom", result=Result.PASS, domain="example.org", sender="joe@example.org"),
    iprev=IprevFinding(result=Result.PASS, address="192.0.2.1", confirmed=("mail.example.org",)),
    dkim=(
        DkimFinding(
            result=Result.PASS,
            domain="example.org",
            selector="rsa",
            algorithm="rsa-sha256",
            identity="@example.org",
            signature="ab/cd+ef",
            bits=2048,
        ),
        DkimFinding(result=Result.NEUTRAL, domain="", problem="no d= tag"),
    ),
    arc=ArcFinding(result=Result.PASS, sets=(ArcSet(instance=1, domain="example.net"),), oldest_pass=0),
    dmarc=DmarcFinding(result=Result.PASS, domain="example.org", requested=Policy.REJECT),
)


def test_all_findings() -> None:
    field = results_field("mx.example.net", finding_results(FINDINGS, client="192.0.2.1"))
    assert field == (
        b"Authentication-Results: mx.example.net;\r\n"
        b"\tspf=none smtp.helo=mail.example.org;\r\n"
        b"\tspf=pass smtp.mailfrom=joe@example.org;\r\n"
        b"\tiprev=pass (mail.example.org) policy.iprev=192.0.2.1;\r\n"
        b"\tdkim=pass (2048-bit key) header.d=example.org header.i=@example.org\r\n"
        b'\theader.s=rsa header.a=rsa-sha256 header.b="ab/cd+ef";\r\n'
        b"\tdkim=neutral (no d= tag);\r\n"
        b"\tarc=pass (i=1) header.oldest-pass=0 smtp.remote-ip=192.0.2.1;\r\n"
        b"\tdmarc=pass header.from=example.org policy.dmarc=reject\r\n"
    )


def test_nothing_found_and_nothing_looked_at() -> None:
    assert finding_results(Findings(dkim=())) == (MethodResult(method="dkim", result="none"),)
    assert (
        results_field("mx.example.net", finding_results(Findings()))
        == b"Authentication-Results: mx.example.net; none\r\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("joe@example.org", b"joe@example.org"),
        ("token-1.x", b"token-1.x"),
        ("", b'""'),
        ("two words", b'"two words"'),
        ("2001:db8::1", b'"2001:db8::1"'),
        ('"a;b"@example.org', rb'"\"a;b\"@example.org"'),
        ("a;dkim=pass@example.org", b'"a;dkim=pass@example.org"'),
        ("a(b@example.org", b'"a(b@example.org"'),
        ("a\r\nX: y", b'"a  X: y"'),
        ("\\", rb'"\\"'),
        ("é@example.org", b'"?@example.org"'.replace(b'"', b"")),
    ],
)
def test_values(value: str, written: bytes) -> None:
    result = MethodResult(method="spf", result="pass", properties=(("smtp", "mailfrom", value),))
    assert (
        results_field("a", [result]) == b"Authentication-Results: a;\r\n\tspf=pass smtp.mailfrom=" + written + b"\r\n"
    )


def test_letters_of_other_scripts_where_the_message_may_have_them() -> None:
    result = MethodResult(method="spf", result="pass", properties=(("smtp", "mailfrom", "é@example.org"),))
    field = results_field("a", [result], utf8=True)
    assert field.endswith('smtp.mailfrom="é@example.org"\r\n'.encode())
    assert parse_results(field.partition(b":")[2]).results[0].value("smtp", "mailfrom") == "é@example.org"


def test_comments_cannot_be_left() -> None:
    result = MethodResult(method="dkim", result="fail", comment="a) header.d=x (\\ \r\n", reason="b@c; dkim=pass")
    field = results_field("a", [result])
    assert rb"(a\) header.d=x \(\\" in field
    (read,) = parse_results(field.partition(b":")[2]).results
    assert (read.result, read.reason, read.properties) == ("fail", "b@c; dkim=pass", ())


TEXT = st.text(st.sampled_from('a.@;=()"\\ \r\n\t\0é\u2028\ud800/:,<>?#'), max_size=12)


@given(TEXT, TEXT, TEXT, st.booleans())
@example("", "", "@.", False)
def test_whatever_is_said_comes_back_or_is_replaced(value: str, comment: str, reason: str, utf8: bool) -> None:
    results = [
        MethodResult(
            method="spf", result="fail", comment=comment, reason=reason, properties=(("smtp", "helo", value),)
        ),
        MethodResult(method="dkim", result="none"),
    ]
    field = results_field("mx.example.net", results, utf8=utf8)
    header = HeaderBlock.parse(field)
    assert len(header.fields) == 1
    assert field.endswith(b"\r\n")
    assert all(line.strip() for line in field[:-2].split(b"\r\n"))
    read = parse_results(field.partition(b":")[2])
    assert [each.method for each in read.results] == ["spf", "dkim"]
    assert [each[:2] for each in read.results[0].properties] == [("smtp", "helo")]
    if value.isascii() and value.isprintable():
        assert read.results[0].value("smtp", "helo") == value


def test_a_whole_verification_reads_back() -> None:
    findings = Findings(dkim=signing.verified(signing.signed(signing.MESSAGE)))
    read = parse_results(results_field("mx", finding_results(findings)).partition(b":")[2])
    assert read.results[0].value("header", "d") == "example.org"
    assert read.result("dkim") == "pass"
    assert read.result("spf") is None
