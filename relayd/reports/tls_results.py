"""The results of TLS sessions by policy domain and day (RFC 8460 §4), kept in `<data-dir>/tls-results.db`.

Sessions are counted in memory and written once a minute, all together, off the way of mail: a crash loses a minute of
counts, never mail.  The database has one owner and may be deleted.  It is bounded: the days of two weeks, so many
policies a day, so many kinds of failure a policy; what goes beyond is only counted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from relayd.database.interface import Connection, Database, DatabaseError, Row
from relayd.database.migrations import Migration
from relayd.database.sqlite import open_sqlite
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.routing.tls_report import (
    MAX_DETAILS,
    AppliedPolicy,
    Collected,
    Failure,
    PolicyType,
    Results,
    day_of,
    policies_of,
)

FILE = "tls-results.db"

KEEP_DAYS = 14
"""Days that are kept: reports of a day are sent on the next, and tried again for a while."""

MAX_POLICIES = 100_000
"""Domains with their policies of one day."""

FLUSH_EVERY = 60.0
_DAY = 86400
_EVERYTHING = 1 << 62

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE policies (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, domain TEXT NOT NULL,"
            " type TEXT NOT NULL, strings TEXT NOT NULL, mx TEXT NOT NULL, successes INTEGER NOT NULL,"
            " failed INTEGER NOT NULL, UNIQUE (day, domain, type, strings, mx))",
            "CREATE TABLE failures (policy INTEGER NOT NULL, failure TEXT NOT NULL, sessions INTEGER NOT NULL,"
            " PRIMARY KEY (policy, failure)) WITHOUT ROWID",
        ),
    ),
)


class TlsResults:
    """Counts sessions.  Make it with `open_results`; without a database it counts what memory holds, and forgets that
    at the end.  clock: Unix seconds.
    """

    def __init__(self, database: Database | None, clock: Callable[[], float], span: Span) -> None:
        self._database = database
        self._clock = clock
        self._span = span
        self._pending = Collected(MAX_POLICIES)
        self._purged = 0
        self._writing = asyncio.Lock()

    def add(self, policy: AppliedPolicy, failure: Failure | None = None, sessions: int = 1) -> None:
        """Count sessions that just ended; failure None: they went well."""
        self._pending.add(policy, failure, self._clock(), sessions)

    async def run(self) -> None:
        """Write what was counted, once a minute, for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted; what cannot be written is lost, and said."""
        if self._database is None:
            self._pending.take(day_of(self._clock()) - KEEP_DAYS * _DAY)
            return
        async with self._writing:
            taken = self._pending.take(_EVERYTHING)
            today = day_of(self._clock())
            if not taken and self._purged == today:
                return
            self._purged = today
            try:
                await self._database.write(lambda connection: _store(connection, taken, today))
            except DatabaseError as error:
                store_events.COMMIT_FAILED(self._span, reason=f"{FILE}: {error}")

    async def of(self, domain: str, day: int) -> dict[AppliedPolicy, Results]:
        """The results of one domain and day (its first second).  Raises DatabaseError."""
        if self._database is None:
            return self._pending.of(domain, day)
        await self.flush()
        return await self._database.read(lambda connection: _read(connection, domain, day))

    async def domains(self, day: int) -> list[str]:
        """The domains with results of a day, sorted.  Raises DatabaseError."""
        if self._database is None:
            return self._pending.domains(day)
        await self.flush()
        sql = "SELECT DISTINCT domain FROM policies WHERE day = ? ORDER BY domain"
        return await self._database.read(lambda connection: [row[0] for row in connection.execute(sql, (day,))])

    async def close(self) -> None:
        """Write what is left."""
        await self.flush()
        if self._database is not None:
            await self._database.close()


async def open_results(directory: Path, clock: Callable[[], float], span: Span) -> TlsResults:
    """The results of a data directory that this process has locked; in memory alone where they cannot be opened."""
    try:
        # Once broken it stays so until the next start: what is counted then is lost.
        database = await open_sqlite(directory / FILE, MIGRATIONS, span, on_broken=lambda reason: None)
    except DatabaseError as error:
        store_events.BROKEN(span, path=str(directory / FILE), reason=str(error))
        return TlsResults(None, clock, span)
    return TlsResults(database, clock, span)


def report(
    domain: str, day: int, results: dict[AppliedPolicy, Results], *, organization: str, contact: str, report_id: str
) -> dict[str, Any]:
    """The report's JSON object (RFC 8460 §4.4).  day: its first second; contact: an address of ours."""
    return {
        "organization-name": organization,
        "date-range": {"start-datetime": _rfc3339(day), "end-datetime": _rfc3339(day + _DAY - 1)},
        "contact-info": contact,
        "report-id": report_id,
        "policies": policies_of(results),
    }


def _rfc3339(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_encode = msgspec.json.Encoder(order="deterministic").encode


def _store(connection: Connection, taken: Sequence[tuple[int, AppliedPolicy, Results]], today: int) -> None:
    """Add what was counted, and drop the days that are over."""
    before = today - KEEP_DAYS * _DAY
    connection.execute("DELETE FROM failures WHERE policy IN (SELECT id FROM policies WHERE day < ?)", (before,))
    connection.execute("DELETE FROM policies WHERE day < ?", (before,))
    counts: dict[int, int] = {}
    for day, policy, results in taken:
        key = (day, policy.domain, policy.type.value, json.dumps(policy.strings), json.dumps(policy.mx))
        found = connection.execute(
            "SELECT id FROM policies WHERE day = ? AND domain = ? AND type = ? AND strings = ? AND mx = ?", key
        ).fetchone()
        if found is None:
            if day not in counts:
                row = connection.execute("SELECT count(*) FROM policies WHERE day = ?", (day,)).fetchone()
                counts[day] = row[0]
            if counts[day] >= MAX_POLICIES:
                continue
            counts[day] += 1
            found = connection.execute(
                "INSERT INTO policies (day, domain, type, strings, mx, successes, failed)"
                " VALUES (?, ?, ?, ?, ?, 0, 0) RETURNING id",
                key,
            ).fetchone()
        connection.execute(
            "UPDATE policies SET successes = successes + ?, failed = failed + ? WHERE id = ?",
            (results.successes, results.failed, found[0]),
        )
        _store_failures(connection, found[0], results)


def _store_failures(connection: Connection, policy: int, results: Results) -> None:
    if not results.failures:
        return
    kinds = connection.execute("SELECT count(*) FROM failures WHERE policy = ?", (policy,)).fetchone()[0]
    for failure, sessions in results.failures.items():
        text = _encode(failure).decode()
        changed = connection.execute(
            "UPDATE failures SET sessions = sessions + ? WHERE policy = ? AND failure = ?", (sessions, policy, text)
        ).rowcount
        if not changed and kinds < MAX_DETAILS:
            kinds += 1
            connection.execute("INSERT INTO failures VALUES (?, ?, ?)", (policy, text, sessions))


def _read(connection: Connection, domain: str, day: int) -> dict[AppliedPolicy, Results]:
    found: dict[AppliedPolicy, Results] = {}
    rows: list[Row] = connection.execute(
        "SELECT id, type, strings, mx, successes, failed FROM policies WHERE day = ? AND domain = ? ORDER BY id",
        (day, domain),
    ).fetchall()
    for id, type, strings, mx, successes, failed in rows:
        policy = AppliedPolicy(
            domain=domain, type=PolicyType(type), strings=tuple(json.loads(strings)), mx=tuple(json.loads(mx))
        )
        details = connection.execute(
            "SELECT failure, sessions FROM failures WHERE policy = ? ORDER BY failure", (id,)
        ).fetchall()
        failures = {msgspec.json.decode(text, type=Failure): sessions for text, sessions in details}
        found[policy] = Results(successes=successes, failed=failed, failures=failures)
    return found
