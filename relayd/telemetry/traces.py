"""Stored traces: the spans of SMTP sessions and delivery attempts, and how they are searched (operations 18 and 46).

A span is kept when something happened in it: an attempt always, a session from its first EHLO on (a port that was
knocked at is in the log).  Of a span 2,048 events are kept at most.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from relayd.database.segments import Bounds, Series, portioned
from relayd.events import delivery, queue, smtp
from relayd.events.event import Event, EventKind, Span
from relayd.mail.snowflake import least_issued_at
from relayd.telemetry import word_index
from relayd.telemetry.forgetting import Oblivion
from relayd.telemetry.render import rfc3339
from relayd.telemetry.rows import Headline, ShownEvent, Stored, data_of, decode, encode, shown, terms, words
from relayd.telemetry.word_index import matching

MOST_EVENTS = 2048
"""Events kept of a span."""

TYPES: dict[EventKind, int] = {smtp.CONNECTION_START: 1, delivery.ATTEMPT_START: 2}
"""What begins a span that is stored, and its number in the rows."""

ENDS = frozenset({smtp.CONNECTION_END, delivery.ATTEMPT_END})
"""What ends one."""

_NUMBERS = {kind.id: number for kind, number in TYPES.items()}

_HEADLINES = frozenset(
    kind.id for kind in (delivery.ATTEMPT_START, queue.QUEUE_MESSAGE, queue.QUEUE_MESSAGE_AUTHENTICATED)
)

VERSION = 1
SCHEMA = (
    "CREATE TABLE span (id INTEGER PRIMARY KEY, type INTEGER NOT NULL, events TEXT NOT NULL)",
    "CREATE INDEX span_type ON span (type, id)",
    *word_index.SCHEMA,
)

_INSERT_SPANS = (
    "INSERT OR IGNORE INTO span (id, type, events) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), "
    "json_extract(value, '$[2]') FROM json_each(?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    """Which spans; all that is given must be met.

    type: id of the event that begins the span.  queue_id: that it mentions.  filter: words, see `rows.terms`.  after,
    before: Unix time at which the span began.
    """

    type: str | None = None
    queue_id: int | None = None
    filter: str | None = None
    after: float | None = None
    before: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        asks = self.type or terms(self.filter or "")
        return not asks and self.queue_id is self.after is self.before is None


@dataclass(frozen=True, slots=True)
class TracePage:
    """Ids of spans, the newest first, and how many there are in all.  headlines: where they were asked for."""

    items: list[int]
    total: int
    headlines: list[Headline]


class Traces:
    """The store.  Its methods block: they are called in threads, those that write in one and the same."""

    def __init__(self, series: Series) -> None:
        self.series = series

    @property
    def bounds(self) -> Bounds:
        """How much is kept."""
        return self.series.bounds

    def write(self, ended: Sequence[tuple[Span, list[Event]]], now: float) -> None:
        """Store spans.  Raises DatabaseError.

        Each table is filled by one statement: every statement gives the interpreter away and must wait to have it back.
        """
        spans, index = [], []
        for span, events in ended:
            rows = [(event.kind.id, event.at, event.fields) for event in events]
            spans.append((span.id, TYPES[events[0].kind], rows))
            index += [(word, span.id) for word in words(events, span.keys)]
        encoded, prepared = encode(spans), word_index.Prepared(index)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT_SPANS, (encoded,))
            prepared.insert(connection)

        self.series.write(work, now)

    def forget(self, oblivion: Oblivion) -> int:
        """Overwrite an address; in how many rows it stood.  Raises DatabaseError."""
        changed = 0

        def work(connection: sqlite3.Connection) -> None:
            nonlocal changed
            changed += oblivion.rewrite(connection, "span", "id", "events")

        self.series.change_all(work)
        return changed

    def search(self, query: TraceQuery, offset: int, limit: int | None, *, headlines: bool, now: float) -> TracePage:
        """Spans that fit.  limit: None for all.  Raises DatabaseError, ReadCut."""
        if query.is_empty:
            return TracePage([], 0, [])
        wanted = _words(query)
        items: list[int] = []
        shown_ones: list[Headline] = []
        total = 0
        with self.series.reading() as connections:
            for connection in connections:
                where, parameters = _where(query, now - self.bounds.keep, matching(connection, wanted))
                count = connection.execute(f"SELECT count(*) FROM span WHERE {where}", parameters).fetchone()[0]
                skip = max(0, offset - total)
                total += count
                most = count if limit is None else limit - len(items)
                if most <= 0 or skip >= count:
                    continue
                column = "events" if headlines else "''"
                rows = connection.execute(
                    f"SELECT id, {column} FROM span WHERE {where} ORDER BY id DESC LIMIT ? OFFSET ?",
                    (*parameters, most, skip),
                )
                for id, events in rows:
                    items.append(id)
                    if headlines:
                        shown_ones += _headline(id, events)
        return TracePage(items, total, shown_ones)

    def get(self, ids: Iterable[int], now: float) -> dict[int, list[ShownEvent]]:
        """The events of spans, oldest first; ids that are not known are left out.  Raises DatabaseError, ReadCut."""
        oldest = least_issued_at(now - self.bounds.keep)
        wanted = {id for id in ids if oldest <= id < 1 << 63}
        found: dict[int, list[ShownEvent]] = {}
        if not wanted:
            return found
        with self.series.reading() as connections:
            for id, events in portioned(_found(connections, wanted)):
                found[id] = [shown(each) for each in decode(events)]
        return found


def _found(connections: Iterable[sqlite3.Connection], wanted: Set[int]) -> Iterator[tuple[int, str]]:
    """Ids and events of spans, file after file until all are found."""
    left = set(wanted)
    for connection in connections:
        for id in sorted(left):
            row = connection.execute("SELECT events FROM span WHERE id = ?", (id,)).fetchone()
            if row is not None:
                left.discard(id)
                yield id, row[0]
        if not left:
            return


def _words(query: TraceQuery) -> list[tuple[str, bool]]:
    exact = [(str(query.queue_id), True)] if query.queue_id is not None else []
    return exact + terms(query.filter or "")


def _where(query: TraceQuery, oldest: float, words: tuple[list[str], list[Any]]) -> tuple[str, list[Any]]:
    """A condition on `span` and its parameters."""
    number = _NUMBERS.get(query.type or "", 0)
    types = [number] if query.type else list(_NUMBERS.values())
    conditions = [f"type IN ({', '.join(map(str, types))})", "id >= ?"]
    parameters: list[Any] = [least_issued_at(max(oldest, query.after or 0))]
    if query.before is not None:
        conditions.append("id < ?")
        parameters.append(least_issued_at(query.before))
    return " AND ".join(conditions + words[0]), parameters + words[1]


def _headline(id: int, events: str) -> Iterable[Headline]:
    """The first event of a span that says which message it is about, if there is one."""
    first: Stored | None = next((each for each in decode(events) if each[0] in _HEADLINES), None)
    if first is not None:
        kind_id, at, fields = first[:3]
        yield Headline(rfc3339(at), kind_id, {**data_of(kind_id, fields), "spanId": id})
