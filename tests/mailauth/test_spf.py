"""SPF where the public suite does not look: identities, limits, failures, what is told."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from relayd.mailauth.findings import Result
from relayd.mailauth.spf import SpfClient, SpfResult, check_ehlo, check_host, check_mail_from
from relayd.resolver.budget import BudgetResolver
from relayd.resolver.zone import FORGED, TIMEOUT, Zone

Names = dict[str, dict[str, Any]]


def client(address: str = "192.0.2.1", helo: str = "mail.example.org") -> SpfClient:
    return SpfClient(address=ipaddress.ip_address(address), helo=helo, receiver="mx.us.example", now=1700000000.5)


def record(text: str, **more: dict[str, Any]) -> Names:
    return {"example.org": {"TXT": [text]}, **{name.replace("_", "."): types for name, types in more.items()}}


async def check(names: Names, address: str = "192.0.2.1", sender: str = "a@example.org") -> SpfResult:
    return await check_host(Zone(names), client(address), sender.rpartition("@")[2], sender)


async def test_the_return_path_is_the_identity() -> None:
    found = await check_mail_from(Zone(record("v=spf1 ip4:192.0.2.0/24 -all")), client(), "a@Example.ORG")
    assert (found.scope, found.result, found.domain) == ("mfrom", Result.PASS, "example.org")
    assert found.mechanism == "ip4:192.0.2.0/24"


async def test_of_the_null_return_path_it_is_the_ehlo_name() -> None:
    zone = Zone({"mail.example.org": {"TXT": ["v=spf1 exists:%{l}.%{o} -all"]}, "postmaster.mail.example.org": A1})
    found = await check_mail_from(zone, client(), "")
    assert (found.scope, found.domain, found.sender) == ("mfrom", "mail.example.org", "postmaster@mail.example.org")
    assert found.result is Result.PASS


A1: dict[str, Any] = {"A": ["127.0.0.2"]}


@pytest.mark.parametrize("helo", ["[192.0.2.1]", "localhost", "", "a..b", "x" * 64 + ".example", "example."])
async def test_an_ehlo_name_that_is_no_domain_is_none(helo: str) -> None:
    found = await check_ehlo(Zone({}), client(helo=helo))
    assert (found.scope, found.result) == ("helo", Result.NONE)
    assert found.problem


async def test_u_labels_are_asked_for_as_a_labels() -> None:
    zone = Zone({"xn--bcher-kva.example": {"TXT": ["v=spf1 +all"]}})
    assert (await check_mail_from(zone, client(), "a@Bücher.example")).result is Result.PASS
    assert (await check_ehlo(zone, client(helo="bücher.example"))).result is Result.PASS


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("v=spf1 exists:%{l}.l.example.org +all", Result.PASS),
        ("v=spf1 include:%{l}.l.example.org ~all", Result.SOFTFAIL),
        ("v=spf1 redirect=%{s}.example.org", Result.PERMERROR),
    ],
)
async def test_no_name_holds_a_local_part_beyond_ascii(text: str, result: Result) -> None:
    """RFC 8616 §4: such a term matches nothing; what redirect names is then no domain."""
    assert (await check(record(text), sender="jürgen@example.org")).result is result


async def test_quotes_of_the_local_part_are_no_part_of_it() -> None:
    names = {**record("v=spf1 exists:%{l}.l.example.org -all"), "a b.l.example.org": A1}
    assert (await check(names, sender='"a b"@example.org')).result is Result.PASS


async def test_a_mapped_address_is_an_ipv4_one() -> None:
    found = await check(record("v=spf1 ip4:192.0.2.1 -all"), "::ffff:192.0.2.1")
    assert found.result is Result.PASS


@pytest.mark.parametrize("failure", [TIMEOUT, FORGED])
@pytest.mark.parametrize("term", ["a", "mx", "exists:%{d}", "include:below.example.org", "redirect=below.example.org"])
async def test_a_failing_dns_is_temperror(term: str, failure: str) -> None:
    names = record(f"v=spf1 {term} -all" if "=" not in term else f"v=spf1 {term}")
    names["example.org"]["A"] = names["example.org"]["MX"] = failure
    names["below.example.org"] = {"TXT": failure}
    found = await check(names)
    assert found.result is Result.TEMPERROR
    assert found.problem


async def test_a_failing_dns_of_ptr_is_no_match() -> None:
    """RFC 7208 §5.5: a DNS error while looking for names, or for their addresses, ends in no match."""
    names = record("v=spf1 ptr -all")
    names["1.2.0.192.in-addr.arpa"] = {"PTR": TIMEOUT}
    assert (await check(names)).result is Result.FAIL
    names["1.2.0.192.in-addr.arpa"] = {"PTR": ["x.example.org", "y.example.org"]}
    names["x.example.org"] = {"A": TIMEOUT}
    names["y.example.org"] = {"A": ["192.0.2.1"]}
    assert (await check(names)).result is Result.PASS


async def test_time_that_is_over_is_temperror() -> None:
    resolver = BudgetResolver(Zone(record("v=spf1 a -all")), 10, questions=1)
    found = await check_host(resolver, client(), "example.org", "a@example.org")
    assert found.result is Result.TEMPERROR


async def test_only_ten_names_of_a_mail_domain_are_asked_for() -> None:
    names = record("v=spf1 mx -all")
    names["example.org"]["MX"] = [(10, f"mx{number}.example.org") for number in range(11)]
    for number in range(11):
        names[f"mx{number}.example.org"] = {"A": [f"192.0.2.{number}"]}
    assert (await check(names, "192.0.2.9")).result is Result.PASS
    assert (await check(names, "192.0.2.10")).result is Result.PERMERROR


async def test_a_null_mx_names_no_host() -> None:
    names = record("v=spf1 mx -all")
    names["example.org"]["MX"] = [(0, "")]
    assert (await check(names)).result is Result.FAIL


async def test_hosts_without_an_address_of_the_family_are_no_void_lookups() -> None:
    """Only the term counts, and it had an answer (RFC 7208 §4.6.4)."""
    names = record("v=spf1 mx ip6:2001:db8::1 -all")
    names["example.org"]["MX"] = [(10, f"mx{number}.example.org") for number in range(4)]
    for number in range(4):
        names[f"mx{number}.example.org"] = {"A": ["192.0.2.7"]}
    found = await check(names, "2001:db8::1")
    assert (found.result, found.voids) == (Result.PASS, 0)


async def test_names_asked_for_by_a_macro_count_once() -> None:
    names = record("v=spf1 exists:%{p}.x.example.org exists:%{p}.y.example.org -all")
    found = await check(names)
    assert (found.result, found.lookups) == (Result.FAIL, 3)


async def test_one_lookup_more_than_ten_is_permerror() -> None:
    terms = [f"a:h{number}.example.org" for number in range(10)]
    names = {"example.org": {"TXT": [f"v=spf1 {' '.join(terms)} ?all"]}}
    names |= {f"h{number}.example.org": {"A": ["198.51.100.1"]} for number in range(11)}
    assert (await check(names)).result is Result.NEUTRAL
    names["example.org"] = {"TXT": [f"v=spf1 {' '.join(terms)} a:h10.example.org ?all"]}
    found = await check(names)
    assert (found.result, found.lookups) == (Result.PERMERROR, 11)


async def test_lookups_after_a_match_are_not_made() -> None:
    names = record("v=spf1 a a a a a a a a a a a a -all")
    names["example.org"]["A"] = ["192.0.2.1"]
    assert (await check(names)).lookups == 1


async def test_an_explanation_is_asked_for_only_when_it_is_wanted() -> None:
    names = record("v=spf1 -all exp=why.example.org", why_example_org={"TXT": ["%{i} at %{t} to %{r}"]})
    resolver = BudgetResolver(Zone(names), 10, keep=True)
    found = await check_mail_from(resolver, client(), "a@example.org")
    assert (found.result, found.explanation, len(resolver.asked)) == (Result.FAIL, "", 1)
    found = await check_mail_from(resolver, client(), "a@example.org", explain=True)
    assert found.explanation == "192.0.2.1 at 1700000000 to mx.us.example"


async def test_an_explanation_is_short_and_printable() -> None:
    names = record("v=spf1 -all exp=why.example.org", why_example_org={"TXT": ["%{h}" * 300]})
    asking = SpfClient(address=ipaddress.ip_address("192.0.2.1"), helo="a\x07\r\nb.example")
    found = await check_host(Zone(names), asking, "example.org", "a@example.org")
    assert 100 < len(found.explanation) <= 400
    assert found.explanation.isprintable()


async def test_the_steps_tell_the_way() -> None:
    names = record("v=spf1 a include:in.example -all", in_example={"TXT": ["v=spf1 ip4:192.0.2.1 ?all"]})
    found = await check(names)
    assert found.steps == (
        "example.org: v=spf1 a include:in.example -all",
        "example.org: a does not match",
        "in.example: v=spf1 ip4:192.0.2.1 ?all",
        "in.example: ip4:192.0.2.1 matches, pass",
        "example.org: include:in.example matches, pass",
    )


async def test_a_hostile_record_leaves_no_control_characters_in_what_is_told() -> None:
    found = await check({"example.org": {"TXT": [b"v=spf1 \x1b[31m\xff" + b"x" * 9000]}})
    assert found.result is Result.PERMERROR
    assert found.problem.isprintable()
    assert len(found.problem) < 300
    assert all(step.isprintable() and len(step) < 700 for step in found.steps)
