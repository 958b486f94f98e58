"""DNS questions of the engine."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

LOOKUP = EventKind("dns.lookup", Level.TRACE, "DNS lookup", "A question was answered", "key value elapsed")
LOOKUP_ERROR = EventKind(
    "dns.lookup-error", Level.DEBUG, "DNS lookup failed", "A question was not answered", "key reason elapsed"
)
