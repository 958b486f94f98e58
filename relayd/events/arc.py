"""Problems of ARC chains (control-api family `arc`): values in the events of a session."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

CHAIN_TOO_LONG = EventKind(
    "arc.chain-too-long",
    Level.DEBUG,
    "ARC chain too long",
    "The message has more sets than a chain may have",
    "domain details",
)
INVALID_INSTANCE = EventKind(
    "arc.invalid-instance",
    Level.DEBUG,
    "ARC instance invalid",
    "An instance is missing or cannot be read",
    "domain details",
)
INVALID_CV = EventKind(
    "arc.invalid-cv",
    Level.DEBUG,
    "ARC validation state invalid",
    "A seal says something else of the chain than it must",
    "domain details",
)
HAS_HEADER_TAG = EventKind(
    "arc.has-header-tag",
    Level.DEBUG,
    "ARC seal with a list of fields",
    "A seal has a tag that it must not have",
    "domain details",
)
BROKEN_CHAIN = EventKind(
    "arc.broken-chain", Level.DEBUG, "ARC chain broken", "The chain does not hold", "domain details"
)
