"""SPF records (RFC 7208 §4.5, §4.6, §12): which text is one, and what it says.

Reading is linear in the record, bounded, and raises SpfSyntaxError only.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relayd.mailauth.findings import Result
from relayd.mailauth.spf_macro import (
    MAX_TEXT,
    MacroString,
    SpfSyntaxError,
    read_domain_spec,
    read_macro_string,
    shown,
)

_VERSION = b"v=spf1"
_TEXT = re.compile(r"[ -~]*")
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.S)
_DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z0-9]+)(.*)", re.S)
_CIDR = re.compile(r"(?P<before>.*?)(?:/(?P<four>[0-9]+))?(?://(?P<six>[0-9]+))?", re.S)
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IP4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:/([0-9]+))?")
_QUALIFIERS = {"+": Result.PASS, "": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
_CACHED = 2048  # octets; longer records are read each time, so that the cache stays small


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses of one family that begin with the same bits; shift: how many bits do not count."""

    version: int
    bits: int
    shift: int

    def holds(self, version: int, address: int) -> bool:
        """Whether an address, as a number, is in it."""
        return version == self.version and address >> self.shift == self.bits


@dataclass(frozen=True, slots=True)
class Directive:
    """A qualified mechanism.  text: as written.  domain: None for the domain itself.  four, six: prefix lengths."""

    text: str
    qualifier: Result
    mechanism: str
    domain: MacroString | None = None
    network: Network | None = None
    four: int = 32
    six: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says."""

    directives: tuple[Directive, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def select_records(texts: Iterable[bytes]) -> list[bytes]:
    """Those TXT records that are SPF records, version 1 (§4.5)."""
    return [text for text in texts if text[:6].lower() == _VERSION and text[6:7] in (b"", b" ")]


def read_record(text: bytes) -> Record:
    """What a selected record says; SpfSyntaxError."""
    return _read_cached(text) if len(text) <= _CACHED else _read(text)


def _read(octets: bytes) -> Record:
    if len(octets) > MAX_TEXT:
        raise SpfSyntaxError(f"the record is longer than {MAX_TEXT} octets")
    text = octets.decode("latin-1")
    if not _TEXT.fullmatch(text):
        raise SpfSyntaxError(f'"{shown(text)}" holds characters that are not printable ASCII')
    directives = []
    modifiers: dict[str, MacroString] = {}
    for term in text[len(_VERSION) :].split(" "):
        if not term:
            continue
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            directives.append(_directive(term))
            continue
        name = modifier[1].lower()
        if name not in ("redirect", "exp"):
            read_macro_string(modifier[2])
        elif name in modifiers:
            raise SpfSyntaxError(f'"{name}=" stands twice')
        else:
            modifiers[name] = read_domain_spec(modifier[2])
    return Record(tuple(directives), modifiers.get("redirect"), modifiers.get("exp"))


_read_cached = functools.lru_cache(2048)(_read)


def _directive(term: str) -> Directive:
    found = _DIRECTIVE.fullmatch(term)
    read = _MECHANISMS.get(found[2].lower()) if found else None
    if found is None or read is None:
        raise SpfSyntaxError(f'"{shown(term)}" is no mechanism')
    return read(term, _QUALIFIERS[found[1]], found[2].lower(), found[3])


def _all(term: str, qualifier: Result, mechanism: str, rest: str) -> Directive:
    if rest:
        raise SpfSyntaxError(f'"{shown(term)}": "all" takes nothing')
    return Directive(term, qualifier, mechanism)


def _with_domain(term: str, qualifier: Result, mechanism: str, rest: str) -> Directive:
    """include, exists: a domain-spec is needed."""
    if rest[:1] != ":":
        raise SpfSyntaxError(f'"{shown(term)}": a domain name is missing')
    return Directive(term, qualifier, mechanism, read_domain_spec(rest[1:]))


def _maybe_domain(term: str, qualifier: Result, mechanism: str, rest: str) -> Directive:
    """ptr: a domain-spec is allowed."""
    if not rest:
        return Directive(term, qualifier, mechanism)
    return _with_domain(term, qualifier, mechanism, rest)


def _with_lengths(term: str, qualifier: Result, mechanism: str, rest: str) -> Directive:
    """a, mx: a domain-spec and prefix lengths are allowed."""
    found = _CIDR.fullmatch(rest)
    assert found is not None  # the pattern takes everything
    before = found["before"]
    if before and before[0] != ":":
        raise SpfSyntaxError(f'"{shown(term)}" is no mechanism')
    domain = read_domain_spec(before[1:]) if before else None
    four = _length(term, found["four"], 32)
    six = _length(term, found["six"], 128)
    return Directive(term, qualifier, mechanism, domain, four=four, six=six)


def _ip4(term: str, qualifier: Result, mechanism: str, rest: str) -> Directive:
    found = _IP4.fullmatch(rest, 1) if rest[:1] == ":" else None
    if found is None:
        raise SpfSyntaxError(f'"{shown(term)}": expected an IPv4 network')
    first, second, third, fourth, length = found.groups()
    shift = 32 - _length(term, length, 32)
    address = int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)
    return Directive(term, qualifier, mechanism, network=Network(4, address >> shift, shift))


def _ip6(term: str, qualifier: Result, mechanism: str, rest: str) -> Directive:
    text, slash, length = rest[1:].partition("/")
    try:
        if rest[:1] != ":" or "%" in text or (slash and not length.isdecimal()):
            raise ValueError
        address = int(ipaddress.IPv6Address(text))
    except ValueError:
        raise SpfSyntaxError(f'"{shown(term)}": expected an IPv6 network') from None
    shift = 128 - _length(term, length, 128)
    return Directive(term, qualifier, mechanism, network=Network(6, address >> shift, shift))


def _length(term: str, digits: str | None, most: int) -> int:
    """A prefix length: no leading zero, not beyond the address's bits."""
    if not digits:
        return most
    if len(digits) > 3 or (digits[0] == "0" and digits != "0") or int(digits) > most:
        raise SpfSyntaxError(f'"{shown(term)}": the prefix length is not 0 to {most}')
    return int(digits)


_MECHANISMS: dict[str, Callable[[str, Result, str, str], Directive]] = {
    "all": _all,
    "include": _with_domain,
    "a": _with_lengths,
    "mx": _with_lengths,
    "ptr": _maybe_domain,
    "ip4": _ip4,
    "ip6": _ip6,
    "exists": _with_domain,
}
