"""Refusals for safety's sake (control-api family `security`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

ACCOUNT_HELD = EventKind(
    "security.account-held",
    Level.WARN,
    "Account held",
    "The account behaves as if somebody else had its password: its mail waits until an operator resumes it",
    "account_name reason",
)
UNAUTHORIZED = EventKind(
    "security.unauthorized", Level.INFO, "Permission denied", "The caller lacks a permission", "account_name id path"
)
AUTHENTICATION_BAN = EventKind(
    "security.authentication-ban",
    Level.WARN,
    "Banned for failed sign-ins",
    "The address is shut out for a time: too many sign-ins failed",
    "remote_ip reason expires",
)
IP_BLOCKED = EventKind(
    "security.ip-blocked",
    Level.DEBUG,
    "Blocked address",
    "A request of a banned address was refused unread",
    "remote_ip reason expires",
)
ABUSE_BAN = EventKind(
    "security.abuse-ban",
    Level.INFO,
    "Banned for abuse",
    "The address is shut out for a time: too many recipients that do not exist or are not ours",
    "remote_ip reason expires details total",
)
LOITER_BAN = EventKind(
    "security.loiter-ban",
    Level.INFO,
    "Banned for idle connections",
    "The address is shut out for a time: too many of its connections ended because nothing came",
    "remote_ip reason expires details total",
)
SCAN_BAN = EventKind(
    "security.scan-ban",
    Level.INFO,
    "Banned for looking for holes",
    "The address is shut out for a time: it asked for paths of other programs",
    "remote_ip reason expires details total",
)
