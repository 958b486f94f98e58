"""Databases and bodies (control-api family `store`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

OPEN = EventKind("store.open", Level.INFO, "Database opened", "The database is open", "path version")
COMMIT_FAILED = EventKind(
    "store.commit-failed",
    Level.ERROR,
    "Commit failed",
    "A transaction could not be made durable; nothing of it was promised",
    "reason",
)
REOPENED = EventKind(
    "store.reopened",
    Level.WARN,
    "Database reopened",
    "After a failed write the database was opened anew and checked",
    "path",
)
BROKEN = EventKind(
    "store.broken", Level.ERROR, "Database broken", "The database cannot be used until the next start", "path reason"
)
SWEPT = EventKind("store.swept", Level.DEBUG, "Orphans swept", "Bodies that belong to no message were removed", "total")
MIGRATED = EventKind(
    "store.migrated", Level.INFO, "Schema migrated", "The database's schema was brought forward", "version"
)
BACKUP = EventKind("store.backup", Level.INFO, "Backup written", "A consistent copy was written", "path size total")
