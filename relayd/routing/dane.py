"""DANE for SMTP (RFC 7672, 7671): does the certificate chain that a host presents fit its TLSA records?

Only usages 2 (DANE-TA) and 3 (DANE-EE) count between mail servers; 0 and 1 are unusable (RFC 7672 §3.1.3).  Usage 3
looks at the host's own certificate or key alone: neither names nor dates matter.  Usage 2 names an authority: a path
must lead to it, with valid dates, and the certificate must be for one of the host's names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification

from relayd.resolver.answer import Tlsa
from relayd.routing.tls_defect import Defect

MAX_RECORDS = 64
"""TLSA records of one host that are looked at."""

MAX_CHAIN = 10
"""Certificates of a presented chain that are looked at."""

_TA, _EE = 2, 3
_FULL, _KEY = 0, 1
_EXACT = 0
_DIGESTS: dict[int, tuple[int, Callable[[bytes], bytes]]] = {
    1: (32, lambda octets: hashlib.sha256(octets).digest()),
    2: (64, lambda octets: hashlib.sha512(octets).digest()),
}


def tlsa_name(host: str, port: int) -> str:
    """Where a host's TLSA records for SMTP at `port` are (RFC 6698 §3)."""
    return f"_{port}._tcp.{host}"


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """The records that a mail server can check, in their order (RFC 7672 §2.1, §3.1.3).

    Where one usage and selector has records by SHA2-512 and by SHA2-256, the weaker are left out (RFC 7671 §9).
    """
    good = [each for each in records if _is_usable(each)][:MAX_RECORDS]
    strong = {(each.usage, each.selector) for each in good if each.matching == 2}
    return tuple(each for each in good if each.matching != 1 or (each.usage, each.selector) not in strong)


def _is_usable(record: Tlsa) -> bool:
    if record.usage not in (_TA, _EE) or record.selector not in (_FULL, _KEY) or not record.data:
        return False
    if record.matching == _EXACT:
        return True
    return record.matching in _DIGESTS and len(record.data) == _DIGESTS[record.matching][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What came of it: the record that fits, or the defect; reason: in words.  unreadable: a certificate is."""

    record: Tlsa | None = None
    defect: Defect | None = None
    reason: str = ""
    unreadable: bool = False


def verify(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: float) -> Verified:
    """Hold a presented chain against usable records.

    chain: DER, the host's own certificate first.  names: what its certificate may be for (RFC 7672 §3.2.2): the TLSA
    records' host, the domain.  now: Unix seconds.  The reason of the defect is that of the record that came closest.
    """
    if not chain:
        return Verified(defect=Defect.TLSA_MISMATCH, reason="no certificate was presented")
    try:
        certificates = [x509.load_der_x509_certificate(each) for each in chain[:MAX_CHAIN]]
        keys = [_key_of(each) for each in certificates]
    except (ValueError, UnsupportedAlgorithm) as error:
        reason = f"a certificate cannot be read: {error}"
        return Verified(defect=Defect.TLSA_MISMATCH, reason=reason, unreadable=True)
    for record in records:
        if record.usage == _EE and _fits(record, chain[0], keys[0]):
            return Verified(record=record)
    closest = Verified(defect=Defect.TLSA_MISMATCH, reason=f"none of {len(records)} TLSA records fits the certificate")
    for record in records:
        if record.usage != _TA:
            continue
        for anchor in _anchors(record, chain, certificates, keys):
            defect, reason = _path_defect(certificates, anchor, names, now)
            if defect is None:
                return Verified(record=record)
            closest = Verified(defect=defect, reason=reason)
    return closest


def _fits(record: Tlsa, certificate: bytes, key: bytes) -> bool:
    octets = certificate if record.selector == _FULL else key
    return record.data == (octets if record.matching == _EXACT else _DIGESTS[record.matching][1](octets))


def _key_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _anchors(
    record: Tlsa, chain: Sequence[bytes], certificates: Sequence[x509.Certificate], keys: Sequence[bytes]
) -> list[x509.Certificate]:
    """The authorities that a usage 2 record names: presented ones, and one that it holds whole itself ("2 0 0")."""
    found = [
        certificate
        for certificate, octets, key in zip(certificates, chain, keys, strict=False)
        if _fits(record, octets, key)
    ]
    if not found and record.selector == _FULL and record.matching == _EXACT:
        try:
            found.append(x509.load_der_x509_certificate(record.data))
        except ValueError:
            return []  # no certificate: it fits nothing
    return found


def _path_defect(
    chain: Sequence[x509.Certificate], anchor: x509.Certificate, names: Sequence[str], now: float
) -> tuple[Defect | None, str]:
    """Why no valid path leads from the host's certificate to `anchor`, None when one does."""
    moment = datetime.fromtimestamp(now, UTC)
    for each in (chain[0], anchor):
        if not each.not_valid_before_utc <= moment <= each.not_valid_after_utc:
            return Defect.EXPIRED, "the certificate, or its authority's, is not valid now"
    named = _names_of(chain[0])
    fitting = next((name for name in names if any(_is_for(pattern, name) for pattern in named)), None)
    if fitting is None:
        shown = ", ".join(named[:5]) or "no name"
        return Defect.WRONG_NAME, f"the certificate is for {shown}, not {' or '.join(names)}"
    builder = verification.PolicyBuilder().store(verification.Store([anchor])).time(moment.replace(tzinfo=None))
    builder = builder.extension_policies(ca_policy=_AUTHORITIES, ee_policy=_HOSTS)
    try:
        builder.build_server_verifier(x509.DNSName(fitting)).verify(chain[0], list(chain[1:]))
    except (verification.VerificationError, ValueError) as error:
        return Defect.UNTRUSTED, f"no path to the authority that the TLSA record names: {error}"
    return None, ""


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    return [name.lower() for name in names.value.get_values_for_type(x509.DNSName)]


def _is_for(pattern: str, name: str) -> bool:
    """RFC 6125 §6.4: "*" is the whole first label and nothing else."""
    name = name.lower().rstrip(".")
    return pattern == name or (pattern[:2] == "*." and name.partition(".")[2] == pattern[2:])


def _must_be_authority(
    policy: verification.Policy, certificate: x509.Certificate, extension: x509.BasicConstraints
) -> None:
    if not extension.ca:
        raise ValueError("a certificate on the path is no authority's")


# Private authorities, which DANE-TA is for, seldom keep the CA/Browser Forum's rules; those of RFC 5280 that make a
# path a path stay: signatures, dates, names and their constraints, who is an authority, and the length of the path.
_AUTHORITIES = verification.ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, verification.Criticality.AGNOSTIC, _must_be_authority
)
_HOSTS = verification.ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
)
