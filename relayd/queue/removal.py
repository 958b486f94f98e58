"""Taking messages and recipients out of the queue, keeping them for a while, and bringing them back.

What is removed is counted out at once; its rows and its body stay until the retention window ends, space is short, or
somebody asks for it to be purged.  A removed recipient whose attempt was in flight keeps its lease, so that `settle`
can note what became of it: one that was delivered after all never comes back.

What is removed stays in the line where it waited (`lines`): so deleting a message touches its own rows only.

Each function changes all that it is given in a few statements, however many messages those are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import json

from relayd.database.interface import Connection
from relayd.queue import leases, rows
from relayd.queue.filter import as_json
from relayd.queue.message import Deletion

_THESE = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Changed:
    """ids: messages that were changed.  octets, queued: size and number of those that entered or left the queue by it.

    files: ids among them whose body is a file that nothing refers to any more.
    """

    ids: Sequence[int]
    octets: int = 0
    queued: int = 0
    files: Sequence[int] = ()


def delete(connection: Connection, ids: Sequence[int], deletion: Deletion) -> Changed:
    """Take queued messages out; they stay until `deletion.until`."""
    these = as_json(ids)
    (octets,) = connection.execute(
        f"SELECT coalesce(sum(size), 0) FROM messages WHERE id {_THESE}", (these,)
    ).fetchone()
    removal = _note(connection, deletion)
    gone = connection.execute(
        f"UPDATE recipients SET state = state + {rows.REMOVED}, removal = ?"
        f" WHERE message_id {_THESE} AND {rows.PENDING}",
        (removal, these),
    ).rowcount
    connection.execute(f"UPDATE messages SET removal = ? WHERE id {_THESE}", (removal, these))
    rows.count(connection, [("removed", gone)])
    return Changed(ids, octets, len(ids))


def purge(connection: Connection, ids: Sequence[int]) -> Changed:
    """Remove every row of messages, queued or deleted; that cannot be undone."""
    these = as_json(ids)
    octets, queued = connection.execute(
        f"SELECT coalesce(sum(size), 0), count(*) FROM messages WHERE id {_THESE} AND removal IS NULL", (these,)
    ).fetchone()
    (files,) = connection.execute(
        f"SELECT json_group_array(message_id) FROM bodies WHERE message_id {_THESE} AND file_from IS NOT NULL", (these,)
    ).fetchone()
    if queued:
        (gone,) = connection.execute(
            f"SELECT count(*) FROM recipients WHERE message_id {_THESE} AND {rows.PENDING}", (these,)
        ).fetchone()
        rows.count(connection, [("removed", gone)])
    connection.execute(f"DELETE FROM recipients WHERE message_id {_THESE}", (these,))
    connection.execute(f"DELETE FROM bodies WHERE message_id {_THESE}", (these,))
    connection.execute(f"DELETE FROM messages WHERE id {_THESE}", (these,))
    return Changed(ids, octets, queued, json.decode(files, type=list[int]))


def cancel(
    connection: Connection, id: int, needle: str, deletion: Deletion, *, keep: bool
) -> tuple[list[str], Changed] | None:
    """Give up the pending recipients of a queued message whose address holds `needle` (in lower case).

    Their addresses, and what follows for the message when nobody else is pending; None: it is not queued.
    keep: it can be undone.
    """
    row = connection.execute("SELECT size FROM messages WHERE id = ? AND removal IS NULL", (id,)).fetchone()
    if row is None:
        return None
    found = connection.execute(
        f"SELECT number, address FROM recipients WHERE message_id = ? AND {rows.PENDING} AND instr(lower(address), ?)",
        (id, needle),
    ).fetchall()
    addresses = [address for _, address in found]
    if not found:
        return [], Changed([])
    numbers = as_json([number for number, _ in found])
    if keep:
        connection.execute(
            f"UPDATE recipients SET state = state + {rows.CANCELLED}, removal = ?"
            f" WHERE message_id = ? AND number {_THESE}",
            (_note(connection, deletion), id, numbers),
        )
    else:
        connection.execute(
            "UPDATE recipients SET state = ?, status = ?, waiting = 0, lease_owner = NULL, lease_until = NULL"
            f" WHERE message_id = ? AND number {_THESE}",
            (rows.PERM_FAIL, rows.CANCELED, id, numbers),
        )
    rows.count(connection, [("removed", len(found))])
    (left,) = connection.execute(
        f"SELECT count(*) FROM recipients WHERE message_id = ? AND {rows.PENDING}", (id,)
    ).fetchone()
    if left:
        return addresses, Changed([id])
    if keep:
        retire(connection, id)
        return addresses, Changed([id], row[0], 1)
    return addresses, purge(connection, [id])


def retire(connection: Connection, id: int) -> bool:
    """Nobody is pending: keep the message as deleted when one who was cancelled may come back; whether that is so."""
    (removal,) = connection.execute(
        "SELECT max(removal) FROM recipients WHERE message_id = ?"
        f" AND state >= {rows.REMOVED} AND removal IN (SELECT id FROM removals)",
        (id,),
    ).fetchone()
    if removal is None:
        return False
    connection.execute("UPDATE messages SET removal = ? WHERE id = ?", (removal, id))
    return True


def undoable(now: float) -> str:
    """The SQL condition over `messages`: something of it was removed, and can be brought back at `now`."""
    kept = f"SELECT id FROM removals WHERE until > {now!r}"
    back = f"r.state >= {rows.REMOVED} AND r.removal IN ({kept})"
    return (
        f"EXISTS (SELECT 1 FROM recipients r WHERE r.message_id = messages.id AND {back}"
        " AND r.removal = coalesce(messages.removal, r.removal))"
    )


def undo(connection: Connection, ids: Sequence[int], now: float, has_file: Callable[[int], bool]) -> Changed:
    """Bring back what the last removal took of each message, due `now`; the messages must be `undoable`.

    Of a deleted message, what was deleted with it; of a queued one, every recipient that was cancelled.  A recipient
    whose attempt is still in flight stays with it.  has_file: whether the file of a message's body is still there.
    """
    these = as_json(ids)
    filed = connection.execute(
        f"SELECT json_group_array(message_id) FROM bodies WHERE message_id {_THESE} AND file_from IS NOT NULL", (these,)
    ).fetchone()[0]
    lost = {id for id in json.decode(filed, type=list[int]) if not has_file(id)}
    if lost:
        ids = [id for id in ids if id not in lost]
        these = as_json(ids)
    octets, queued = connection.execute(
        f"SELECT coalesce(sum(size), 0), count(*) FROM messages WHERE id {_THESE} AND removal IS NOT NULL", (these,)
    ).fetchone()
    message = "FROM messages WHERE id = recipients.message_id"
    restored = connection.execute(
        f"UPDATE recipients SET state = state & {rows.TEMP_FAIL}, removal = NULL,"
        " next_attempt = iif(lease_until > ?1, next_attempt, ?1),"
        f" waiting = iif(lease_until > ?1, 0, (SELECT held_since IS NULL AND corrupt = 0 {message})),"
        " lease_owner = iif(lease_until > ?1, lease_owner, NULL),"
        " lease_until = iif(lease_until > ?1, lease_until, NULL)"
        f" WHERE message_id IN (SELECT value FROM json_each(?2)) AND state >= {rows.REMOVED}"
        " AND removal IN (SELECT id FROM removals WHERE until > ?1)"
        f" AND removal = coalesce((SELECT removal {message}), removal)",
        (now, these),
    ).rowcount
    connection.execute(f"UPDATE messages SET removal = NULL WHERE id {_THESE} AND removal IS NOT NULL", (these,))
    rows.count(connection, [("restored", restored)])
    leases.join_messages(connection, ids)
    return Changed(ids, octets, queued)


def due(connection: Connection, now: float, limit: int) -> list[int]:
    """Deleted messages whose window has ended, the oldest deletion first, with at most about `limit` recipients."""
    return _bounded(connection, f"removal IN (SELECT id FROM removals WHERE until <= {now!r})", limit)


def oldest(connection: Connection, limit: int) -> list[int]:
    """Deleted messages whatever their window, the oldest deletion first, with at most about `limit` recipients."""
    return _bounded(connection, "removal IS NOT NULL", limit)


def _bounded(connection: Connection, condition: str, limit: int) -> list[int]:
    found = connection.execute(
        "SELECT id, (SELECT count(*) FROM recipients WHERE message_id = id) FROM messages"
        f" WHERE {condition} ORDER BY removal, id LIMIT ?",
        (limit,),
    ).fetchall()
    ids: list[int] = []
    for id, recipients in found:
        if ids and limit < recipients:
            break
        ids.append(id)
        limit -= recipients
    return ids


def files(connection: Connection, limit: int) -> list[int]:
    """Deleted messages whose body is a file, the oldest deletion first."""
    found = connection.execute(
        "SELECT id FROM messages WHERE removal IS NOT NULL AND id IN"
        " (SELECT message_id FROM bodies WHERE file_from IS NOT NULL) ORDER BY removal, id LIMIT ?",
        (limit,),
    )
    return [id for (id,) in found]


def forget(connection: Connection, now: float) -> None:
    """Drop the notes of removals that nothing can be brought back from."""
    connection.execute(
        "DELETE FROM removals WHERE until <= ? AND NOT EXISTS (SELECT 1 FROM messages WHERE removal = removals.id)",
        (now,),
    )


def _note(connection: Connection, deletion: Deletion) -> int:
    row = connection.execute(
        "INSERT INTO removals (since, by, reason, until) VALUES (?, ?, ?, ?) RETURNING id",
        (deletion.since, deletion.by, deletion.reason, deletion.until),
    ).fetchone()
    return int(row[0])
