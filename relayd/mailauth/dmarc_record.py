"""DMARC policy records (RFC 9989 §4.7, §4.8; RFC 7489 §6.3): which text is one, and what it says.

Reading is linear in the record and never raises: what cannot be read in it counts as not there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from relayd.mailauth.findings import Policy

_VERSION = re.compile(rb"[ \t]*v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)", re.I)
_NAME = re.compile(r"[A-Za-z]+")
_VALUE = re.compile(r"[ -:<-~]+")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([^\s,!]+)(?:!([0-9]{1,18})([kmgt]?))?", re.I)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_CACHED = 1024  # octets; longer records are read each time, so that the cache stays small
_POLICIES = {policy.value: policy for policy in Policy}


class ReportUri(msgspec.Struct, frozen=True):
    """Where reports go.  max_size: octets, 0 for no limit (the obsolete "!10m")."""

    uri: str
    max_size: int = 0


class DmarcRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a record says.

    policy, subdomains, nonexistent: p, sp, np; the last two None where the record has none, the first none where it has
    none (§4.7).  applies: False when one of the three is unreadable and no address for reports makes up for it
    (§4.10.1); with one, the record counts as p=none (recovered).  psd: "y", "n" or "u".  pct: of RFC 7489; RFC 9989
    does not look at it.  tags: every tag as it stands, by name in lower case, first ones only.
    """

    text: str
    policy: Policy
    subdomains: Policy | None
    nonexistent: Policy | None
    applies: bool
    recovered: bool
    strict_dkim: bool
    strict_spf: bool
    testing: bool
    psd: str
    pct: int
    failure_options: str
    aggregate: tuple[ReportUri, ...]
    failures: tuple[ReportUri, ...]
    tags: Mapping[str, str]


def is_record(text: bytes) -> bool:
    """Whether a TXT record is a DMARC record: "v=DMARC1" comes first, the value in capitals (§4.7)."""
    found = _VERSION.match(text)
    return found is not None and b"DMARC1" in found[0]


def read_record(octets: bytes) -> DmarcRecord:
    """What a record, as `is_record` knows it, says."""
    return _read_cached(octets) if len(octets) <= _CACHED else _read(octets)


def _read(octets: bytes) -> DmarcRecord:
    text = octets.decode("utf-8", "replace")
    tags = _tags(text)
    policies = {name: _POLICIES.get(tags[name].lower()) if name in tags else None for name in ("p", "sp", "np")}
    aggregate = _uris(tags.get("rua", ""))
    is_whole = all(policies[name] is not None for name in ("p", "sp", "np") if name in tags)
    return DmarcRecord(
        text=text,
        policy=(is_whole and policies["p"]) or Policy.NONE,
        subdomains=policies["sp"] if is_whole else None,
        nonexistent=policies["np"] if is_whole else None,
        applies=is_whole or bool(aggregate),
        recovered=not is_whole,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        testing=tags.get("t", "").lower() == "y",
        psd=_psd(tags.get("psd", "").lower()),
        pct=_percent(tags.get("pct", "")),
        failure_options=tags.get("fo", "0").lower(),
        aggregate=aggregate,
        failures=_uris(tags.get("ruf", "")),
        tags=MappingProxyType(tags),
    )


_read_cached = functools.lru_cache(2048)(_read)


def _tags(text: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if equals and _NAME.fullmatch(name) and _VALUE.fullmatch(value):
            tags.setdefault(name.lower(), value)
    return tags


def _psd(value: str) -> str:
    return value if value in ("y", "n") else "u"


def _percent(value: str) -> int:
    return int(value) if value.isdecimal() and len(value) <= 3 and int(value) <= 100 else 100


def _uris(value: str) -> tuple[ReportUri, ...]:
    """The readable ones of a list of URIs; a mailto: one needs an address."""
    found = []
    for part in value.split(","):
        uri = _URI.fullmatch(part.strip(" \t"))
        if uri is None or (uri[1].lower() == "mailto" and not re.fullmatch(r"[^@]+@[^@]+", uri[2])):
            continue
        size = int(uri[3]) << _UNITS[uri[4].lower()] if uri[3] else 0
        found.append(ReportUri(f"{uri[1]}:{uri[2]}", size))
    return tuple(found)
