"""What can be wrong with TLS at a host, and how TLS reports name it (RFC 8460 §4.3)."""

from __future__ import annotations

from enum import Enum

from relayd.routing.tls_report import PolicyType, ResultType


class Defect(Enum):
    """What is wrong."""

    NO_STARTTLS = "STARTTLS is not offered"
    HANDSHAKE = "the TLS handshake failed"
    TOO_OLD = "the TLS version is too old"
    EXPIRED = "the certificate has expired, or is not valid yet"
    WRONG_NAME = "the certificate is for another name"
    SELF_SIGNED = "the certificate is self-signed"
    UNTRUSTED = "the certificate is of an authority that is not trusted"
    TLSA_MISMATCH = "no TLSA record fits the certificate"
    TLSA_LOOKUP = "the TLSA records could not be had"
    NO_TLSA = "DANE is demanded, and there is no usable TLSA record of a signed zone"
    NOT_IN_POLICY = "the host is not in the domain's MTA-STS policy"
    MX_UNPROVEN = "neither DNSSEC nor MTA-STS says that the host is the domain's"
    NO_REQUIRETLS = "REQUIRETLS is not offered"


CERTIFICATE_DEFECTS = frozenset({Defect.EXPIRED, Defect.WRONG_NAME, Defect.SELF_SIGNED, Defect.UNTRUSTED})
"""Those that validation against authorities (RFC 5280, 6125) finds."""

_RESULTS = {
    Defect.NO_STARTTLS: ResultType.STARTTLS_NOT_SUPPORTED,
    Defect.EXPIRED: ResultType.CERTIFICATE_EXPIRED,
    Defect.WRONG_NAME: ResultType.CERTIFICATE_HOST_MISMATCH,
    Defect.SELF_SIGNED: ResultType.CERTIFICATE_NOT_TRUSTED,
    Defect.UNTRUSTED: ResultType.CERTIFICATE_NOT_TRUSTED,
    Defect.TLSA_LOOKUP: ResultType.DNSSEC_INVALID,
    Defect.NO_TLSA: ResultType.DANE_REQUIRED,
}


def result_type(defect: Defect, against: PolicyType) -> ResultType | None:
    """The result that a report gives for a defect of a session held against a policy.

    None: it says nothing about the domain's TLS, so that no report names it.
    """
    if defect in (Defect.NO_REQUIRETLS, Defect.MX_UNPROVEN):
        return None
    if defect is Defect.NOT_IN_POLICY and against is PolicyType.STS:
        return ResultType.VALIDATION_FAILURE
    return _RESULTS.get(defect, ResultType.VALIDATION_FAILURE)


_EXPIRED_CODES = frozenset({9, 10})
_NAME_CODES = frozenset({62, 63, 64})
_SELF_SIGNED = 18


def certificate_defect(verify_code: int) -> Defect:
    """What OpenSSL's X509_V_ERR code means: 9 and 10 time, 62 to 64 name or address, 18 a certificate that signed
    itself; all others leave no path to a trusted authority.
    """
    if verify_code in _EXPIRED_CODES:
        return Defect.EXPIRED
    if verify_code in _NAME_CODES:
        return Defect.WRONG_NAME
    return Defect.SELF_SIGNED if verify_code == _SELF_SIGNED else Defect.UNTRUSTED
