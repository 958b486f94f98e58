"""Events of the family "filter": what outside scanners (ClamAV, SpamAssassin, rspamd) say, and how they fare."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

PASSED = EventKind(
    "filter.passed",
    Level.DEBUG,
    "Passed a scanner",
    "The scanner has nothing against the message",
    "id queue_id score elapsed",
)
FOUND = EventKind(
    "filter.found",
    Level.INFO,
    "Found by a scanner",
    "The scanner names a virus, or calls the message spam; policy says what follows",
    "id queue_id result score details policy elapsed",
)
SKIPPED = EventKind(
    "filter.skipped",
    Level.INFO,
    "Not scanned",
    "The message is larger than what this scanner is given",
    "id queue_id size limit",
)
FAILED = EventKind(
    "filter.failed",
    Level.WARN,
    "Scanner failed",
    "No answer, or none that can be understood; policy says what becomes of the message",
    "id queue_id reason policy elapsed",
)
SUSPENDED = EventKind(
    "filter.suspended",
    Level.WARN,
    "Filter not asked for now",
    "It failed several times in a row: until it is tried again, its failure policy holds at once",
    "id reason next_retry",
)
RESUMED = EventKind("filter.resumed", Level.INFO, "Filter asked again", "It answers again", "id")
SWITCHED = EventKind(
    "filter.switched", Level.INFO, "Scanner switched", "An operator switched it on or off", "id policy account_name"
)
