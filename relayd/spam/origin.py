"""Where in the net and in the world an address is: its autonomous system and its country.  Pure.

Both come from data of the operator's - .mmdb files, or a zone of the DNS in the form of Team Cymru's - and are facts of
the session, so that rules may look at them.  Their tags are set behind all others and count nothing by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from relayd.spam.tag import Tags, plain

ASN = "SOURCE_ASN_"
COUNTRY = "SOURCE_COUNTRY_"
MAX_ASN = 2**32 - 2
"""The largest number of an autonomous system (RFC 7300 §2)."""

_COUNTRY = re.compile(r"[A-Za-z]{2}")
_NUMBER = re.compile(r"(?:AS)?(\d{1,10})", re.I)
_NUMBERS = ("autonomous_system_number", "asn", "as_number")
_HOLDERS = ("autonomous_system_organization", "as_name", "as_organization", "organization", "name")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """asn: number of the autonomous system that announces the network, 0: not known.  country: two capitals (ISO
    3166-1), "": not known.  network, holder: whose addresses these are, as the data says, for people.
    """

    asn: int = 0
    country: str = ""
    network: str = ""
    holder: str = ""

    def __bool__(self) -> bool:
        return bool(self.asn or self.country)


def is_source_tag(name: str) -> bool:
    """Whether a tag is one of those that `origin_tags` sets."""
    return name.startswith((ASN, COUNTRY))


def origin_tags(origin: Origin, tags: Tags) -> None:
    """Set SOURCE_ASN_n and SOURCE_COUNTRY_CC, each where it is known."""
    evidence = " ".join(filter(None, (origin.network, origin.holder)))
    if origin.asn:
        tags.add(f"{ASN}{origin.asn}", "the autonomous system of the client's address", evidence)
    if origin.country:
        tags.add(f"{COUNTRY}{origin.country}", "the country of the client's address", evidence)


def of_asn_record(record: object, network: str = "") -> Origin:
    """What a record of an .mmdb file says of the autonomous system; an empty Origin where it says nothing of it.

    The names are those of MaxMind's GeoLite2-ASN and DB-IP's, of IPinfo's and of IPLocate's.
    """
    if not isinstance(record, dict):
        return Origin()
    asn = next((number for name in _NUMBERS if (number := _asn(record.get(name)))), 0)
    if not asn:
        return Origin()
    holder = next((text for name in _HOLDERS if isinstance(text := record.get(name), str) and text), "")
    return Origin(asn=asn, network=network, holder=plain(holder))


def of_country_record(record: object, network: str = "") -> Origin:
    """Likewise of the country: `country.iso_code`, else that of the registration; `country_code`, or `country`."""
    if not isinstance(record, dict):
        return Origin()
    for name in ("country", "registered_country", "country_code"):
        value = record.get(name)
        if code := _country(value.get("iso_code") if isinstance(value, dict) else value):
            return Origin(country=code, network=network)
    return Origin()


def of_txt(records: Iterable[bytes]) -> Origin:
    """What a zone of Team Cymru's form answers: "64500 | 192.0.2.0/24 | DE | ripencc | 2001-01-01".

    Of several answers the one of the smallest network counts, of several systems ("64500 64501") the first.
    """
    best, most = Origin(), -1
    for record in records:
        asn, network, country = (
            *(each.strip() for each in record[:512].decode("ascii", "replace").split("|")),
            "",
            "",
        )[:3]
        found = Origin(asn=_asn((asn.split() or [""])[0]), country=_country(country), network=plain(network))
        length = network.rpartition("/")[2]
        bits = int(length) if length.isascii() and length.isdigit() and len(length) < 4 else 0
        if found and bits > most:
            best, most = found, bits
    return best


def together(first: Origin, second: Origin) -> Origin:
    """What both say; where both know a thing, the first."""
    return Origin(
        asn=first.asn or second.asn,
        country=first.country or second.country,
        network=first.network or second.network,
        holder=first.holder or second.holder,
    )


def _asn(value: object) -> int:
    """A number as data has it, 64500 or "AS64500"; 0 for what is none."""
    if isinstance(value, str) and (found := _NUMBER.fullmatch(value.strip())):
        value = int(found[1])
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ASN:
        return value
    return 0


def _country(value: object) -> str:
    return value.strip().upper() if isinstance(value, str) and _COUNTRY.fullmatch(value.strip()) else ""
