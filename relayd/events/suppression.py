"""The suppression list: who came on it and why, who was not sent to (family of our own, `suppression`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

ADDED = EventKind(
    "suppression.added",
    Level.INFO,
    "Recipient suppressed",
    "A recipient came on the suppression list, or its entry was renewed",
    "to scope cause expires queue_id hostname code details rule account_name",
)
REMOVED = EventKind(
    "suppression.removed",
    Level.INFO,
    "Suppression undone",
    "An operator took entries off the suppression list",
    "total to scope cause account_name reason",
)
REFUSED = EventKind(
    "suppression.refused",
    Level.INFO,
    "Suppressed recipient refused",
    "A trusted sender named a recipient that is on the suppression list",
    "to scope cause details",
)
BOUNCED = EventKind(
    "suppression.bounced",
    Level.INFO,
    "Suppressed recipient bounced",
    "A recipient of accepted mail is on the suppression list; nothing was sent to it",
    "queue_id to scope cause details",
)
EVICTED = EventKind(
    "suppression.evicted",
    Level.WARN,
    "Suppression list full",
    "The entries that end first made room for new ones, or a new one found none",
    "total limit",
)
ERROR = EventKind(
    "suppression.error",
    Level.WARN,
    "Suppression list unusable",
    "The list could not be read or written",
    "to reason",
)
