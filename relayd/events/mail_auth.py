"""Problems of any check (control-api family `mail-auth`): values in the events of a session."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

PARSE_ERROR = EventKind(
    "mail-auth.parse-error",
    Level.DEBUG,
    "Mail authentication parse error",
    "A signature or record cannot be read",
    "domain details",
)
MISSING_PARAMETERS = EventKind(
    "mail-auth.missing-parameters",
    Level.DEBUG,
    "Mail authentication parameters missing",
    "A signature lacks what it must have",
    "domain details",
)
CRYPTO = EventKind(
    "mail-auth.crypto",
    Level.DEBUG,
    "Mail authentication key not usable",
    "A key cannot be read, or is too weak",
    "domain details",
)
DNS_ERROR = EventKind(
    "mail-auth.dns-error", Level.DEBUG, "Mail authentication DNS error", "The DNS did not answer", "domain details"
)
DNS_RECORD_NOT_FOUND = EventKind(
    "mail-auth.dns-record-not-found",
    Level.DEBUG,
    "Mail authentication record not found",
    "The DNS has no such record",
    "domain details",
)
