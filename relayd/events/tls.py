"""TLS as a server (control-api family `tls`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

HANDSHAKE = EventKind("tls.handshake", Level.INFO, "TLS handshake", "TLS is active", "listener_id version details")
HANDSHAKE_ERROR = EventKind(
    "tls.handshake-error", Level.DEBUG, "TLS handshake failed", "TLS could not be started", "listener_id reason"
)
NO_CERTIFICATES_AVAILABLE = EventKind(
    "tls.no-certificates-available", Level.WARN, "No certificate", "No certificate is configured", "listener_id details"
)
NOT_CONFIGURED = EventKind(
    "tls.not-configured",
    Level.ERROR,
    "TLS not configured",
    "A listener that speaks TLS from the first octet has no certificate for it",
    "listener_id details",
)
CERTIFICATE_NOT_FOUND = EventKind(
    "tls.certificate-not-found",
    Level.DEBUG,
    "No certificate of that name",
    "A client asked for a name that no certificate is for; it is shown the default one",
    "details",
)
MULTIPLE_CERTIFICATES_AVAILABLE = EventKind(
    "tls.multiple-certificates-available",
    Level.WARN,
    "No default certificate",
    "There are several certificates and none is the default: clients that name no host are shown the first",
    "details",
)
CERTIFICATE_LOADED = EventKind(
    "tls.certificate-loaded",
    Level.INFO,
    "Certificate loaded",
    "A certificate was loaded, or loaded anew",
    "id path expires",
)
CERTIFICATE_ERROR = EventKind(
    "tls.certificate-error",
    Level.ERROR,
    "Certificate not usable",
    "A certificate could not be loaded; the one before it stays",
    "id path reason",
)
