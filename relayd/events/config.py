"""The configuration (control-api family `config`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

RELOADED = EventKind(
    "config.reloaded", Level.INFO, "Configuration reloaded", "The new configuration is in force", "path"
)
PARSE_ERROR = EventKind(
    "config.parse-error",
    Level.ERROR,
    "Configuration refused",
    "The file has an error; what was in force stays",
    "path reason",
)
PARSE_WARNING = EventKind(
    "config.parse-warning",
    Level.WARN,
    "Configuration warning",
    "The configuration is valid but probably not meant",
    "key reason",
)
RESTART_NEEDED = EventKind(
    "config.restart-needed", Level.WARN, "Restart needed", "A changed key takes effect at the next start", "key"
)
