"""Refusals for safety's sake (control-api family `security`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

UNAUTHORIZED = EventKind(
    "security.unauthorized", Level.INFO, "Permission denied", "The caller lacks a permission", "account_name id path"
)
