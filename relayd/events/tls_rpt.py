"""TLS reporting: whom a domain wants to be told (control-api family `tls-rpt`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

RECORD_FETCH = EventKind(
    "tls-rpt.record-fetch",
    Level.INFO,
    "TLS reporting record found",
    "The domain says whom to tell about the TLS of its hosts",
    "domain details elapsed",
)
RECORD_FETCH_ERROR = EventKind(
    "tls-rpt.record-fetch-error",
    Level.INFO,
    "TLS reporting record not usable",
    "The domain's record could not be had, or not be read",
    "domain reason elapsed",
)
RECORD_NOT_FOUND = EventKind(
    "tls-rpt.record-not-found",
    Level.INFO,
    "No TLS reporting record",
    "The domain asks for no reports",
    "domain elapsed",
)
