"""Signing in (control-api family `auth`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

SUCCESS = EventKind(
    "auth.success", Level.INFO, "Authentication successful", "The credentials are good", "account_name span_id type_"
)
FAILED = EventKind(
    "auth.failed", Level.DEBUG, "Authentication failed", "The credentials are wrong", "account_name type_ remote_ip"
)
TOKEN_EXPIRED = EventKind(
    "auth.token-expired", Level.DEBUG, "Token expired", "The token was good, its time is over", "type_ remote_ip"
)
MISSING_TOTP = EventKind(
    "auth.missing-totp",
    Level.TRACE,
    "Missing TOTP code",
    "The secret is right, the one-time code did not come",
    "account_name type_ remote_ip",
)
TOO_MANY_ATTEMPTS = EventKind(
    "auth.too-many-attempts",
    Level.WARN,
    "Too many authentication attempts",
    "The client tried too often",
    "account_name remote_ip",
)
ERROR = EventKind(
    "auth.error", Level.ERROR, "Authentication error", "The credentials could not be checked", "account_name reason"
)
