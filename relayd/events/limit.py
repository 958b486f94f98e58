"""Limits reached (control-api family `limit`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

SIZE_REQUEST = EventKind(
    "limit.size-request", Level.DEBUG, "Request too large", "The request is over the size limit", "size limit"
)
CONCURRENT_CONNECTION = EventKind(
    "limit.concurrent-connection",
    Level.WARN,
    "Too many connections",
    "The listener has as many connections as it may",
    "listener_id limit remote_ip",
)
QUOTA = EventKind(
    "limit.quota",
    Level.INFO,
    "Quota exceeded",
    "An account, its domain or its tenant has sent what it may in a time",
    "account_name key type_ total",
)
TOO_MANY_REQUESTS = EventKind(
    "limit.too-many-requests", Level.WARN, "Too many requests", "The caller is over its rate", "remote_ip"
)

TENANT_QUOTA = EventKind(
    "limit.tenant-quota",
    Level.INFO,
    "Tenant quota exceeded",
    "The tenant has as many principals of a type as it may",
    "account_name reason",
)
