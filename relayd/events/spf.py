"""Results of SPF (control-api family `spf`): values in the events of a session."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

PASS = EventKind("spf.pass", Level.DEBUG, "SPF check passed", "The domain permits the client", "details")
FAIL = EventKind("spf.fail", Level.DEBUG, "SPF check failed", "The domain does not permit the client", "details")
SOFT_FAIL = EventKind(
    "spf.soft-fail", Level.DEBUG, "SPF soft fail", "The domain probably does not permit the client", "details"
)
NEUTRAL = EventKind(
    "spf.neutral", Level.DEBUG, "SPF neutral result", "The domain says nothing of the client", "details"
)
TEMP_ERROR = EventKind("spf.temp-error", Level.DEBUG, "SPF temporary error", "The DNS did not answer", "details")
PERM_ERROR = EventKind("spf.perm-error", Level.DEBUG, "SPF permanent error", "The SPF record cannot be used", "details")
NONE = EventKind("spf.none", Level.DEBUG, "No SPF record", "No SPF record was found", "details")
