"""Pause of the whole queue and suspension of single destinations: who, when, why.

They are notes in the database, so they outlive a restart; what is in force is held here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field

from relayd.database.interface import Connection
from relayd.queue import lines
from relayd.queue.suspension import accounts_of

PAUSE = "pause"
SUSPENSION = "suspension:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """No delivery is attempted.  since: Unix seconds.  by: who asked for it."""

    since: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """No delivery to `destination` is attempted before `until` (Unix seconds; None: until it is lifted).

    destination: the key of a subject, see `suspension`.
    """

    destination: str
    until: float | None
    since: float
    by: str
    reason: str


@dataclass(slots=True)
class State:
    """What is in force, or was until its time was over."""

    pause: Pause | None = None
    suspensions: dict[str, Suspension] = field(default_factory=dict)

    def in_force(self, now: float) -> list[Suspension]:
        """The suspensions that hold at `now`."""
        return [each for each in self.suspensions.values() if each.until is None or each.until > now]

    def ended(self, now: float) -> list[str]:
        """The keys of those that do not any more."""
        return [key for key, each in self.suspensions.items() if each.until is not None and each.until <= now]

    def skipped(self, now: float, saturated: Collection[str]) -> frozenset[str]:
        """The destinations to lease nothing for."""
        if not self.suspensions:
            return frozenset(saturated)
        return frozenset(saturated).union(each.destination for each in self.in_force(now))


def load(connection: Connection) -> tuple[Pause | None, dict[str, Suspension]]:
    """What the notes say."""
    pause: Pause | None = None
    suspensions: dict[str, Suspension] = {}
    for name, value in connection.execute("SELECT name, value FROM notes"):
        if name == PAUSE:
            pause = Pause(**json.loads(value))
        elif name.startswith(SUSPENSION):
            suspension = Suspension(**json.loads(value))
            suspensions[suspension.destination] = suspension
    return pause, suspensions


def keep(connection: Connection, note: Pause | Suspension) -> None:
    """Write a note, in place of one of the same name."""
    name = PAUSE if isinstance(note, Pause) else SUSPENSION + note.destination
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(asdict(note))))


def lift(connection: Connection, destinations: Sequence[str]) -> None:
    """Remove suspensions; the mail of accounts that were waits for its turn again."""
    for destination in destinations:
        drop(connection, SUSPENSION + destination)
    lines.rejoin_senders(connection, accounts_of(destinations))


def drop(connection: Connection, name: str) -> None:
    """Remove a note."""
    connection.execute("DELETE FROM notes WHERE name = ?", (name,))
