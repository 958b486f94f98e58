"""Where clients are: files that their publishers' tool wrote, a zone, and what of both fails."""

from __future__ import annotations

import builtins
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.events.spam import CLASSIFY
from relayd.mailauth.findings import Findings
from relayd.options import OptionError
from relayd.reception.assessing import Subject
from relayd.reception.geo_files import _read, open_files
from relayd.reception.origins import Origins
from relayd.reception.reputation import Reputations
from relayd.reputation.options import ReputationOptions
from relayd.reputation.record import Records
from relayd.resolver.zone import Zone
from relayd.spam.facts import Facts, Scanned
from relayd.spam.geo_options import GeoOptions
from relayd.spam.origin import Origin
from tests.rig.mmdb import ASN, COUNTRY, write_mmdb

CLIENT = ipaddress.ip_address("198.51.100.7")
ANSWER = b"64501 | 198.51.100.0/25 | NL | ripencc | 2001-01-01"
ZONE = {"7.100.51.198.origin.test": {"TXT": [ANSWER]}}


class World:
    """Origins over files in a directory and a zone in a dict."""

    def __init__(self, zone: Mapping[str, Any] | None = None, **given: Any) -> None:
        self.events: list[Event] = []
        self.span = Span(EventStream(lambda: 0.0, [self.events.append]))
        options = GeoOptions(**given)
        resolver = Zone(zone or {})
        self.origins = Origins(options, open_files(options), lambda: resolver, self.span)

    async def of(self, address: str = str(CLIENT)) -> Origin:
        return await self.origins.of(ipaddress.ip_address(address), self.span)

    def reasons(self, id: str) -> list[str]:
        return [each.fields["reason"] for each in self.events if each.kind.id == id]


async def test_two_files_say_it_together(tmp_path: Path) -> None:
    asn = write_mmdb(tmp_path / "asn.mmdb", {"198.51.100.0/24": ASN, "2001:db8::/32": ASN}, version=6)
    country = write_mmdb(tmp_path / "country.mmdb", {"198.51.100.0/22": COUNTRY}, version=4)
    world = World(asn_file=str(asn), country_file=str(country))
    expected = Origin(asn=64500, country="DE", network="198.51.100.0/24", holder="Example Net")
    assert await world.of() == await world.of("::ffff:198.51.100.7") == expected
    assert await world.of("2001:db8::25") == Origin(asn=64500, network="2001:db8::/32", holder="Example Net")
    assert not await world.of("192.0.2.1")
    assert not world.events


async def test_the_zone_is_asked_for_what_the_files_do_not_say(tmp_path: Path) -> None:
    asn = write_mmdb(tmp_path / "asn.mmdb", {"198.51.100.0/24": ASN})
    found = await World(ZONE, asn_file=str(asn), dns_zone="origin.test").of()
    assert (found.asn, found.country) == (64500, "NL")
    world = World(ZONE, dns_zone="origin.test")
    assert (await world.of()).asn == 64501
    assert not await world.of("198.51.100.8")
    assert not await world.of("10.0.0.1")
    assert not await world.of("2001:db8::25")
    assert not world.events
    there = World({"7.100.51.198.origin.test": {"TXT": "SERVFAIL"}}, dns_zone="origin.test")
    assert not await there.of()


async def test_nothing_configured_is_false(tmp_path: Path) -> None:
    assert not World().origins
    assert World(dns_zone_v6="origin6.test").origins


async def test_a_file_that_was_replaced_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = write_mmdb(tmp_path / "asn.mmdb", {"198.51.100.0/24": ASN})
    world = World(asn_file=str(path))
    write_mmdb(path, {"198.51.100.0/24": {**ASN, "autonomous_system_number": 64999}})
    assert (await world.of()).asn == 64500
    await world.origins.refresh()
    assert (await world.of()).asn == 64999
    path.write_bytes(b"no such file")
    for _ in range(2):
        await world.origins.refresh()
        assert (await world.of()).asn == 64999
    (reason,) = world.reasons("spam.geo-file-error")
    assert reason.startswith("geo.asn-file: expected an .mmdb file")


async def test_a_file_that_is_broken_in_a_place_costs_what_it_would_have_said(tmp_path: Path) -> None:
    path = write_mmdb(tmp_path / "asn.mmdb", {"198.51.100.0/24": ASN})
    octets = path.read_bytes()
    at = octets.index(b"autonomous_system_number")
    path.write_bytes(octets[: at - 1] + b"\xff" * 8 + octets[at + 7 :])
    world = World(asn_file=str(path))
    assert not await world.of()
    (reason,) = world.reasons("spam.classify-error")
    assert reason.startswith("geo.asn-file: ")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "expected a file that can be read"),
        (lambda path: path.mkdir(), "expected a file that can be read"),
        (lambda path: path.write_bytes(b""), "expected an .mmdb file"),
        (lambda path: path.write_bytes(b"\xab\xcd\xefMaxMind.com" + b"\xff" * 50), "expected an .mmdb file"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_key(make: Any, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "country.mmdb"
    make(path)
    with pytest.raises(OptionError, match=f"^geo.country-file: {expected}"):
        open_files(GeoOptions(country_file=str(path)))


def test_a_package_that_is_missing_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mmdb(tmp_path / "asn.mmdb", {"198.51.100.0/24": ASN})
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "maxminddb":
            raise ImportError(name)
        return imported(name, *rest)

    _read.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match=r'^geo.asn-file: needs the package maxminddb \(extra "geoip"\)'):
        open_files(GeoOptions(asn_file=str(path)))


async def test_what_mail_of_a_network_was_scored_is_remembered() -> None:
    stream = EventStream(lambda: 0.0)
    reputations = Reputations(Records(ReputationOptions(enabled=True)), lambda: 0.0)
    stream.subscribe(reputations.heard)
    facts = Facts(address=CLIENT, origin=Origin(asn=64500))
    subject = Subject(facts=facts, findings=Findings(), scanned=Scanned(), content=b"", span=Span(stream), queue_id=7)
    await reputations.tags(subject)
    CLASSIFY(Span(stream), queue_id=7, result="spam")
    assert {each.key for each in reputations.records.all(0.0)} == {"ip:198.51.100.7/32", "asn:64500"}
