"""The statistical model at rest: its tables and the statements on them.

A token's number is kept as a signed one, as SQLite has no other.  What was learnt is kept by the hash of the message,
so that it can be forgotten, and only as often as it was learnt.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from relayd.database.interface import Connection
from relayd.database.migrations import Migration

MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE models (id INTEGER PRIMARY KEY, account TEXT NOT NULL UNIQUE, spam INTEGER NOT NULL,"
            " ham INTEGER NOT NULL)",
            "CREATE TABLE tokens (model INTEGER NOT NULL, token INTEGER NOT NULL, spam INTEGER NOT NULL,"
            " ham INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (model, token)) WITHOUT ROWID",
            "CREATE TABLE messages (model INTEGER NOT NULL, digest BLOB NOT NULL, spam INTEGER NOT NULL,"
            " ham INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (model, digest)) WITHOUT ROWID",
        ),
    ),
)

_DAY = 86400
_BATCH = 20_000
"""Rows that one transaction removes."""


def signed(tokens: bytes) -> Sequence[int]:
    """The numbers of packed tokens as the table has them."""
    numbers = array("q")
    numbers.frombytes(tokens[: len(tokens) & ~7])
    return numbers


def learn(connection: Connection, account: str, digest: bytes, tokens: Sequence[int], *, spam: bool, now: float) -> int:
    """Count a message; the model's id."""
    column = "spam" if spam else "ham"
    connection.execute("INSERT INTO models (account, spam, ham) VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (account,))
    connection.execute(f"UPDATE models SET {column} = {column} + 1 WHERE account = ?", (account,))
    model: int = connection.execute("SELECT id FROM models WHERE account = ?", (account,)).fetchone()[0]
    day = int(now // _DAY)
    counts = (1, 0) if spam else (0, 1)
    connection.executemany(
        "INSERT INTO tokens (model, token, spam, ham, seen) VALUES (?, ?, ?, ?, ?)"
        f" ON CONFLICT (model, token) DO UPDATE SET {column} = {column} + 1, seen = excluded.seen",
        [(model, token, *counts, day) for token in tokens],
    )
    connection.execute(
        "INSERT INTO messages (model, digest, spam, ham, seen) VALUES (?, ?, ?, ?, ?)"
        f" ON CONFLICT (model, digest) DO UPDATE SET {column} = {column} + 1, seen = excluded.seen",
        (model, digest, *counts, day),
    )
    return model


def unlearn(connection: Connection, account: str, digest: bytes, tokens: Sequence[int], *, spam: bool) -> bool:
    """Take a message back, once; False: it is not among what was learnt."""
    column = "spam" if spam else "ham"
    row = connection.execute("SELECT id FROM models WHERE account = ?", (account,)).fetchone()
    if row is None:
        return False
    changed = connection.execute(
        f"UPDATE messages SET {column} = {column} - 1 WHERE model = ? AND digest = ? AND {column} > 0",
        (row[0], digest),
    )
    if changed.rowcount != 1:
        return False
    connection.execute("DELETE FROM messages WHERE model = ? AND digest = ? AND spam = 0 AND ham = 0", (row[0], digest))
    connection.execute(f"UPDATE models SET {column} = {column} - 1 WHERE id = ? AND {column} > 0", (row[0],))
    connection.executemany(
        f"UPDATE tokens SET {column} = {column} - 1 WHERE model = ? AND token = ? AND {column} > 0",
        [(row[0], token) for token in tokens],
    )
    connection.executemany(
        "DELETE FROM tokens WHERE model = ? AND token = ? AND spam = 0 AND ham = 0",
        [(row[0], token) for token in tokens],
    )
    return True


def models(connection: Connection) -> dict[str, tuple[int, int]]:
    """(messages of spam, of ham) that each account's model has learnt; "" is everybody's."""
    return {account: (spam, ham) for account, spam, ham in connection.execute("SELECT account, spam, ham FROM models")}


def tokens_of(connection: Connection, account: str, most: int) -> list[tuple[int, int, int]]:
    """(token, spam, ham) of a model, those seen most often where there are more than `most`."""
    total = connection.execute(
        "SELECT count(*) FROM tokens WHERE model = (SELECT id FROM models WHERE account = ?)", (account,)
    ).fetchone()[0]
    order = " ORDER BY spam + ham DESC" if total > most else ""
    return connection.execute(
        f"SELECT token, spam, ham FROM tokens WHERE model = (SELECT id FROM models WHERE account = ?){order} LIMIT ?",
        (account, most),
    ).fetchall()


def forget_model(connection: Connection, account: str | None) -> int:
    """Drop the model of an account, of everybody (""), or every account's (None): how many."""
    where, values = ("account = ?", (account,)) if account is not None else ("account != ''", ())
    ids = [row[0] for row in connection.execute(f"SELECT id FROM models WHERE {where}", values)]
    for id in ids:
        connection.execute("DELETE FROM tokens WHERE model = ?", (id,))
        connection.execute("DELETE FROM messages WHERE model = ?", (id,))
        connection.execute("DELETE FROM models WHERE id = ?", (id,))
    return len(ids)


def expire(connection: Connection, before: float, most: int) -> int:
    """Drop tokens and messages not learnt again since `before`, and the rarest and oldest tokens over `most`.

    So many rows at a time as one transaction should hold; 0: there are none left.
    """
    day = int(before // _DAY)
    gone = connection.execute(
        "DELETE FROM tokens WHERE (model, token) IN (SELECT model, token FROM tokens WHERE seen < ? LIMIT ?)",
        (day, _BATCH),
    ).rowcount
    gone += connection.execute(
        "DELETE FROM messages WHERE (model, digest) IN (SELECT model, digest FROM messages WHERE seen < ? LIMIT ?)",
        (day, _BATCH),
    ).rowcount
    over = connection.execute("SELECT count(*) FROM tokens").fetchone()[0] - most
    if over > 0:
        gone += connection.execute(
            "DELETE FROM tokens WHERE (model, token) IN"
            " (SELECT model, token FROM tokens ORDER BY spam + ham, seen LIMIT ?)",
            (min(over, _BATCH),),
        ).rowcount
    return gone
