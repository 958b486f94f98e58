"""Results of DMARC (control-api family `dmarc`): values in the events of a session."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

PASS = EventKind("dmarc.pass", Level.DEBUG, "DMARC check passed", "An aligned domain was proved", "details")
FAIL = EventKind("dmarc.fail", Level.DEBUG, "DMARC check failed", "No aligned domain was proved", "details")
PERM_ERROR = EventKind(
    "dmarc.perm-error", Level.DEBUG, "DMARC permanent error", "The DMARC policy cannot be used", "details"
)
TEMP_ERROR = EventKind("dmarc.temp-error", Level.DEBUG, "DMARC temporary error", "The DNS did not answer", "details")
NONE = EventKind("dmarc.none", Level.DEBUG, "No DMARC record", "No DMARC record was found", "details")
