"""Spam scoring (control-api family `spam`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

DNSBL = EventKind(
    "spam.dnsbl",
    Level.DEBUG,
    "Lists asked",
    "Lists in the DNS were asked about a message",
    "queue_id total details elapsed",
)
DNSBL_ERROR = EventKind(
    "spam.dnsbl-error",
    Level.WARN,
    "List does not answer",
    "A list in the DNS gave no answer, or will not answer us; it counts for nothing",
    "queue_id id reason",
)
