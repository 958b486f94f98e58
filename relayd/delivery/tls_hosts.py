"""What is remembered of hosts' TLS, kept in `<data-dir>/tls-hosts.db`; and who is told of each connection's TLS.

Changes are written once a minute, all together; a crash loses a minute of them.  The database has one owner and may be
deleted, at the price of alarms about hosts that gave TLS before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from relayd.database.interface import Connection, Database, DatabaseError
from relayd.database.migrations import Migration
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.delivery.endpoint import Connected, ConnectionFailed, Endpoint
from relayd.delivery.host_policy import HostPolicy
from relayd.events import delivery as events
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.routing.tls_defect import Defect, result_type
from relayd.routing.tls_memory import HostTls, TlsMemory, may_be_left_out
from relayd.routing.tls_report import AppliedPolicy, Failure

FILE = "tls-hosts.db"
LIMIT = 20_000
FLUSH_EVERY = 60.0
_REASON = 200

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE hosts (host TEXT PRIMARY KEY, secured REAL NOT NULL, version TEXT NOT NULL,"
            " broken_since REAL NOT NULL, broken_until REAL NOT NULL, reason TEXT NOT NULL,"
            " failures INTEGER NOT NULL, gone REAL NOT NULL) WITHOUT ROWID",
        ),
    ),
)

_BROKEN = (Defect.HANDSHAKE, Defect.TOO_OLD)
"""What makes a host's TLS count as broken: it is offered, and cannot be had."""


class Counting(Protocol):
    """`relayd.reports.tls_results`'s TlsResults as deliveries use it."""

    def add(self, policy: AppliedPolicy, failure: Failure | None = None, sessions: int = 1) -> None:
        """Count sessions."""


class TlsHosts:
    """Who is told.  Make it with `open_hosts`; without a database it lasts as long as the process.

    seconds: for which a host's TLS counts as broken.  results: who counts sessions for TLS reports.
    """

    def __init__(
        self, memory: TlsMemory, database: Database | None, results: Counting, clock: Callable[[], float], span: Span
    ) -> None:
        self.memory = memory
        self.seconds = 0.0
        self._database = database
        self._results = results
        self._clock = clock
        self._span = span

    @property
    def broken_hosts(self) -> int:
        """With how many hosts TLS is not tried now where it may be left out."""
        now = self._clock()
        return sum(each.is_broken(now) for each in self.memory)

    # What connections tell

    def broken(self, host: str, policy: HostPolicy) -> str:
        """Why TLS is not even tried with a host whose policy lets mail go in the clear; "" when it is."""
        known = self.memory.get(host)
        if known is None or not known.is_broken(self._clock()) or self.seconds <= 0 or not may_be_left_out(policy.tls):
            return ""
        return known.reason

    def failed(
        self, endpoint: Endpoint, policy: HostPolicy, defect: Defect, failure: ConnectionFailed, span: Span
    ) -> None:
        """A connection did not give what the policy wants."""
        now = self._clock()
        if defect in _BROKEN:
            self.memory.failed(endpoint.host, _shown(str(failure)), now, self.seconds)
        elif defect is Defect.NO_STARTTLS:
            self._gone(endpoint.host, now, span)
        self._count(policy, defect, endpoint.host, endpoint.address, local=failure.local, reason=str(failure))

    def connected(self, connection: Connected, policy: HostPolicy, span: Span, *, met: bool) -> None:
        """A connection is ready.  met: TLS was tried as the policy wants it."""
        now, endpoint, version = self._clock(), connection.endpoint, connection.tls
        if connection.next_hop.implicit_tls:
            pass  # another port than the one where STARTTLS is looked for
        elif version is not None:
            self.memory.secured(endpoint.host, version, now)
        elif met:
            self._gone(endpoint.host, now, span)
        if not met or policy.applied is None:
            return
        defect = Defect.NO_STARTTLS if version is None else policy.tls.noted
        if defect is None:
            self._results.add(policy.applied)
        else:
            self._count(policy, defect, endpoint.host, endpoint.address, local=connection.local)

    def refused(self, host: str, policy: HostPolicy, defect: Defect) -> None:
        """A host is not even connected to."""
        self._count(policy, defect, host)

    def _gone(self, host: str, now: float, span: Span) -> None:
        known = self.memory.without(host, now)
        if known is not None:
            events.TLS_GONE(span, hostname=host, since=known.secured, version=known.version)

    def _count(
        self, policy: HostPolicy, defect: Defect, host: str, address: str = "", *, local: str = "", reason: str = ""
    ) -> None:
        if policy.applied is None:
            return
        result = result_type(defect, policy.applied.type)
        if result is not None:
            text = _shown(reason or defect.value)
            failure = Failure(result=result, sending_ip=local, mx=host, receiving_ip=address, reason=text)
            self._results.add(policy.applied, failure)

    # Its life

    async def run(self) -> None:
        """Write what changed, once a minute, for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what changed; what cannot be written is kept for the next time."""
        changes = self.memory.take_changes()
        if self._database is None or not changes:
            return
        try:
            await self._database.write(lambda connection: _store(connection, changes))
        except DatabaseError as error:
            self.memory.put_back(changes)
            store_events.COMMIT_FAILED(self._span, reason=f"{FILE}: {error}")
        except asyncio.CancelledError:  # whether they were written is unknown; once more does no harm
            self.memory.put_back(changes)
            raise

    async def close(self) -> None:
        """Write what is left."""
        await self.flush()
        if self._database is not None:
            await self._database.close()


async def open_hosts(directory: Path, results: Counting, clock: Callable[[], float], span: Span) -> TlsHosts:
    """What a data directory remembers, that this process has locked; nothing where it cannot be opened."""
    database: SqliteDatabase | None = None
    try:
        database = await open_sqlite(directory / FILE, MIGRATIONS, span, on_broken=lambda reason: None)
        kept = await database.read(_read)
    except DatabaseError as error:
        if database is not None:
            await database.close()
        store_events.BROKEN(span, path=str(directory / FILE), reason=str(error))
        return TlsHosts(TlsMemory(LIMIT), None, results, clock, span)
    return TlsHosts(TlsMemory(LIMIT, kept), database, results, clock, span)


def _read(connection: Connection) -> list[HostTls]:
    sql = (
        "SELECT host, secured, version, broken_since, broken_until, reason, failures, gone FROM hosts"
        " ORDER BY max(secured, broken_since) DESC LIMIT ?"
    )
    found = [
        HostTls(
            host=host,
            secured=secured,
            version=version,
            broken_since=broken_since,
            broken_until=broken_until,
            reason=reason,
            failures=failures,
            gone=gone,
        )
        for host, secured, version, broken_since, broken_until, reason, failures, gone in connection.execute(
            sql, (LIMIT,)
        )
    ]
    return found[::-1]  # those heard of last stay longest


def _store(connection: Connection, changes: dict[str, HostTls | None]) -> None:
    dropped = [(host,) for host, each in changes.items() if each is None]
    kept = [
        (
            each.host,
            each.secured,
            each.version,
            each.broken_since,
            each.broken_until,
            each.reason,
            each.failures,
            each.gone,
        )
        for each in changes.values()
        if each is not None
    ]
    connection.executemany("DELETE FROM hosts WHERE host = ?", dropped)
    connection.executemany("INSERT OR REPLACE INTO hosts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kept)


def _shown(reason: str) -> str:
    """A reason that may hold what a peer said: one line, not long."""
    return "".join(each if each.isprintable() else " " for each in reason[:_REASON])
