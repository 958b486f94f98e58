"""The MTA-STS policies of domains: asked for when mail goes there, and kept in `<data-dir>/mta-sts.db`.

A policy that was fetched counts until its `max_age` is over, whatever happens to record or web server meanwhile, and
across restarts: that is the protection against an attacker who hides them (RFC 8461 §10.2).  The database is a cache
with one owner; it may be deleted without touching mail, at the price of that protection.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from relayd.database.interface import Connection, Database, DatabaseError
from relayd.database.migrations import Migration
from relayd.database.sqlite import open_sqlite
from relayd.delivery.sts_fetch import FetchFailed
from relayd.events import mta_sts as events
from relayd.events.event import Span
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver
from relayd.resolver.cache import Cache
from relayd.routing.mta_sts import (
    BadPolicy,
    Kept,
    Policy,
    parse_policy,
    record_id,
    record_name,
    wants_fetch,
)
from relayd.routing.tls_records import BadRecord
from relayd.routing.tls_report import AppliedPolicy, Failure, PolicyType, ResultType

FILE = "mta-sts.db"

_MAX_KEPT = 20_000
_ANSWERED = 60.0
_FAILED = 300.0

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE policies (domain TEXT PRIMARY KEY, id TEXT NOT NULL, policy TEXT NOT NULL,"
            " fetched REAL NOT NULL, checked REAL NOT NULL) WITHOUT ROWID",
        ),
    ),
)


class Counting(Protocol):
    """`relayd.reports.tls_results`'s TlsResults as policies use it."""

    def add(self, policy: AppliedPolicy, failure: Failure | None = None, sessions: int = 1) -> None:
        """Count sessions."""


class Fetcher(Protocol):
    """Who gets a policy from the web."""

    async def fetch(self, domain: str) -> Policy:
        """The policy of a domain.  Raises FetchFailed, BadPolicy."""


class PolicyStore:
    """The policies that are kept, in memory and on disk; the one used least recently goes first.

    Make it with `open_policies`; without a database it lasts as long as the process.
    """

    def __init__(self, database: Database | None = None, kept: dict[str, Kept] | None = None) -> None:
        self._database = database
        self._kept: OrderedDict[str, Kept] = OrderedDict(kept or {})

    def get(self, domain: str) -> Kept | None:
        """What is kept of a domain, fresh or not."""
        found = self._kept.get(domain)
        if found is not None:
            self._kept.move_to_end(domain)
        return found

    async def keep(self, domain: str, kept: Kept) -> None:
        """Keep a policy, durably when it returns.  Raises DatabaseError: then it is kept in memory alone."""
        self._kept[domain] = kept
        self._kept.move_to_end(domain)
        dropped = [self._kept.popitem(last=False)[0]] if len(self._kept) > _MAX_KEPT else []
        if self._database is None:
            return
        row = (domain, kept.id, "\n".join(kept.policy.lines()), kept.fetched, kept.checked)

        def work(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?, ?)", row)
            connection.executemany("DELETE FROM policies WHERE domain = ?", [(each,) for each in dropped])

        await self._database.write(work)

    def __len__(self) -> int:
        return len(self._kept)

    async def close(self) -> None:
        """Finish what is being written."""
        if self._database is not None:
            await self._database.close()


async def open_policies(directory: Path, span: Span, now: float) -> PolicyStore:
    """The store of a data directory that this process has locked; policies whose time is over are dropped.

    Raises NewerSchema (nothing was touched), DatabaseError.
    """
    # Once broken it stays so until the next start: policies are then kept in memory alone.
    database = await open_sqlite(directory / FILE, MIGRATIONS, span, on_broken=lambda reason: None)
    try:
        rows = await database.read(_rows)
    except BaseException:
        await database.close()
        raise
    kept = {}
    for domain, id, text, fetched, checked in rows:
        try:
            policy = parse_policy(str(text).encode())
        except BadPolicy:
            continue  # not of our making: as if it were not there
        each = Kept(policy=policy, id=str(id), fetched=float(fetched), checked=float(checked))
        if each.is_fresh(now):
            kept[str(domain)] = each
    return PolicyStore(database, kept)


def _rows(connection: Connection) -> list[tuple[object, str, str, float, float]]:
    sql = "SELECT domain, id, policy, fetched, checked FROM policies ORDER BY fetched DESC LIMIT ?"
    return list(reversed(connection.execute(sql, (_MAX_KEPT,)).fetchall()))


class StsPolicies:
    """Knows which policy counts for a domain.  clock: Unix seconds.

    results: who counts for TLS reports what could not be had.  An answer is good for a minute; a domain whose policy
    cannot be had is asked again after five (RFC 8461 §3.3).
    """

    def __init__(
        self,
        resolver: Resolver,
        fetcher: Fetcher,
        store: PolicyStore,
        clock: Callable[[], float],
        results: Counting | None = None,
    ) -> None:
        self._results = results
        self._resolver = resolver
        self._fetcher = fetcher
        self._store = store
        self._clock = clock
        self._answered: Cache[str, tuple[Policy | None]] = Cache(_MAX_KEPT, clock)
        self._failed: Cache[str, bool] = Cache(_MAX_KEPT, clock)

    def reconfigure(self, resolver: Resolver, fetcher: Fetcher) -> None:
        """Ask others from the next question on."""
        self._resolver, self._fetcher = resolver, fetcher

    async def policy(self, domain: str, span: Span) -> Policy | None:
        """The policy that counts now, None where there is none; raises nothing."""
        answer = self._answered.get(domain) or await self._answered.fetch(domain, lambda: self._ask(domain, span))
        return answer[0]

    async def look(self, domain: str, span: Span) -> Kept | None:
        """The same, asked anew whatever was answered within the last minutes; raises nothing."""
        policy = await self._find(domain, span, again=True)
        self._answered.keep(domain, (policy,), _ANSWERED)
        return None if policy is None else self._store.get(domain)

    async def close(self) -> None:
        """End what is in flight, and close the store."""
        await self._answered.close()
        await self._store.close()

    async def _ask(self, domain: str, span: Span) -> tuple[Policy | None]:
        answer = (await self._find(domain, span),)
        self._answered.keep(domain, answer, _ANSWERED)
        return answer

    async def _find(self, domain: str, span: Span, *, again: bool = False) -> Policy | None:
        started, now = time.monotonic(), self._clock()
        kept = self._store.get(domain)
        fresh = kept if kept is not None and kept.is_fresh(now) else None
        id: str | None = None
        try:
            id = record_id((await self._resolver.txt(record_name(domain))).records)
        except (NoName, NoData):
            pass
        except ResolveError as error:
            events.POLICY_FETCH_ERROR(span, domain=domain, reason=str(error), elapsed=time.monotonic() - started)
        except BadRecord as error:
            events.INVALID_POLICY(
                span, domain=domain, reason=f"TXT record: {error}", elapsed=time.monotonic() - started
            )
        else:
            if id is not None and wants_fetch(kept, id, now) and (again or not self._failed.get(domain)):
                fresh = await self._fetch(domain, id, span) or fresh
            return None if fresh is None else fresh.policy
        if fresh is None:
            events.POLICY_NOT_FOUND(span, domain=domain, elapsed=time.monotonic() - started)
        return None if fresh is None else fresh.policy

    async def _fetch(self, domain: str, id: str, span: Span) -> Kept | None:
        started = time.monotonic()
        try:
            policy = await self._fetcher.fetch(domain)
        except (FetchFailed, BadPolicy) as error:
            self._failed.keep(domain, True, _FAILED)
            kind = events.INVALID_POLICY if isinstance(error, BadPolicy) else events.POLICY_FETCH_ERROR
            kind(span, domain=domain, reason=str(error), elapsed=time.monotonic() - started)
            if self._results is not None:
                applied = AppliedPolicy(domain=domain, type=PolicyType.STS)
                self._results.add(applied, Failure(result=_result(error), reason=str(error)[:200]))
            return None
        now = self._clock()
        kept = Kept(policy=policy, id=id, fetched=now, checked=now)
        reason = ""
        try:
            await self._store.keep(domain, kept)
        except DatabaseError as error:  # it counts all the same, until the next start
            reason = f"not stored: {error}"
        events.POLICY_FETCH(
            span,
            domain=domain,
            id=id,
            policy=policy.mode.value,
            details=[*policy.mx, *([reason] if reason else [])],
            expires=now + policy.max_age,
            elapsed=time.monotonic() - started,
        )
        return kept


def _result(error: FetchFailed | BadPolicy) -> ResultType:
    """What a report calls it (RFC 8460 §4.3.2)."""
    if isinstance(error, BadPolicy):
        return ResultType.STS_POLICY_INVALID
    return ResultType.STS_WEBPKI_INVALID if error.certificate else ResultType.STS_POLICY_FETCH_ERROR
