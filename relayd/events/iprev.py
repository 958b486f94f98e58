"""Results of reverse DNS (control-api family `iprev`): values in the events of a session."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

PASS = EventKind("iprev.pass", Level.DEBUG, "IPREV check passed", "The IPREV check has passed", "details")
FAIL = EventKind("iprev.fail", Level.DEBUG, "IPREV check failed", "No name of the address leads back to it", "details")
PERM_ERROR = EventKind("iprev.perm-error", Level.DEBUG, "IPREV permanent error", "The address has no name", "details")
TEMP_ERROR = EventKind("iprev.temp-error", Level.DEBUG, "IPREV temporary error", "The DNS did not answer", "details")
NONE = EventKind("iprev.none", Level.DEBUG, "IPREV not checked", "The address of the client is not known", "details")
