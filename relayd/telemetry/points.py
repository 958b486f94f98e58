"""Stored history of the metrics: a point of each every interval (operation 2)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from relayd.database.segments import Bounds, ReadCut, Series
from relayd.telemetry.render import rfc3339
from relayd.telemetry.rows import encode

VERSION = 1
SCHEMA = (
    "CREATE TABLE point (at INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, value INTEGER NOT NULL, "
    "count INTEGER NOT NULL, PRIMARY KEY (at, id)) WITHOUT ROWID",
)
_INSERT = (
    "INSERT OR REPLACE INTO point (at, id, type, value, count) SELECT json_extract(value, '$[0]'), "
    "json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'), "
    "json_extract(value, '$[4]') FROM json_each(?)"
)

MOST_POINTS = 500_000
"""Of one answer."""


class Point(NamedTuple):
    """What a metric was.  at: Unix time.  type: counter, gauge or histogram.

    value: of a counter the increment since the point before, of a gauge as it is, of a histogram the increment of the
    sum; number: of a histogram the increment of how many values there were.
    """

    at: int
    id: str
    type: str
    value: int
    number: int = 0


class ShownPoint(msgspec.Struct, omit_defaults=True):
    """A point as operation 2 shows it.  value: of counters and gauges; count, sum: of histograms."""

    type: str
    id: str
    timestamp: str
    value: int | None = None
    count: int | None = None
    sum: int | None = None


class Points:
    """The store.  Its methods block: they are called in threads, those that write in one and the same."""

    def __init__(self, series: Series) -> None:
        self.series = series

    @property
    def bounds(self) -> Bounds:
        """How much is kept."""
        return self.series.bounds

    def write(self, points: Sequence[Point], now: float) -> None:
        """Store points.  Raises DatabaseError."""
        encoded = encode(points)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT, (encoded,))

        self.series.write(work, now)

    def between(self, after: float | None, before: float | None, now: float) -> list[ShownPoint]:
        """The points from `after` on and before `before`, oldest first, as the API shows them.

        Raises DatabaseError, ReadCut.
        """
        first = max(now - self.bounds.keep, after or 0)
        last = 1 << 62 if before is None else before
        files: list[list[ShownPoint]] = []
        room = MOST_POINTS
        with self.series.reading() as connections:
            for connection in connections:
                rows = connection.execute(
                    "SELECT at, id, type, value, count FROM point WHERE at >= ? AND at < ? ORDER BY at, id LIMIT ?",
                    (first, last, room + 1),
                )
                files.append([_shown(Point(*row)) for row in rows])
                room -= len(files[-1])
                if room < 0:
                    raise ReadCut(f"there are more than {MOST_POINTS:,} points")
        return [point for points in reversed(files) for point in points]


def _shown(point: Point) -> ShownPoint:
    shown = ShownPoint(point.type, point.id, rfc3339(point.at))
    if point.type == "histogram":
        shown.count, shown.sum = point.number, point.value
    else:
        shown.value = point.value
    return shown
