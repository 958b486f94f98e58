"""DANE towards the next hop (control-api family `dane`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

AUTHENTICATION_SUCCESS = EventKind(
    "dane.authentication-success",
    Level.INFO,
    "DANE authentication succeeded",
    "The host's certificate fits one of its TLSA records",
    "hostname details",
)
AUTHENTICATION_FAILURE = EventKind(
    "dane.authentication-failure",
    Level.INFO,
    "DANE authentication failed",
    "The host's certificate does not fit its TLSA records",
    "hostname reason",
)
TLSA_RECORD_MATCH = EventKind(
    "dane.tlsa-record-match",
    Level.INFO,
    "TLSA record matched",
    "The certificate is the one that a TLSA record names",
    "hostname details",
)
NO_CERTIFICATES_FOUND = EventKind(
    "dane.no-certificates-found",
    Level.INFO,
    "No certificates",
    "The host has TLSA records and showed no certificate",
    "hostname",
)
CERTIFICATE_PARSE_ERROR = EventKind(
    "dane.certificate-parse-error",
    Level.INFO,
    "Certificate unreadable",
    "A certificate that the host showed cannot be read",
    "hostname reason",
)
TLSA_RECORD_FETCH = EventKind(
    "dane.tlsa-record-fetch",
    Level.INFO,
    "TLSA records found",
    "A signed zone has TLSA records of the host",
    "hostname details elapsed",
)
TLSA_RECORD_FETCH_ERROR = EventKind(
    "dane.tlsa-record-fetch-error",
    Level.INFO,
    "TLSA lookup failed",
    "The host is of a signed zone, and nobody could say whether it has TLSA records",
    "hostname reason elapsed",
)
TLSA_RECORD_NOT_FOUND = EventKind(
    "dane.tlsa-record-not-found", Level.INFO, "No TLSA records", "The host has no TLSA records", "hostname elapsed"
)
TLSA_RECORD_NOT_DNSSEC_SIGNED = EventKind(
    "dane.tlsa-record-not-dnssec-signed",
    Level.INFO,
    "TLSA records not signed",
    "The host has TLSA records that no DNSSEC signature vouches for; they are ignored",
    "hostname elapsed",
)
TLSA_RECORD_INVALID = EventKind(
    "dane.tlsa-record-invalid",
    Level.INFO,
    "TLSA records unusable",
    "None of the host's TLSA records can be checked: TLS is demanded, with any certificate",
    "hostname details",
)
