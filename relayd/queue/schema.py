"""The tables of the queue.

messages: one row each.  bodies: the octets; `file_from` NULL: `octets` is the whole message, else `octets` is its head
and the rest is the file of this id from that offset on.  recipients: `state` and `notify` as in `rows`; `waiting` is 1
exactly while the row may be leased: pending, not leased, and its message neither held nor corrupt; one that is removed
may keep it until its turn comes.  lines and destinations: see `lines`.  counters: the invariant.  notes: pause,
suspensions and other facts, as JSON.

removals: who deleted messages or cancelled recipients, when, why, and until when that can be undone; `removal` of a
message names the deletion that took it, `removal` of a recipient the deletion or cancellation that did.  An id is never
used again.  next_hop: where an operator sent the message (a route's id, or "mx"), NULL: where the configuration says.
maybe_delivered: when last a copy may have reached the recipient without a word of the peer.  class, rule: what its last
failure means, and the rule that says so.

terms: what a message asks of its way (`mail.terms`), as JSON; NULL: nothing.
usage: what was queued in whose name in each clock hour, see `usage`.
"""

from __future__ import annotations

from relayd.database.migrations import Migration

COUNTERS_IN = ("accepted", "generated", "expanded", "restored")
COUNTERS_OUT = ("delivered", "bounced", "expired", "removed", "discarded", "replaced")

_FIRST = (
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY, origin TEXT NOT NULL, return_path TEXT NOT NULL, created REAL NOT NULL,
        size INTEGER NOT NULL, sender_key TEXT NOT NULL, flags INTEGER NOT NULL, ret TEXT, envid TEXT, account TEXT,
        listener TEXT NOT NULL, client TEXT NOT NULL, message_id TEXT NOT NULL, blob_hash TEXT NOT NULL,
        corrupt INTEGER NOT NULL, held_since REAL, held_by TEXT, held_reason TEXT)""",
    "CREATE INDEX messages_held ON messages (id) WHERE held_since IS NOT NULL",
    "CREATE TABLE bodies (message_id INTEGER PRIMARY KEY, file_from INTEGER, octets BLOB NOT NULL)",
    "CREATE INDEX bodies_file ON bodies (message_id) WHERE file_from IS NOT NULL",
    """CREATE TABLE recipients (
        message_id INTEGER NOT NULL, number INTEGER NOT NULL, address TEXT NOT NULL, destination TEXT NOT NULL,
        sender_key TEXT NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, next_attempt REAL NOT NULL,
        next_notify REAL, expires REAL NOT NULL, notify INTEGER, orcpt TEXT, status TEXT NOT NULL,
        waiting INTEGER NOT NULL, lease_owner INTEGER, lease_until REAL,
        PRIMARY KEY (message_id, number)) WITHOUT ROWID""",
    "CREATE INDEX recipients_due ON recipients (destination, sender_key, next_attempt) WHERE waiting = 1",
    """CREATE TABLE lines (destination TEXT NOT NULL, sender_key TEXT NOT NULL, wake REAL NOT NULL,
        served REAL NOT NULL, turn INTEGER NOT NULL, PRIMARY KEY (destination, sender_key)) WITHOUT ROWID""",
    "CREATE INDEX lines_wake ON lines (destination, wake, turn)",
    """CREATE TABLE destinations (name TEXT PRIMARY KEY, wake REAL NOT NULL, served REAL NOT NULL,
        turn INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX destinations_wake ON destinations (wake, turn)",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters VALUES " + ", ".join(f"('{name}', 0)" for name in COUNTERS_IN + COUNTERS_OUT),
    "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)

_SECOND = (
    """CREATE TABLE removals (id INTEGER PRIMARY KEY AUTOINCREMENT, since REAL NOT NULL, by TEXT NOT NULL,
        reason TEXT NOT NULL, until REAL NOT NULL)""",
    "ALTER TABLE messages ADD COLUMN next_hop TEXT",
    "ALTER TABLE messages ADD COLUMN removal INTEGER",
    "ALTER TABLE recipients ADD COLUMN removal INTEGER",
    "CREATE INDEX messages_removed ON messages (removal, id) WHERE removal IS NOT NULL",
)

_THIRD = (
    """CREATE TABLE usage (name TEXT NOT NULL, hour INTEGER NOT NULL, messages INTEGER NOT NULL,
        recipients INTEGER NOT NULL, octets INTEGER NOT NULL, PRIMARY KEY (name, hour)) WITHOUT ROWID""",
    "CREATE INDEX usage_hour ON usage (hour)",
)

_FOURTH = (
    "ALTER TABLE recipients ADD COLUMN maybe_delivered REAL",
    "ALTER TABLE recipients ADD COLUMN class TEXT",
    "ALTER TABLE recipients ADD COLUMN rule TEXT",
)

_FIFTH = ("ALTER TABLE messages ADD COLUMN terms TEXT",)

MIGRATIONS = (
    Migration(1, _FIRST),
    Migration(2, _SECOND),
    Migration(3, _THIRD),
    Migration(4, _FOURTH),
    Migration(5, _FIFTH),
)
