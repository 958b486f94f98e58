"""Writing what became of an attempt, together with the reports that are due for it.

Who ends a recipient first counts it: an outcome for a recipient that is no longer pending, or whose message an operator
removed meanwhile, counts nothing.  So settling twice is harmless, and the invariant holds whatever an operator did
while the attempt ran.  But a removed recipient may come back, so what became of its attempt is noted: one that was
delivered after all stays where it is; any other is tried again when it comes back, for nobody was told of its outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from relayd.database.interface import Connection
from relayd.queue import enqueue, leases, removal, rows
from relayd.queue.message import Job, Outcome, Result

_COUNTED = {
    Result.DELIVERED: "delivered",
    Result.RELAYED: "delivered",
    Result.BOUNCED: "bounced",
    Result.EXPIRED: "expired",
}
_ENDED = {
    Result.DELIVERED: rows.COMPLETED,
    Result.RELAYED: rows.COMPLETED,
    Result.BOUNCED: rows.PERM_FAIL,
    Result.EXPIRED: rows.PERM_FAIL,
}


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """One job's outcomes.  node: who had it leased.

    whole: the job held all the recipients the message had when it was leased.  idle_only: an operator's word, which
    holds only if it holds of all: every recipient pending, and leased by nobody.
    """

    job: Job
    outcomes: Sequence[Outcome]
    generated: Sequence[enqueue.Prepared]
    node: int
    whole: bool
    idle_only: bool = False

    @property
    def weight(self) -> int | None:
        """For `Database.write_each`."""
        return None if self.generated else 2 + len(self.outcomes)

    @property
    def is_plain(self) -> bool:
        """The job ends the whole message, and nothing else is to be written."""
        if not self.whole or self.generated or self.idle_only or len(self.outcomes) != len(self.job.message.recipients):
            return False
        return all(outcome.result is not Result.DEFERRED for outcome in self.outcomes)


class Settled(msgspec.Struct, frozen=True):
    """applied: outcomes that changed something.  finished: nothing of the message is queued any more.

    kept: and yet its rows and its body stay, for a recipient that was cancelled may come back.
    """

    applied: int
    finished: bool
    kept: bool = False


def settle(connection: Connection, settlements: Sequence[Settlement]) -> list[Settled]:
    """Write the outcomes of jobs."""
    counts: dict[str, int] = {}
    plain = [each for each in settlements if each.is_plain]
    if plain and not _finish_together(connection, plain, counts):
        plain = []
    done = set(map(id, plain))
    answers = [
        Settled(len(each.outcomes), finished=True) if id(each) in done else _settle_one(connection, each, counts)
        for each in settlements
    ]
    rows.count(connection, counts.items())
    return answers


def _finish_together(connection: Connection, plain: Sequence[Settlement], counts: dict[str, int]) -> bool:
    """End messages whose every recipient is ended by its job, in three statements for all of them.

    False, with nothing changed, when an operator touched one of them meanwhile: then each is looked at by itself.
    """
    ids = [each.job.message.id for each in plain]
    expected = sum(len(each.outcomes) for each in plain)
    connection.execute("SAVEPOINT plain")
    gone = 0
    for part in rows.parts(ids):
        gone += connection.execute(
            f"DELETE FROM recipients WHERE message_id IN ({rows.marks(part)}) AND {rows.PENDING}", part
        ).rowcount
    if gone != expected:
        connection.execute("ROLLBACK TO plain")
        connection.execute("RELEASE plain")
        return False
    connection.execute("RELEASE plain")
    for part in rows.parts(ids):
        connection.execute(f"DELETE FROM bodies WHERE message_id IN ({rows.marks(part)})", part)
        connection.execute(f"DELETE FROM messages WHERE id IN ({rows.marks(part)})", part)
    for each in plain:
        for outcome in each.outcomes:
            name = _COUNTED[outcome.result]
            counts[name] = counts.get(name, 0) + 1
    return True


def _settle_one(connection: Connection, each: Settlement, counts: dict[str, int]) -> Settled:
    id = each.job.message.id
    current: dict[int, int | None] = {}
    removed: dict[int, int] = {}
    for number, owner, state in connection.execute(
        "SELECT number, lease_owner, state FROM recipients WHERE message_id = ? AND state NOT IN (1, 3)", (id,)
    ):
        if state < rows.REMOVED:
            current[number] = owner
        else:
            removed[number] = state
    if each.idle_only and not all(
        outcome.number in current and current[outcome.number] is None for outcome in each.outcomes
    ):
        return Settled(0, finished=False)
    ended: list[Sequence[Any]] = []
    deferred: list[Outcome] = []
    for outcome in each.outcomes:
        if outcome.number not in current:
            continue  # somebody else ended it first
        if outcome.result is Result.DEFERRED:
            if current[outcome.number] == each.node:  # else the lease ran out and others may work on it
                deferred.append(outcome)
            continue
        del current[outcome.number]
        name = _COUNTED[outcome.result]
        counts[name] = counts.get(name, 0) + 1
        text = outcome.status or str(outcome.reply)
        ended.append((_ENDED[outcome.result], text, outcome.class_, outcome.rule, id, outcome.number))
    applied = len(ended) + len(deferred)
    if ended:
        connection.executemany(
            "UPDATE recipients SET state = ?, status = ?, class = ?, rule = ?, waiting = 0, lease_owner = NULL,"
            " lease_until = NULL WHERE message_id = ? AND number = ?",
            ended,
        )
    if deferred:
        _defer(connection, id, deferred)
    if applied and each.generated:
        enqueue.insert(connection, each.generated)
    if removed:
        _note_removed(connection, each, removed)
    if not ended or current:
        return Settled(applied, finished=False)
    if removed and removal.retire(connection, id):
        return Settled(applied, finished=True, kept=True)
    delete_message(connection, id)
    return Settled(applied, finished=True)


def _note_removed(connection: Connection, each: Settlement, removed: dict[int, int]) -> None:
    """End the leases of recipients that were removed while their attempt ran."""
    found: list[Sequence[Any]] = []
    for outcome in each.outcomes:
        state = removed.get(outcome.number)
        if state is None or each.idle_only:
            continue
        if outcome.result in (Result.DELIVERED, Result.RELAYED):
            state = rows.COMPLETED
        elif not outcome.uncounted:
            state |= rows.TEMP_FAIL
        is_over = state == rows.COMPLETED
        text = outcome.status or str(outcome.reply)
        found.append((state, text, is_over, each.job.message.id, outcome.number, each.node, is_over))
    connection.executemany(
        "UPDATE recipients SET state = ?, status = ?, removal = iif(?, NULL, removal), lease_owner = NULL,"
        " lease_until = NULL WHERE message_id = ? AND number = ? AND (lease_owner = ? OR ?)",
        found,
    )


def _defer(connection: Connection, id: int, outcomes: Sequence[Outcome]) -> None:
    """Let recipients wait for their next attempt."""
    connection.executemany(
        # An attempt that was never made leaves no mark: count and state are as before it.
        "UPDATE recipients SET state = iif(? AND attempts <= 1, state, 2), attempts = max(attempts - ?, 0),"
        " next_attempt = coalesce(?, next_attempt), next_notify = iif(?, next_notify, ?),"
        " destination = coalesce(?, destination), status = coalesce(nullif(?, ''), status),"
        " maybe_delivered = coalesce(?, maybe_delivered), class = iif(?, class, ?), rule = iif(?, rule, ?)"
        " WHERE message_id = ? AND number = ?",
        [
            (
                each.uncounted,
                each.uncounted,
                each.next_attempt,
                each.next_notify is None,
                None if each.next_notify == math.inf else each.next_notify,
                each.destination,
                each.status,
                each.maybe_at,
                *(each.uncounted, each.class_, each.uncounted, each.rule),
                id,
                each.number,
            )
            for each in outcomes
        ],
    )
    leases.rejoin(connection, id, [each.number for each in outcomes])


def delete_message(connection: Connection, id: int) -> None:
    """Remove every row of a message."""
    connection.execute("DELETE FROM recipients WHERE message_id = ?", (id,))
    connection.execute("DELETE FROM bodies WHERE message_id = ?", (id,))
    connection.execute("DELETE FROM messages WHERE id = ?", (id,))
