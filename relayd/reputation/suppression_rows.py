"""The suppression list at rest: its values, its table and the statements on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relayd.database.interface import Connection
from relayd.database.migrations import Migration
from relayd.mail.address import mailbox_key

GLOBAL = "global"
OPERATOR = "operator"
"""The cause of an entry that somebody made by hand and gave no other."""

_COLUMNS = "id, scope, address, cause, since, until, times, by, note, queue_id, host, code, enhanced, reply, rule"

MIGRATIONS = (
    Migration(
        1,
        (
            """CREATE TABLE suppressions (id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL,
            target TEXT NOT NULL, address TEXT NOT NULL, cause TEXT NOT NULL, since REAL NOT NULL, until REAL,
            times INTEGER NOT NULL, by TEXT NOT NULL, note TEXT NOT NULL, queue_id INTEGER NOT NULL,
            host TEXT NOT NULL, code INTEGER NOT NULL, enhanced TEXT NOT NULL, reply TEXT NOT NULL,
            rule TEXT NOT NULL, UNIQUE (scope, target))""",
            "CREATE INDEX suppressions_until ON suppressions (until) WHERE until IS NOT NULL",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The refusal that an entry rests on: the message, the host, what it said, the rule that classed it."""

    queue_id: int = 0
    host: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry.  scope: "global", "account:NAME" or "domain:NAME", whose mail it stops.

    address: a mailbox, or "@domain" for all of a domain.  cause: a word.  since, until: Unix seconds; until None: until
    it is undone.  times: how often its cause was seen.  by: the account that made it, "" for relayd itself.
    """

    scope: str
    address: str
    cause: str
    since: float
    until: float | None
    times: int = 1
    by: str = ""
    note: str = ""
    evidence: Evidence = dataclasses.field(default_factory=Evidence)
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries; all that is given must hold.  text: a part of the address.

    since, until: made, or renewed, at the one or later and before the other.
    """

    id: int | None = None
    address: str | None = None
    text: str | None = None
    scope: str | None = None
    cause: str | None = None
    rule: str | None = None
    host: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it is about every entry."""
        return self == Filter()

    def where(self) -> tuple[str, list[Any]]:
        """The condition and its parameters."""
        host = self.host.lower() if self.host is not None else None
        conditions = ["1"]
        values: list[Any] = []
        for condition, value in (
            ("id = ?", self.id),
            ("target = ?", target_of(self.address) if self.address is not None else None),
            ("instr(target, ?) > 0", self.text.lower() if self.text is not None else None),
            ("scope = ?", self.scope),
            ("cause = ?", self.cause),
            ("rule = ?", self.rule),
            ("(host = ? OR substr(host, -length(?) - 1) = '.' || ?)", host),
            ("since >= ?", self.since),
            ("since < ?", self.until),
        ):
            if value is not None:
                conditions.append(condition)
                values += [value] * condition.count("?")
        return " AND ".join(conditions), values


def target_of(address: str) -> str:
    """The address as it is compared: unquoted, folded, its domain as A-labels; "@domain" as it is for whole domains."""
    local, domain = mailbox_key(address)
    return f"{local.casefold()}@{domain.lower()}"


def find(connection: Connection, keys: Sequence[tuple[str, str]], now: float) -> Entry | None:
    """The first entry in force at one of (scope, target)."""
    for scope, target in keys:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM suppressions WHERE scope = ? AND target = ? AND (until IS NULL OR until > ?)",
            (scope, target, now),
        ).fetchone()
        if row is not None:
            return _entry(row)
    return None


def page(connection: Connection, filter: Filter, now: float, offset: int, limit: int | None) -> tuple[list[Entry], int]:
    """Entries in force, the newest first, and how many there are in all."""
    condition, values = filter.where()
    condition += " AND (until IS NULL OR until > ?)"
    values.append(now)
    total = connection.execute(f"SELECT count(*) FROM suppressions WHERE {condition}", values).fetchone()[0]
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM suppressions WHERE {condition} ORDER BY since DESC, id DESC LIMIT ? OFFSET ?",
        (*values, -1 if limit is None else limit, offset),
    )
    return [_entry(row) for row in found], int(total)


def put(connection: Connection, entry: Entry) -> Entry | None:
    """Make an entry, or renew the one that its place has; as it stands then.

    None: the place has an entry that somebody made by hand, which what relayd finds out does not change.
    """
    target = target_of(entry.address)
    before = connection.execute(
        f"SELECT {_COLUMNS} FROM suppressions WHERE scope = ? AND target = ?", (entry.scope, target)
    ).fetchone()
    if before is not None:
        known = _entry(before)
        in_force = known.until is None or known.until > entry.since
        if in_force and known.by and not entry.by:
            return None
        if in_force and known.cause == entry.cause:
            entry = dataclasses.replace(entry, times=known.times + 1)
        connection.execute("DELETE FROM suppressions WHERE id = ?", (known.id,))
    why = entry.evidence
    row = connection.execute(
        "INSERT INTO suppressions (scope, target, address, cause, since, until, times, by, note, queue_id, host, code,"
        " enhanced, reply, rule) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            entry.scope,
            target,
            entry.address,
            entry.cause,
            entry.since,
            entry.until,
            entry.times,
            entry.by,
            entry.note,
            *(why.queue_id, why.host.lower(), why.code, why.enhanced, why.reply, why.rule),
        ),
    ).fetchone()
    return dataclasses.replace(entry, id=int(row[0]))


def remove(connection: Connection, filter: Filter) -> list[tuple[str, str]]:
    """Remove entries; the (scope, target) of each."""
    condition, values = filter.where()
    return [
        (scope, target)
        for scope, target in connection.execute(
            f"DELETE FROM suppressions WHERE {condition} RETURNING scope, target", values
        )
    ]


def purge(connection: Connection, now: float) -> list[tuple[str, str]]:
    """Remove entries whose time is over."""
    return list(
        connection.execute("DELETE FROM suppressions WHERE until <= ? RETURNING scope, target", (now,)).fetchall()
    )


def evict(connection: Connection, count: int) -> list[tuple[str, str]]:
    """Remove `count` entries, of those that end by themselves the first to do so."""
    return list(
        connection.execute(
            "DELETE FROM suppressions WHERE id IN (SELECT id FROM suppressions WHERE until IS NOT NULL"
            " ORDER BY until, id LIMIT ?) RETURNING scope, target",
            (count,),
        ).fetchall()
    )


def keys(connection: Connection) -> list[tuple[str, str]]:
    """(scope, target) of every entry."""
    return list(connection.execute("SELECT scope, target FROM suppressions").fetchall())


def _entry(row: Sequence[Any]) -> Entry:
    id, scope, address, cause, since, until, times, by, note, queue_id, host, code, enhanced, reply, rule = row
    evidence = Evidence(queue_id=queue_id, host=host, code=code, enhanced=enhanced, reply=reply, rule=rule)
    return Entry(
        id=id,
        scope=scope,
        address=address,
        cause=cause,
        since=since,
        until=until,
        times=times,
        by=by,
        note=note,
        evidence=evidence,
    )
