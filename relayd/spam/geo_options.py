"""Options of where clients' addresses are: `geo.*`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayd.options import DURATION, TEXT, Kind, OptionError, Raw, option, section

_ZONE = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}")


def _parse_zone(value: Raw) -> str:
    text = value.strip().strip(".").lower() if isinstance(value, str) else ""
    if len(text) > 150 or not _ZONE.fullmatch(text):
        raise OptionError('expected the name of a zone such as "origin.asn.cymru.com"')
    return text


@section(
    "geo",
    "Networks and countries of clients, as the tags SOURCE_ASN_n and SOURCE_COUNTRY_CC. The data is yours.",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GeoOptions:
    """`geo.*`"""

    asn_file: str | None = option(
        TEXT,
        None,
        'An .mmdb file of autonomous systems (GeoLite2-ASN, DB-IP, IPinfo ...); needs the extra "geoip". It is kept in '
        "memory; one that was replaced is read within a minute, and at a reload.",
        example="/var/lib/GeoIP/GeoLite2-ASN.mmdb",
    )
    country_file: str | None = option(
        TEXT,
        None,
        "Likewise of countries; it may be the same file.",
        example="/var/lib/GeoIP/GeoLite2-Country.mmdb",
    )
    dns_zone: str | None = option(
        Kind("zone", _parse_zone),
        None,
        "A zone that is asked for what the files do not say, for IPv4: TXT of the reversed address, in the form of "
        "Team Cymru's.",
        example="origin.asn.cymru.com",
    )
    dns_zone_v6: str | None = option(
        Kind("zone", _parse_zone), None, "Likewise for IPv6.", example="origin6.asn.cymru.com"
    )
    timeout: float = option(DURATION, "2s", "How long a message waits for the zone's answer.")
