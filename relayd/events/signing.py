"""Events of the family "signing": what is signed with our keys, and what becomes of the keys."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

SIGNED = EventKind(
    "signing.signed", Level.DEBUG, "Message signed", "A DKIM signature was made", "queue_id domain id elapsed"
)
SEALED = EventKind(
    "signing.sealed",
    Level.DEBUG,
    "Message sealed",
    "An ARC set was added to a stranger's message",
    "queue_id domain id",
)
NOT_SIGNED = EventKind(
    "signing.not-signed",
    Level.DEBUG,
    "Message not signed",
    "There are keys for the author's domain, but this sender may not use it",
    "queue_id domain account_name reason",
)
KEY_UNREADABLE = EventKind(
    "signing.key-unreadable",
    Level.ERROR,
    "Signing key cannot be read",
    "Mail that must be signed is deferred until its key can be read",
    "queue_id domain id reason",
)
SIGNED_AGAIN = EventKind(
    "signing.signed-again",
    Level.DEBUG,
    "Message signed again",
    "The message was converted for a host without 8BITMIME, and our signature with it",
    "domain id",
)
KEY_PUBLISHED = EventKind(
    "signing.key-published",
    Level.INFO,
    "New signing key in use",
    "The DNS shows the new key; keep the old record until the time given",
    "domain id selector previous expires",
)
KEY_AWAITED = EventKind(
    "signing.key-awaited",
    Level.INFO,
    "New signing key not yet published",
    "The old key signs until the DNS shows the new one",
    "domain id selector reason",
)
