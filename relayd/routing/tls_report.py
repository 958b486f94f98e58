"""TLS reporting (RFC 8460): whom a domain asks to be told, and the results that it is told of, by day and policy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from relayd.routing.tls_records import NAME, VALUE, BadRecord, fields_of, only_record

_MAX_URIS = 100
_DAY = 86400
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@$&'()*+=!]|%[0-9A-Fa-f]{2})+")

MAX_DETAILS = 500
"""Failures of one policy and day that are told apart; further ones are only counted."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants reports.  rua: every URI, in order.  extensions: names and values of unknown fields."""

    rua: tuple[str, ...]
    extensions: tuple[tuple[str, str], ...] = ()

    @property
    def usable(self) -> tuple[str, ...]:
        """The URIs of the schemes that the RFC knows: mailto and https."""
        return tuple(uri for uri in self.rua if uri.lower().startswith(("mailto:", "https://")))


def record_name(domain: str) -> str:
    """Where a domain's record is."""
    return f"_smtp._tls.{domain}"


def find_record(records: Iterable[bytes]) -> Record | None:
    """The record among a name's TXT records, None where there is none.

    Raises BadRecord: more than one, or one that cannot be read; then nothing is sent (RFC 8460 §3).
    """
    found = only_record(records, "TLSRPTv1")
    return None if found is None else parse_record(found)


def parse_record(record: bytes) -> Record:
    """One TXT record.  Raises BadRecord."""
    rua: list[str] = []
    extensions: list[tuple[str, str]] = []
    for field in fields_of(record, "TLSRPTv1"):
        name, equals, value = field.partition("=")
        if equals and name == "rua":
            rua += _uris(value)
        elif equals and NAME.fullmatch(name) and VALUE.fullmatch(value):
            extensions.append((name, value))
        else:
            raise BadRecord(f"not a field: {field[:64]!r}")
    if not rua:
        raise BadRecord("no rua")
    if len(rua) > _MAX_URIS:
        raise BadRecord(f"{len(rua)} URIs")
    return Record(rua=tuple(rua), extensions=tuple(extensions))


def _uris(value: str) -> list[str]:
    found = [uri.strip(" \t") for uri in value.split(",")]
    for uri in found:
        if not _URI.fullmatch(uri):
            raise BadRecord(f"not a URI: {uri[:64]!r}")
    return found


class ResultType(Enum):
    """What failed (RFC 8460 §4.3)."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


class PolicyType(Enum):
    """What a session was held against."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class AppliedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy of a domain.  strings: the policy itself, TLSA records or lines.  mx: patterns of an STS policy."""

    domain: str
    type: PolicyType
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A way in which sessions failed; equal ones are counted together."""

    result: ResultType
    sending_ip: str = ""
    mx: str = ""
    helo: str = ""
    receiving_ip: str = ""
    reason: str = ""


class Results(msgspec.Struct, kw_only=True):
    """The sessions of one day held against one policy.  failures: how many of each kind, at most MAX_DETAILS kinds."""

    successes: int = 0
    failed: int = 0
    failures: dict[Failure, int] = msgspec.field(default_factory=dict)

    def add(self, failure: Failure | None, sessions: int = 1) -> None:
        """Count sessions; failure None: they went well."""
        if failure is None:
            self.successes += sessions
            return
        self.failed += sessions
        if failure in self.failures or len(self.failures) < MAX_DETAILS:
            self.failures[failure] = self.failures.get(failure, 0) + sessions


def day_of(now: float) -> int:
    """The UTC day of `now` (Unix seconds), as its first second."""
    return int(now // _DAY) * _DAY


class Collected:
    """The results of many days, domains and policies; at most `limit` of those combinations, further ones are
    counted in `dropped`.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._results: dict[tuple[int, AppliedPolicy], Results] = {}
        self.dropped = 0

    def add(self, policy: AppliedPolicy, failure: Failure | None, now: float, sessions: int = 1) -> None:
        """Count sessions that ended at `now`."""
        key = day_of(now), policy
        results = self._results.get(key)
        if results is None:
            if len(self._results) >= self._limit:
                self.dropped += sessions
                return
            results = self._results[key] = Results()
        results.add(failure, sessions)

    def domains(self, day: int) -> list[str]:
        """The domains with results of a day, sorted."""
        return sorted({policy.domain for kept, policy in self._results if kept == day})

    def of(self, domain: str, day: int) -> dict[AppliedPolicy, Results]:
        """The results of one domain and day."""
        return {
            policy: results
            for (kept, policy), results in self._results.items()
            if kept == day and policy.domain == domain
        }

    def take(self, before: int) -> list[tuple[int, AppliedPolicy, Results]]:
        """Remove and give the results of all days before the one that begins at `before`."""
        keys = [key for key in self._results if key[0] < before]
        return [(*key, self._results.pop(key)) for key in keys]

    def __len__(self) -> int:
        return len(self._results)


def policies_of(results: Mapping[AppliedPolicy, Results]) -> list[dict[str, Any]]:
    """The `policies` of a report (RFC 8460 §4.4)."""
    return [
        {
            "policy": _shown(policy),
            "summary": {
                "total-successful-session-count": each.successes,
                "total-failure-session-count": each.failed,
            },
            "failure-details": _details(list(each.failures.items())),
        }
        for policy, each in results.items()
    ]


def _shown(policy: AppliedPolicy) -> dict[str, Any]:
    shown: dict[str, Any] = {"policy-type": policy.type.value, "policy-domain": policy.domain}
    if policy.strings:
        shown["policy-string"] = list(policy.strings)
    if policy.mx:
        shown["mx-host"] = list(policy.mx)
    return shown


def _details(failures: Sequence[tuple[Failure, int]]) -> list[dict[str, Any]]:
    details = []
    for failure, sessions in failures:
        named = {
            "result-type": failure.result.value,
            "sending-mta-ip": failure.sending_ip,
            "receiving-mx-hostname": failure.mx,
            "receiving-mx-helo": failure.helo,
            "receiving-ip": failure.receiving_ip,
            "failure-reason-code": failure.reason,
        }
        details.append({key: value for key, value in named.items() if value} | {"failed-session-count": sessions})
    return details
