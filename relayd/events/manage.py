"""What operators do (control-api family `manage`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

ACTION = EventKind(
    "manage.action",
    Level.INFO,
    "Operator action",
    "An operator changed something",
    "account_name type_ details total reason",
)
NOT_FOUND = EventKind("manage.not-found", Level.DEBUG, "Not found", "The named thing does not exist", "details")
ERROR = EventKind("manage.error", Level.DEBUG, "Operator error", "A request could not be carried out", "details reason")
