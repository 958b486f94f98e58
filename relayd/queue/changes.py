"""What hold, release, reschedule and reroute write: each for all the messages that it is given, in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import json

from relayd.database.interface import Connection
from relayd.queue import leases, rows
from relayd.queue.filter import as_json

_THESE = "message_id IN (SELECT value FROM json_each(?))"
_MAY_WAIT = "(SELECT held_since IS NULL AND corrupt = 0 FROM messages WHERE id = recipients.message_id)"
_DOMAIN = "instr(lower(substr(address, instr(address, '@') + 1)), ?)"


def hold(connection: Connection, ids: Sequence[int], now: float, by: str, reason: str) -> None:
    """Keep messages, none of which is held, from being leased."""
    these = as_json(ids)
    connection.execute(
        "UPDATE messages SET held_since = ?, held_by = ?, held_reason = ? WHERE id IN (SELECT value FROM json_each(?))",
        (now, by, reason, these),
    )
    connection.execute(f"UPDATE recipients SET waiting = 0 WHERE {_THESE} AND waiting = 1", (these,))


def release(connection: Connection, ids: Sequence[int]) -> None:
    """Let held messages go; their recipients are due when they were."""
    these = as_json(ids)
    connection.execute(
        "UPDATE messages SET held_since = NULL, held_by = NULL, held_reason = NULL"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (these,),
    )
    connection.execute(
        f"UPDATE recipients SET waiting = {_MAY_WAIT} WHERE {_THESE} AND {rows.PENDING} AND lease_owner IS NULL",
        (these,),
    )
    leases.join_messages(connection, ids)


def reschedule(connection: Connection, ids: Sequence[int], at: float, now: float, domain: str | None) -> list[int]:
    """Have pending recipients (with `domain`: those whose domain holds it) attempted at `at`; the messages changed.

    Those in flight stay with their attempt, unless the lease has run out by `now`.
    """
    condition = f"{_THESE} AND {rows.PENDING} AND (lease_owner IS NULL OR lease_until <= ?)"
    parameters = [as_json(ids), now]
    if domain:
        condition += f" AND {_DOMAIN}"
        parameters.append(domain.lower())
    (found,) = connection.execute(
        f"SELECT json_group_array(DISTINCT message_id) FROM recipients WHERE {condition}", parameters
    ).fetchone()
    changed = json.decode(found, type=list[int])
    if changed:
        connection.execute(
            f"UPDATE recipients SET next_attempt = ?, waiting = {_MAY_WAIT}, lease_owner = NULL, lease_until = NULL"
            f" WHERE {condition}",
            [at, *parameters],
        )
        leases.join_messages(connection, changed)
    return changed


def reroute(
    connection: Connection, ids: Sequence[int], next_hop: str | None, now: float, destination: Callable[[str], str]
) -> None:
    """Send messages by another next hop, now.

    destination: of an address, under that next hop.  Recipients in flight stay with their attempt; when it is deferred
    they follow.
    """
    these = as_json(ids)
    connection.execute(
        "UPDATE messages SET next_hop = ? WHERE id IN (SELECT value FROM json_each(?))", (next_hop, these)
    )
    (found,) = connection.execute(
        "SELECT json_group_array(json_array(message_id, number, address)) FROM recipients"
        f" WHERE {_THESE} AND {rows.PENDING} AND lease_owner IS NULL",
        (these,),
    ).fetchone()
    idle = json.decode(found, type=list[tuple[int, int, str]])
    connection.executemany(
        f"UPDATE recipients SET destination = ?, next_attempt = ?, waiting = {_MAY_WAIT}"
        " WHERE message_id = ? AND number = ?",
        [(destination(address), now, id, number) for id, number, address in idle],
    )
    leases.join_messages(connection, ids)
