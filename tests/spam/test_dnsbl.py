"""Lists in the DNS: which names are asked for, and what answers mean."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.options import OptionError, section_of
from relayd.spam.dns_list import BadAnswer, DnsList, parse_meaning
from relayd.spam.dnsbl import Lookup, Material, lookups, read, reversed_address
from relayd.spam.dnsbl_lists import KNOWN
from relayd.spam.dnsbl_options import DnsListOptions, enabled_lists

CLIENT = Material(client=ipaddress.ip_address("198.51.100.7"))


def names(id: str, material: Material, most: int = 50) -> list[str]:
    return [each.name for each in lookups([KNOWN[id]], material, most)]


def tags(id: str, *answers: str) -> list[str]:
    return [each.name for each in read(Lookup(KNOWN[id], "x", "x"), answers).tags]


def options(**given: Any) -> DnsListOptions:
    built: DnsListOptions = section_of(DnsListOptions).build({"enabled": True, **given})
    return built


@pytest.mark.parametrize(
    ("id", "material", "expected"),
    [
        ("spamhaus", CLIENT, ["7.100.51.198.zen.spamhaus.org"]),
        (
            "spamhaus",
            Material(client=ipaddress.ip_address("2001:db8::1")),
            ["1." + "0." * 23 + "8.b.d.0.1.0.0.2.zen.spamhaus.org"],
        ),
        ("spamhaus", Material(client=ipaddress.ip_address("10.1.2.3")), []),
        ("spamhaus", Material(client=ipaddress.ip_address("fe80::1")), []),
        ("spamhaus", Material(), []),
        ("blocklistde-received", Material(hops=["192.0.2.1", "no", "127.0.0.1"]), ["1.2.0.192.bl.blocklist.de"]),
        ("uribl", Material(domains=["a.example", "A.EXAMPLE.", "nodot", "ü.example"]), ["a.example.multi.uribl.com"]),
        ("dnswl-dkim", Material(dkim=["d.example"]), ["d.example.dwl.dnswl.org"]),
        ("msbl", Material(emails=["A@b.example"]), [hashlib.sha1(b"a@b.example").hexdigest() + ".ebl.msbl.org"]),
        (
            "surbl-hash",
            Material(urls=["http://a.example/x"]),
            [hashlib.md5(b"a.example/x").hexdigest() + ".hashbl.surbl.org"],
        ),
        ("uribl", Material(domains=[("a." * 120) + "example"]), []),
    ],
)  # fmt: skip
def test_names_that_are_asked_for(id: str, material: Material, expected: list[str]) -> None:
    assert names(id, material) == expected


def test_no_more_than_so_many_questions_of_each_list() -> None:
    assert len(names("uribl", Material(domains=[f"d{number}.example" for number in range(100)]), 7)) == 7


@pytest.mark.parametrize(
    ("id", "answers", "expected"),
    [
        ("spamhaus", ["127.0.0.2", "127.0.0.10"], ["RBL_SPAMHAUS_SBL", "RBL_SPAMHAUS_PBL"]),
        ("spamhaus", ["127.0.0.6"], ["RBL_SPAMHAUS_XBL"]),
        ("spamhaus", ["127.0.0.99"], []),
        ("spamhaus", ["127.255.255.254"], ["RBL_SPAMHAUS_BLOCKED_OPENRESOLVER"]),
        ("spamhaus", ["127.255.255.252"], ["RBL_SPAMHAUS_BLOCKED"]),
        ("uribl", ["127.0.0.1"], ["URIBL_BLOCKED"]),
        ("uribl", ["127.0.0.14"], ["URIBL_BLACK", "URIBL_GREY", "URIBL_RED"]),
        ("surbl", ["127.0.0.80"], ["ABUSE_SURBL", "MW_SURBL_MULTI"]),
        ("dnswl", ["127.0.5.3"], ["RCVD_IN_DNSWL_HI"]),
        ("dnswl", ["127.0.0.255"], ["DNSWL_BLOCKED"]),
        ("senderscore", ["127.0.4.100"], ["RBL_SENDERSCORE_REPUT_9"]),
        ("senderscore", ["127.0.4.7"], ["RBL_SENDERSCORE_REPUT_0"]),
        ("senderscore-bots", ["127.0.0.11"], ["RBL_SENDERSCORE_SUS_ATT_NA_BOT"]),
        ("surbl-hash", ["127.0.1.9"], ["SURBL_HASHBL_EMAIL"]),
        ("spamhaus", ["no address"], []),
    ],
)
def test_what_answers_mean(id: str, answers: list[str], expected: list[str]) -> None:
    assert tags(id, *answers) == expected


@pytest.mark.parametrize("answer", ["127.255.255.252", "127.255.255.254", "127.255.255.255"])
def test_a_refusal_is_none_of_any_list(answer: str) -> None:
    own = DnsList(id="own", zone="z", about="client", meanings=(parse_meaning("127.0.0.2=RBL_OWN"),))
    found = read(Lookup(own, "x", "x"), [answer])
    assert found.tags == ()
    assert answer in found.refusal


def test_an_answer_from_elsewhere_counts_for_nothing() -> None:
    found = read(Lookup(KNOWN["spamhaus"], "x", "x"), ["127.0.0.2", "198.51.100.1"])
    assert found.is_foreign
    assert not found.tags


def test_evidence_names_the_thing_and_the_answer() -> None:
    (tag,) = read(Lookup(KNOWN["spamhaus"], "x", "198.51.100.7"), ["127.0.0.2"]).tags
    assert (tag.reason, tag.evidence) == ("listed by zen.spamhaus.org", "198.51.100.7: 127.0.0.2")


@pytest.mark.parametrize("text", ["127.0.0=X", "127.0.0.2", "127.0.0.256=X", "127.0.0.2=x", "a.b.c.d=X", "", "=X"])
def test_bad_patterns_are_refused(text: str) -> None:
    with pytest.raises(BadAnswer, match="expected"):
        parse_meaning(text)


def test_known_lists_are_enabled_by_their_id_and_own_ones_described() -> None:
    assert enabled_lists({"spamcop": options(), "uribl": options(enabled=False)}) == (KNOWN["spamcop"],)
    (own,) = enabled_lists({"own": options(zone="bl.example.org.", answers=["127.0.0.*=RBL_OWN"], about="domains")})
    assert (own.zone, own.about) == ("bl.example.org", "domains")
    (mirror,) = enabled_lists({"spamcop": options(zone="mirror.example.org")})
    assert (mirror.zone, mirror.meanings) == ("mirror.example.org", KNOWN["spamcop"].meanings)
    for bad, message in (
        (options(), "zone: is required"),
        (options(zone="a..b"), "expected the name of a zone"),
        (options(zone="a.b"), "answers: is required"),
        (options(zone="a.b", answers=["x"]), "answers: expected"),
    ):
        with pytest.raises(OptionError, match=message):
            enabled_lists({"own": bad})


@given(st.text(max_size=60))
def test_any_text_as_an_address(text: str) -> None:
    assert "." in reversed_address(text) or not reversed_address(text)


@given(st.lists(st.ip_addresses(v=4).map(str), max_size=5))
def test_any_answers(answers: list[str]) -> None:
    for each in KNOWN.values():
        found = read(Lookup(each, "x", "x"), answers)
        assert not (found.is_foreign and found.tags)
