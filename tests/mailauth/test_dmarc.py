"""DMARC: discovery, alignment, policies, and what the DNS may do to them."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.mailauth.authors import authors_of
from relayd.mailauth.dmarc import MAX_AUTHORS, Identifiers, evaluate, identifiers_of
from relayd.mailauth.dmarc_discovery import Discovery, SuffixLookup, TreeWalk
from relayd.mailauth.findings import DkimFinding, DmarcFinding, Policy, Result, SpfFinding
from relayd.mailauth.orgdomain import SuffixList
from relayd.resolver.budget import BudgetResolver
from relayd.resolver.zone import TIMEOUT, Zone

SUFFIXES = SuffixList("com\norg\nexample\n")
A = {"A": ["192.0.2.1"]}


def zone(**records: str) -> dict[str, dict[str, Any]]:
    """Records by domain, "__" for the dot."""
    return {f"_dmarc.{name.replace('__', '.')}": {"TXT": [text]} for name, text in records.items()}


def identifiers(spf: str = "", *dkim: str) -> Identifiers:
    return Identifiers(spf=spf, dkim=dkim)


async def check(
    names: dict[str, dict[str, Any]],
    author: str,
    found: Identifiers | None = None,
    *,
    by_list: bool = False,
    sample: float = 0.0,
) -> DmarcFinding:
    discovery: Discovery = SuffixLookup(Zone(names), SUFFIXES) if by_list else TreeWalk(Zone(names))
    return await evaluate(discovery, authors_of([f"x@{author}".encode()]), found or Identifiers(), sample=sample)


both = pytest.mark.parametrize("by_list", [False, True])


@both
async def test_an_aligned_identifier_passes(by_list: bool) -> None:
    names = zone(b__example="v=DMARC1; p=reject")
    for found in (identifiers("b.example"), identifiers("", "c.example", "b.example"), identifiers("m.b.example")):
        finding = await check(names, "b.example", found, by_list=by_list)
        assert (finding.result, finding.requested) == (Result.PASS, Policy.REJECT)
    assert (finding.spf, finding.dkim, finding.organizational) == ("m.b.example", (), "b.example")


@both
@pytest.mark.parametrize("other", ["", "c.example", "bb.example", "example", "b.example.org"])
async def test_what_is_not_aligned_fails(other: str, by_list: bool) -> None:
    found = await check(zone(b__example="v=DMARC1; p=reject"), "b.example", identifiers(other, other), by_list=by_list)
    assert (found.result, found.policy, found.policy_domain) == (Result.FAIL, Policy.REJECT, "b.example")
    assert (found.spf, found.dkim) == ("", ())


@both
async def test_strict_alignment_is_equality(by_list: bool) -> None:
    names = zone(b__example="v=DMARC1; p=reject; adkim=s; aspf=s")
    for found in (identifiers("m.b.example"), identifiers("", "m.b.example")):
        assert (await check(names, "b.example", found, by_list=by_list)).result is Result.FAIL
    assert (await check(names, "b.example", identifiers("b.example"), by_list=by_list)).result is Result.PASS


@both
async def test_a_subdomain_takes_the_policy_for_subdomains(by_list: bool) -> None:
    names = zone(b__example="v=DMARC1; p=reject; sp=quarantine; np=none")
    found = await check({**names, "m.b.example": A}, "m.b.example", by_list=by_list)
    assert (found.requested, found.policy_domain, found.organizational) == (Policy.QUARANTINE, "b.example", "b.example")
    assert (await check(names, "m.b.example", by_list=by_list)).requested is Policy.NONE
    assert (await check(names, "b.example", by_list=by_list)).requested is Policy.REJECT


@both
async def test_whether_a_domain_exists_is_asked_only_where_it_matters(by_list: bool) -> None:
    for text in ("v=DMARC1; p=reject; sp=none", "v=DMARC1; p=reject; sp=none; np=none"):
        resolver = BudgetResolver(Zone(zone(b__example=text)), 10, keep=True)
        discovery: Discovery = SuffixLookup(resolver, SUFFIXES) if by_list else TreeWalk(resolver)
        await evaluate(discovery, authors_of([b"x@m.b.example"]), Identifiers())
        assert {question.type for question in resolver.asked} == {"TXT"}


async def test_a_failure_does_not_make_a_domain_nonexistent() -> None:
    names = zone(b__example="v=DMARC1; p=none; np=reject")
    assert (await check({**names, "m.b.example": {"A": TIMEOUT}}, "m.b.example")).requested is Policy.NONE


async def test_the_policy_of_a_domain_between_is_not_that_of_those_below() -> None:
    """RFC 9989 §4.10.1: the author domain, its organisational domain, or its public suffix; nothing between."""
    names = zone(m__b__example="v=DMARC1; p=reject", b__example="v=DMARC1; p=none")
    found = await check(names, "x.m.b.example")
    assert (found.policy_domain, found.requested, found.organizational) == ("b.example", Policy.NONE, "b.example")


async def test_psd_n_ends_the_walk() -> None:
    names = zone(m__b__example="v=DMARC1; p=reject; psd=n", b__example="v=DMARC1; p=none")
    found = await check(names, "x.m.b.example", identifiers("b.example"))
    assert (found.result, found.policy_domain, found.organizational) == (Result.FAIL, "m.b.example", "m.b.example")
    assert (await check(names, "m.b.example", identifiers("y.m.b.example"))).result is Result.PASS
    assert (await check(names, "b.example", identifiers("m.b.example"))).result is Result.FAIL


async def test_under_a_public_suffix_each_domain_is_its_own() -> None:
    names = zone(bank__example="v=DMARC1; p=reject; psd=y; sp=quarantine")
    found = await check({**names, "a.bank.example": A}, "a.bank.example", identifiers("b.bank.example"))
    assert (found.result, found.requested) == (Result.FAIL, Policy.QUARANTINE)
    assert (found.policy_domain, found.organizational) == ("bank.example", "a.bank.example")
    assert (await check(names, "x.a.bank.example", identifiers("y.a.bank.example"))).result is Result.PASS


async def test_a_public_suffix_sends_mail_as_any_domain() -> None:
    names = zone(bank__example="v=DMARC1; p=reject; psd=y")
    found = await check(names, "bank.example", identifiers("bank.example"))
    assert (found.result, found.requested) == (Result.PASS, Policy.REJECT)


async def test_one_label_below_a_suffix_is_told_from_the_name_even_where_the_walk_left_it_out() -> None:
    names = zone(c__d__e__f__g__example="v=DMARC1; p=reject; psd=y")
    found = await check(names, "x.y.z.a.b.c.d.e.f.g.example")
    assert found.organizational == "b.c.d.e.f.g.example"


@both
async def test_several_records_are_none(by_list: bool) -> None:
    names = {"_dmarc.m.b.example": {"TXT": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}}
    assert (await check(names, "m.b.example", by_list=by_list)).result is Result.NONE
    names |= zone(b__example="v=DMARC1; p=quarantine")
    found = await check(names, "m.b.example", by_list=by_list)
    if by_list:  # RFC 7489 §6.6.3 step 5 ends there, RFC 9989 §4.10 step 2 walks on
        assert found.result is Result.NONE
    else:
        assert (found.result, found.policy) == (Result.FAIL, Policy.QUARANTINE)


@both
async def test_a_policy_that_cannot_be_read_is_none(by_list: bool) -> None:
    found = await check(zone(b__example="v=DMARC1; p=rejekt"), "b.example", identifiers("b.example"), by_list=by_list)
    assert (found.result, found.requested) == (Result.NONE, None)
    assert found.problem
    found = await check(zone(b__example="v=DMARC1; p=x; rua=mailto:a@b.example"), "b.example", by_list=by_list)
    assert (found.result, found.policy) == (Result.FAIL, Policy.NONE)


async def test_a_missing_policy_is_none_but_for_rfc_7489() -> None:
    names = zone(b__example="v=DMARC1; sp=reject", c__example="v=DMARC1; rua=mailto:a@c.example")
    assert (await check(names, "b.example")).result is Result.FAIL
    assert (await check(names, "b.example", by_list=True)).result is Result.NONE
    assert (await check(names, "c.example", by_list=True)).result is Result.FAIL
    assert (await check(names, "m.b.example")).policy is Policy.REJECT


@pytest.mark.parametrize(
    ("asked", "applied"),
    [("reject", Policy.QUARANTINE), ("quarantine", Policy.NONE), ("none", Policy.NONE)],
)
async def test_a_policy_under_test_is_applied_one_level_lower(asked: str, applied: Policy) -> None:
    names = zone(b__example=f"v=DMARC1; p={asked}; t=y; pct=0")
    found = await check(names, "b.example")
    assert (found.requested, found.policy, found.testing) == (asked, applied, True)


async def test_pct_is_of_rfc_7489_alone() -> None:
    names = zone(b__example="v=DMARC1; p=reject; pct=50; t=y")
    assert (await check(names, "b.example", sample=49.9, by_list=True)).policy is Policy.REJECT
    assert (await check(names, "b.example", sample=50, by_list=True)).policy is Policy.QUARANTINE
    names = zone(b__example="v=DMARC1; p=reject; pct=0")
    assert (await check(names, "b.example", sample=99)).policy is Policy.REJECT


@both
async def test_no_record_is_none(by_list: bool) -> None:
    found = await check({"b.example": A}, "b.example", identifiers("b.example"), by_list=by_list)
    assert (found.result, found.domain, found.requested) == (Result.NONE, "b.example", None)


@both
async def test_a_failing_dns_is_temperror(by_list: bool) -> None:
    names: dict[str, dict[str, Any]] = {"_dmarc.b.example": {"TXT": TIMEOUT}}
    for author in ("b.example", "m.b.example"):
        found = await check(names, author, identifiers(author), by_list=by_list)
        assert (found.result, found.policy, found.requested) == (Result.TEMPERROR, Policy.NONE, None)
        assert found.problem


async def test_a_walk_for_alignment_that_fails_hides_the_result() -> None:
    names = zone(b__example="v=DMARC1; p=reject", m__b__example="v=DMARC1; p=none")
    names["_dmarc.y.b.example"] = {"TXT": TIMEOUT}
    found = await check(names, "m.b.example", identifiers("y.b.example"))
    assert (found.result, found.requested) == (Result.TEMPERROR, Policy.NONE)
    found = await check(names, "m.b.example", identifiers("y.b.example", "m.b.example"))
    assert found.result is Result.PASS


def spf(result: Result, domain: str) -> SpfFinding:
    return SpfFinding(scope="mfrom", result=result, domain=domain, sender=f"x@{domain}")


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (identifiers_of(spf(Result.TEMPERROR, "m.b.example"), ()), Result.TEMPERROR),
        (identifiers_of(spf(Result.TEMPERROR, "c.example"), ()), Result.FAIL),
        (identifiers_of(None, [DkimFinding(result=Result.TEMPERROR, domain="b.example")]), Result.TEMPERROR),
        (identifiers_of(None, [DkimFinding(result=Result.PERMERROR, domain="b.example")]), Result.FAIL),
        (identifiers_of(spf(Result.SOFTFAIL, "b.example"), ()), Result.FAIL),
        (
            identifiers_of(spf(Result.TEMPERROR, "b.example"), [DkimFinding(result=Result.PASS, domain="b.example")]),
            Result.PASS,
        ),
        (
            identifiers_of(spf(Result.PASS, "b.example"), [DkimFinding(result=Result.FAIL, domain="b.example")]),
            Result.PASS,
        ),
    ],
)
async def test_what_the_dns_kept_unknown_counts_where_it_would_be_aligned(found: Identifiers, result: Result) -> None:
    finding = await check(zone(b__example="v=DMARC1; p=reject"), "b.example", found)
    assert (finding.result, finding.policy) == (result, Policy.REJECT)


async def from_fields(names: dict[str, dict[str, Any]], *values: bytes, found: Identifiers) -> DmarcFinding:
    return await evaluate(TreeWalk(Zone(names)), authors_of(values), found)


async def test_no_author_is_none() -> None:
    for values in ((), (b"",), (b"a@[192.0.2.1]",)):
        found = await from_fields({}, *values, found=identifiers("b.example"))
        assert (found.result, found.domain) == (Result.NONE, "")
        assert found.problem


async def test_of_several_authors_the_worst_counts() -> None:
    names = zone(b__example="v=DMARC1; p=none", c__example="v=DMARC1; p=reject", d__example="v=DMARC1; p=quarantine")
    value = b"x@b.example, y@c.example, z@d.example"
    found = await from_fields(names, value, found=identifiers("b.example"))
    assert (found.result, found.domain, found.policy) == (Result.FAIL, "c.example", Policy.REJECT)
    assert "3 domains" in found.problem
    found = await from_fields(names, b"x@b.example, y@c.example", found=identifiers("b.example", "c.example"))
    assert found.result is Result.PASS
    found = await from_fields(names, b"x@b.example, y@e.example", found=identifiers("b.example"))
    assert found.result is Result.NONE


async def test_too_many_authors_are_never_a_pass() -> None:
    names = {f"_dmarc.d{number}.example": {"TXT": ["v=DMARC1; p=reject"]} for number in range(9)}
    value = b",".join(b"x@d%d.example" % number for number in range(9))
    found = Identifiers(dkim=tuple(f"d{number}.example" for number in range(9)))
    resolver = BudgetResolver(Zone(names), 10, keep=True)
    finding = await evaluate(TreeWalk(resolver), authors_of([value]), found)
    assert finding.result is Result.PERMERROR
    assert len(resolver.asked) == MAX_AUTHORS


async def test_with_two_from_fields_nothing_is_aligned() -> None:
    """RFC 9989 §4.4: alignment cannot occur with a repeated From; §11.5: the policy is applied all the same."""
    names = zone(b__example="v=DMARC1; p=reject")
    found = await from_fields(names, b"x@b.example", b"x@b.example", found=identifiers("b.example", "b.example"))
    assert (found.result, found.policy) == (Result.FAIL, Policy.REJECT)
    assert "2 From fields" in found.problem


async def test_questions_for_one_message_are_not_repeated() -> None:
    resolver = BudgetResolver(Zone(zone(b__example="v=DMARC1; p=reject")), 10, keep=True)
    found = Identifiers(spf="s.b.example", dkim=("k.b.example", "s.b.example"))
    assert (await evaluate(TreeWalk(resolver), authors_of([b"x@m.b.example"]), found)).result is Result.PASS
    names = [question.name for question in resolver.asked]
    assert len(names) == len(set(names)) == 5  # three below b.example, itself, example


async def test_domains_that_share_no_organisation_cost_no_questions() -> None:
    resolver = BudgetResolver(Zone(zone(b__example="v=DMARC1; p=reject")), 10, keep=True)
    found = Identifiers(spf="a.org", dkim=tuple(f"d{number}.example.net" for number in range(9)))
    assert (await evaluate(TreeWalk(resolver), authors_of([b"x@b.example"]), found)).result is Result.FAIL
    assert len(resolver.asked) == 1
