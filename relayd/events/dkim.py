"""Results of DKIM (control-api family `dkim`): values in the events of a session.

Those of ARC chains, but for their problems, are told by them too.
"""

from __future__ import annotations

from relayd.events.event import EventKind, Level

PASS = EventKind("dkim.pass", Level.DEBUG, "DKIM signature verified", "The signature holds", "domain details")
NEUTRAL = EventKind(
    "dkim.neutral",
    Level.DEBUG,
    "DKIM signature not usable",
    "The signature cannot be read, or its domain is testing",
    "domain details",
)
FAIL = EventKind("dkim.fail", Level.DEBUG, "DKIM signature failed", "The signature does not hold", "domain details")
PERM_ERROR = EventKind(
    "dkim.perm-error", Level.DEBUG, "DKIM permanent error", "The signature can never be verified", "domain details"
)
TEMP_ERROR = EventKind(
    "dkim.temp-error", Level.DEBUG, "DKIM temporary error", "The signature could not be verified now", "domain details"
)
NONE = EventKind("dkim.none", Level.DEBUG, "No DKIM signature", "No DKIM signature was found", "domain details")
UNSUPPORTED_VERSION = EventKind(
    "dkim.unsupported-version",
    Level.DEBUG,
    "DKIM version not supported",
    "The version of the signature or key is not known",
    "domain details",
)
UNSUPPORTED_ALGORITHM = EventKind(
    "dkim.unsupported-algorithm",
    Level.DEBUG,
    "DKIM algorithm not supported",
    "The algorithm of the signature is not known",
    "domain details",
)
UNSUPPORTED_CANONICALIZATION = EventKind(
    "dkim.unsupported-canonicalization",
    Level.DEBUG,
    "DKIM canonicalization not supported",
    "The canonical form of the signature is not known",
    "domain details",
)
UNSUPPORTED_KEY_TYPE = EventKind(
    "dkim.unsupported-key-type",
    Level.DEBUG,
    "DKIM key type not supported",
    "The key is of a type or for a service that is not known",
    "domain details",
)
FAILED_BODY_HASH_MATCH = EventKind(
    "dkim.failed-body-hash-match",
    Level.DEBUG,
    "DKIM body hash mismatch",
    "The body was changed after signing",
    "domain details",
)
FAILED_VERIFICATION = EventKind(
    "dkim.failed-verification",
    Level.DEBUG,
    "DKIM verification failed",
    "The header was changed after signing, or the key is another",
    "domain details",
)
FAILED_AUID_MATCH = EventKind(
    "dkim.failed-auid-match",
    Level.DEBUG,
    "DKIM identity mismatch",
    "The identity is not of the domain that signed",
    "domain details",
)
REVOKED_PUBLIC_KEY = EventKind(
    "dkim.revoked-public-key", Level.DEBUG, "DKIM key revoked", "The key record holds no key any more", "domain details"
)
INCOMPATIBLE_ALGORITHMS = EventKind(
    "dkim.incompatible-algorithms",
    Level.DEBUG,
    "DKIM algorithms incompatible",
    "The key is not for the algorithm of the signature",
    "domain details",
)
SIGNATURE_EXPIRED = EventKind(
    "dkim.signature-expired",
    Level.DEBUG,
    "DKIM signature expired",
    "The signature was good until an earlier time",
    "domain details",
)
SIGNATURE_LENGTH = EventKind(
    "dkim.signature-length",
    Level.DEBUG,
    "DKIM signature with a length",
    "The signature covers a part of the body only",
    "domain details",
)
