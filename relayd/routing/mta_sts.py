"""MTA-STS (RFC 8461): a domain says by HTTPS which hosts take its mail, and that they show valid certificates.

The TXT record at `_mta-sts.<domain>` only says whether there is a policy and, by its id, whether it is a new one.  The
policy lives at `https://mta-sts.<domain>/.well-known/mta-sts.txt` and is kept for its `max_age`; while it is fresh it
counts even when the record or the web server is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from relayd.mail.address import AddressError, a_label
from relayd.routing.tls_records import NAME, VALUE, BadRecord, fields_of, only_record

MAX_POLICY = 65536
"""Octets of a policy (RFC 8461 §3.3 asks for a limit, and suggests 64 KB)."""

MAX_AGE = 31557600
"""Seconds that a policy may be kept at most (RFC 8461 §3.2): a year."""

_MAX_PATTERNS = 1000
_REFRESH = 86400.0
_PATH = "/.well-known/mta-sts.txt"

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DIGITS = re.compile(r"[0-9]{1,10}")


class BadPolicy(ValueError):
    """A policy that does not count; the text says why."""


class Mode(Enum):
    """What a sender does when a host does not fit the policy."""

    ENFORCE = "enforce"
    """Does not deliver there."""
    TESTING = "testing"
    """Delivers, and reports."""
    NONE = "none"
    """As if there were no policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy.  mx: patterns in lower case, "mx.example" or "*.example".  max_age: seconds.

    unknown: names of fields that the RFC does not know; they are ignored.
    """

    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    unknown: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Whether a pattern fits the MX host; "*" stands for exactly one label (RFC 8461 §4.1)."""
        name = _ascii(host)
        parent = name.partition(".")[2]
        return any(name == each or (each[:2] == "*." and parent == each[2:]) for each in self.mx)

    def lines(self) -> tuple[str, ...]:
        """The policy as TLS reports show it (RFC 8460 §4.4)."""
        patterns = tuple(f"mx: {each}" for each in self.mx)
        return ("version: STSv1", f"mode: {self.mode.value}", *patterns, f"max_age: {self.max_age}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A policy as it is kept.  id: of the record it was fetched for.  fetched, checked: Unix seconds; `checked` is
    when the record or the policy was last asked for.
    """

    policy: Policy
    id: str
    fetched: float
    checked: float

    def is_fresh(self, now: float) -> bool:
        """Whether the policy still counts at `now`."""
        return self.fetched <= now < self.fetched + self.policy.max_age

    def is_due(self, now: float) -> bool:
        """Whether a policy in use should be fetched anew although its id is the old one (RFC 8461 §3.3, §5.1): daily,
        and earlier where it would not last that long.
        """
        return now - self.fetched >= min(_REFRESH, self.policy.max_age / 2)


def wants_fetch(kept: Kept | None, id: str | None, now: float) -> bool:
    """Whether to fetch the policy of a domain whose record says `id` (None: no record, or nobody could say).

    Without a record a policy that is fresh still counts and needs no fetch; one that is not, is none.
    """
    if id is None:
        return False
    return kept is None or not kept.is_fresh(now) or kept.id != id or kept.is_due(now)


def policy_url(domain: str, port: int = 443) -> str:
    """Where a domain's policy is."""
    return f"https://mta-sts.{domain}{'' if port == 443 else f':{port}'}{_PATH}"


def record_name(domain: str) -> str:
    """Where a domain's record is."""
    return f"_mta-sts.{domain}"


def record_id(records: Iterable[bytes]) -> str | None:
    """The id that a name's TXT records give; None when none of them is MTA-STS's.

    Raises BadRecord: more than one, or one that cannot be read; then there is no policy either (RFC 8461 §3.1).
    """
    found = only_record(records, "STSv1")
    return None if found is None else parse_record(found)


def parse_record(record: bytes) -> str:
    """The id in one TXT record.  Raises BadRecord."""
    id: str | None = None
    for field in fields_of(record, "STSv1"):
        name, equals, value = field.partition("=")
        if not equals or not NAME.fullmatch(name) or not VALUE.fullmatch(value):
            raise BadRecord(f"not a field: {field[:64]!r}")
        if name == "id" and id is None:
            if not _ID.fullmatch(value):
                raise BadRecord(f"not an id: {value[:64]!r}")
            id = value
    if id is None:
        raise BadRecord("no id")
    return id


def parse_policy(body: bytes) -> Policy:
    """A policy from the body of the web server's answer; LF or CRLF ends its lines.  Raises BadPolicy."""
    if len(body) > MAX_POLICY:
        raise BadPolicy(f"{len(body)} octets")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPolicy("not UTF-8") from None
    once: dict[str, str] = {}
    patterns: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for line in text.split("\n"):
        line = line.removesuffix("\r").rstrip(" \t")
        if not line:
            continue
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon or not NAME.fullmatch(name) or not value:
            raise BadPolicy(f"not a field: {line[:64]!r}")
        if name == "mx":
            patterns[_pattern(value)] = None
        elif name in ("version", "mode", "max_age"):
            once.setdefault(name, value)  # the first counts (RFC 8461 §3.2)
        else:
            unknown[name] = None
    return _policy(once, tuple(patterns), tuple(unknown)[:16])


def _policy(once: dict[str, str], patterns: tuple[str, ...], unknown: tuple[str, ...]) -> Policy:
    missing = [name for name in ("version", "mode", "max_age") if name not in once]
    if missing:
        raise BadPolicy(f"no {missing[0]}")
    if once["version"] != "STSv1":
        raise BadPolicy(f"version {once['version'][:64]!r}")
    try:
        mode = Mode(once["mode"])
    except ValueError:
        raise BadPolicy(f"mode {once['mode'][:64]!r}") from None
    if not _DIGITS.fullmatch(once["max_age"]):
        raise BadPolicy(f"max_age {once['max_age'][:64]!r}")
    if mode is not Mode.NONE and not patterns:
        raise BadPolicy("no mx")
    if len(patterns) > _MAX_PATTERNS:
        raise BadPolicy(f"{len(patterns)} mx")
    return Policy(mode=mode, mx=patterns, max_age=min(int(once["max_age"]), MAX_AGE), unknown=unknown)


def _pattern(value: str) -> str:
    pattern = value.lower()
    name = pattern.removeprefix("*.")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise BadPolicy(f"not a host: {value[:64]!r}")
    return pattern


def _ascii(host: str) -> str:
    name = host.lower().rstrip(".")
    if name.isascii():
        return name
    try:
        return a_label(name)
    except AddressError:
        return name
