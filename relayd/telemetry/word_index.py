"""The index by which a search finds spans and messages: words and the ids of what has them.

Addresses come in no order, so a plain index would have pages changed all over it by every batch, and each is written
twice.  Words are therefore kept in runs: a batch goes into the newest run, whose pages are few, until that is full; a
search looks once into each run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from relayd.telemetry.rows import encode

SCHEMA = (
    "CREATE TABLE word (run INTEGER NOT NULL, value TEXT NOT NULL, id INTEGER NOT NULL,"
    " PRIMARY KEY (run, value, id)) WITHOUT ROWID",
    "CREATE TABLE run (number INTEGER PRIMARY KEY, words INTEGER NOT NULL)",
)

MOST_WORDS = 20_000
"""Words of a run after which another is begun: about a megabyte."""

Words = Sequence[tuple[str, int]]
"""Words, each with the id of what has it."""


class Prepared:
    """Words to be written, encoded before the transaction begins."""

    def __init__(self, words: Words) -> None:
        self._count = len(words)
        self._encoded = encode(words)

    def insert(self, connection: sqlite3.Connection) -> None:
        """Add them."""
        if not self._count:
            return
        found = connection.execute(
            "UPDATE run SET words = words + ? WHERE number = (SELECT max(number) FROM run) AND words < ?"
            " RETURNING number",
            (self._count, MOST_WORDS),
        ).fetchall()
        if not found:
            found = connection.execute("INSERT INTO run (words) VALUES (?) RETURNING number", (self._count,)).fetchall()
        connection.execute(
            "INSERT OR IGNORE INTO word (run, value, id) SELECT ?, json_extract(value, '$[0]'),"
            " json_extract(value, '$[1]') FROM json_each(?) ORDER BY 2, 3",
            (found[0][0], self._encoded),
        )


def matching(connection: sqlite3.Connection, wanted: Iterable[tuple[str, bool]]) -> tuple[list[str], list[Any]]:
    """Conditions on `id` in SQL, and their parameters, for words that must all be met: whole, or as a beginning."""
    conditions: list[str] = []
    parameters: list[Any] = []
    wanted = list(wanted)
    if not wanted:
        return conditions, parameters
    newest = connection.execute("SELECT coalesce(max(number), 0) FROM run").fetchone()[0]
    runs = ", ".join(str(number) for number in range(1, newest + 1))
    for word, exact in wanted:
        if exact:
            conditions.append(f"id IN (SELECT id FROM word WHERE run IN ({runs}) AND value = ?)")
            parameters.append(word)
        else:
            conditions.append(f"id IN (SELECT id FROM word WHERE run IN ({runs}) AND value >= ? AND value < ?)")
            parameters += [word, word + "\U0010ffff"]
    return conditions, parameters
