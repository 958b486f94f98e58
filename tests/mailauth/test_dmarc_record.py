"""DMARC records: what counts as one, and how what cannot be read counts."""

from __future__ import annotations

import pytest

from relayd.mailauth.dmarc_record import ReportUri, is_record, read_record
from relayd.mailauth.findings import Policy


@pytest.mark.parametrize(
    "text", [b"v=DMARC1", b"v=DMARC1;", b"V = DMARC1 ; p=none", b"v=DMARC1;p=reject", b"\tv=DMARC1 ;"]
)
def test_what_is_a_record(text: bytes) -> None:
    assert is_record(text)


@pytest.mark.parametrize(
    "text", [b"", b"v=dmarc1; p=none", b"p=none; v=DMARC1", b"v=DMARC10; p=none", b"v=DMARC1 p=none", b"v=DMARC2", b"x"]
)
def test_what_is_none(text: bytes) -> None:
    assert not is_record(text)


def test_everything_in_it() -> None:
    found = read_record(
        b"v=DMARC1; P=Reject ;sp=quarantine; np=none; adkim=S;aspf=s; t=y; psd=N; fo=1:D; pct=42; x=y;"
        b"rua=mailto:a@b.example!10m, https://r.example/x ; ruf=mailto:c@d.example"
    )
    assert (found.policy, found.subdomains, found.nonexistent) == (Policy.REJECT, Policy.QUARANTINE, Policy.NONE)
    assert (found.strict_dkim, found.strict_spf, found.testing) == (True, True, True)
    assert (found.psd, found.pct, found.failure_options) == ("n", 42, "1:d")
    assert found.aggregate == (ReportUri("mailto:a@b.example", 10 << 20), ReportUri("https://r.example/x"))
    assert found.failures == (ReportUri("mailto:c@d.example"),)
    assert found.tags["x"] == "y"
    assert (found.applies, found.recovered) == (True, False)


def test_defaults() -> None:
    found = read_record(b"v=DMARC1; p=none")
    assert (found.strict_dkim, found.strict_spf, found.testing, found.psd) == (False, False, False, "u")
    assert (found.subdomains, found.nonexistent, found.pct, found.failure_options) == (None, None, 100, "0")


@pytest.mark.parametrize("policy", ["p=rejekt;", "p=reject; sp=x;", "p=reject; np=x;", "sp=x;"])
def test_a_policy_that_cannot_be_read(policy: str) -> None:
    """RFC 9989 §4.10.1: with an address for reports it is p=none, without one no record at all."""
    found = read_record(f"v=DMARC1; {policy} rua=bad, mailto:a@b.example".encode())
    assert (found.applies, found.recovered, found.policy) == (True, True, Policy.NONE)
    assert (found.subdomains, found.nonexistent) == (None, None)
    assert not read_record(f"v=DMARC1; {policy}".encode()).applies
    assert not read_record(f"v=DMARC1; {policy} rua=mailto:nobody".encode()).applies


@pytest.mark.parametrize(
    "rest", ["adkim=x", "t=maybe", "psd=?", "pct=101", "pct=-1", "pct=1e2", "=v", "tag", "a b=c", "é=é"]
)
def test_other_tags_that_cannot_be_read_are_not_there(rest: str) -> None:
    found = read_record(f"v=DMARC1; p=reject; {rest}".encode())
    assert (found.policy, found.applies, found.strict_dkim, found.testing) == (Policy.REJECT, True, False, False)
    assert (found.psd, found.pct) == ("u", 100)


def test_the_first_of_equal_tags_counts() -> None:
    assert read_record(b"v=DMARC1; p=none; p=reject").policy is Policy.NONE
