"""Where an address is: what files and zones say of it, and the tags that come of it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.findings import Findings
from relayd.options import OptionError, section_of
from relayd.spam.facts import Facts, Scanned
from relayd.spam.geo_options import GeoOptions
from relayd.spam.heading import result_fields
from relayd.spam.origin import Origin, of_asn_record, of_country_record, of_txt, together
from relayd.spam.ruleset import Lists
from relayd.spam.score import Score, Thresholds
from relayd.spam.scoring import all_tags
from relayd.spam.tag import Tag
from relayd.spam.verdict import judge, weigh

HERE = Origin(asn=64500, country="DE", network="198.51.100.0/24", holder="Example Net")


def tags(origin: Origin) -> dict[str, Tag]:
    facts = Facts(address=ipaddress.ip_address("198.51.100.7"), origin=origin)
    return {each.name: each for each in all_tags(Scanned(), Findings(), facts, Lists())}


def test_tags_are_behind_all_others_and_say_what_they_were_made_of() -> None:
    assert list(tags(HERE)) == [*tags(Origin()), "SOURCE_ASN_64500", "SOURCE_COUNTRY_DE"]
    assert tags(HERE)["SOURCE_ASN_64500"].evidence == "198.51.100.0/24 Example Net"
    assert not any("SOURCE" in name for name in tags(Origin(network="198.51.100.0/24")))


def test_they_count_nothing_and_are_in_no_header_unless_the_operator_scores_them() -> None:
    def fields(scores: dict[str, Score]) -> tuple[float, str]:
        verdict = judge(weigh(tags(HERE).values(), scores), Thresholds())
        return verdict.score, result_fields(verdict)

    score, header = fields({"AUTH_NA": 1.0})
    assert "SOURCE_" not in header
    counted, header = fields({"AUTH_NA": 1.0, "SOURCE_COUNTRY_DE": 2.5})
    assert counted == score + 2.5
    assert "SOURCE_COUNTRY_DE (2.50)" in header
    assert "SOURCE_ASN" not in header


@pytest.mark.parametrize(
    ("record", "asn", "holder"),
    [
        ({"autonomous_system_number": 64500, "autonomous_system_organization": "Example\r\nNet"}, 64500, "Example Net"),
        ({"asn": "AS64500", "as_name": "Example", "as_domain": "a.example"}, 64500, "Example"),
        ({"asn": 64500, "name": "Example"}, 64500, "Example"),
        ({"asn": "64500x"}, 0, ""),
        ({"asn": True}, 0, ""),
        ({"asn": -1, "as_name": "Example"}, 0, ""),
        ({"autonomous_system_number": 2**32}, 0, ""),
        ("AS64500", 0, ""),
        (None, 0, ""),
    ],
)
def test_systems_as_publishers_write_them(record: object, asn: int, holder: str) -> None:
    found = of_asn_record(record, "198.51.100.0/24")
    assert (found.asn, found.holder, bool(found.network)) == (asn, holder, bool(asn))


@pytest.mark.parametrize(
    ("record", "country"),
    [
        ({"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "NL"}}, "DE"),
        ({"country": {"names": {}}, "registered_country": {"iso_code": "NL"}}, "NL"),
        ({"country": "Germany", "country_code": "de"}, "DE"),
        ({"country": "DE", "country_name": "Germany"}, "DE"),
        ({"country": {"iso_code": 49}}, ""),
        ({"country_code": "DEU"}, ""),
        ([], ""),
    ],
)
def test_countries_as_publishers_write_them(record: object, country: str) -> None:
    assert of_country_record(record).country == country


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            [b"64500 | 198.51.0.0/16 | US | arin | 1999-01-01", b"64501 | 198.51.100.0/24 | DE | ripencc | 2001-01-01"],
            Origin(asn=64501, country="DE", network="198.51.100.0/24"),
        ),
        ([b"64500 64501 | 2001:db8::/32 | | apnic |"], Origin(asn=64500, network="2001:db8::/32")),
        ([b"64500"], Origin(asn=64500)),
        ([b"", b"|", b"NA | 198.51.100.0/24 | ZZZ"], Origin()),
    ],
)
def test_answers_of_a_zone(answers: list[bytes], expected: Origin) -> None:
    assert of_txt(answers) == expected


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_answer_gives_a_number_and_a_country_or_none(answers: list[bytes]) -> None:
    found = of_txt(answers)
    assert 0 <= found.asn < 2**32
    assert found.country == "" or (len(found.country) == 2 and found.country.isupper())
    assert found.network.isprintable()


def test_the_first_of_two_counts() -> None:
    assert together(Origin(asn=1), Origin(asn=2, country="NL")) == Origin(asn=1, country="NL")


def test_zones_are_names() -> None:
    build = section_of(GeoOptions).build
    assert build({"dns-zone": "Origin.Example."}).dns_zone == "origin.example"
    for bad in ("", "nodot", "a b.example", "a." * 90, ".."):
        with pytest.raises(OptionError, match="dns-zone"):
            build({"dns-zone": bad})
