"""What operators do to the messages that a filter matches.

The matching ids are read first, without holding up the writer; then they are changed in transactions of at most 1,000
recipients (one message is never split), each of which looks again whether its messages still match.  Each answers with
the number of messages it changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from msgspec import structs

from relayd.database.interface import Connection, DatabaseError, Row
from relayd.events import queue as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.queue import leases, listing, rows, settle
from relayd.queue.failure import QueueUnavailable
from relayd.queue.filter import Filter, where
from relayd.queue.message import Job, Message, NewMessage, Outcome, Result
from relayd.queue.store import Queue

Compose = Callable[[Message, Sequence[Outcome]], Awaitable[NewMessage | None]]
"""Writes the report of a bounce, or None when nobody is to be told; the outcomes are of pending recipients."""

CANCELED = "Code: 0, Enhanced code: 0.0.0, Message: Delivery canceled."

_ROWS = 1000
_TOGETHER = 50


class Actions:
    """The verbs.  clock: Unix time.  Each raises QueueUnavailable with the transactions before it done."""

    def __init__(self, queue: Queue, clock: Callable[[], float], span: Span) -> None:
        self._queue = queue
        self._clock = clock
        self._span = span

    async def reschedule(self, filter: Filter, at: float, *, domain: str | None = None) -> int:
        """Have the pending recipients (with `domain`: those whose domain holds it) attempted at `at`.

        Those in flight stay with their attempt, unless the lease has run out.  Expiry does not change.
        """
        at = max(at, now := self._clock())

        def change(connection: Connection, ids: Sequence[int]) -> list[int]:
            return [id for id in ids if _reschedule(connection, id, at, now, domain)]

        changed = await self._each(filter, change)
        for id in changed:
            events.RESCHEDULED(self._span, queue_id=id, next_retry=at)
        self._queue.on_change()
        return len(changed)

    async def remove(self, filter: Filter, by: str, reason: str = "") -> int:
        """Remove messages; nobody is told.  What is in flight may be delivered all the same, but counts as removed."""
        gone = await self._each(filter, _remove)
        self._queue.forget(gone)
        for id, _ in gone:
            events.REMOVED(self._span, queue_id=id, account_name=by, reason=reason)
        return len(gone)

    async def cancel(self, id: int, recipient: str, by: str) -> int | None:
        """Give up the pending recipients of a message whose address holds `recipient`; nobody is told.

        How many; None when there is no such message.
        """
        found = await self._queue.write(lambda connection: _cancel(connection, id, recipient.lower()))
        if found is None:
            return None
        addresses, size = found
        if size is not None:
            self._queue.forget([(id, size)])
        for address in addresses:
            events.REMOVED(self._span, queue_id=id, to=address, account_name=by, reason="canceled")
        return len(addresses)

    async def hold(self, filter: Filter, by: str, reason: str) -> int:
        """Keep messages back until they are released.  An attempt in flight is not stopped."""
        now = self._clock()

        def change(connection: Connection, ids: Sequence[int]) -> list[int]:
            return [id for id in ids if _hold(connection, id, now, by, reason)]

        held = await self._each(filter, change)
        for id in held:
            events.HELD(self._span, queue_id=id, reason=reason, account_name=by)
        return len(held)

    async def release(self, filter: Filter, by: str) -> int:
        """Let held messages go; what was due meanwhile is due now."""
        released = await self._each(filter, lambda connection, ids: [id for id in ids if _release(connection, id)])
        for id in released:
            events.RELEASED(self._span, queue_id=id, account_name=by)
        self._queue.on_change()
        return len(released)

    async def bounce(self, filter: Filter, by: str, reason: str, compose: Compose) -> int:
        """Return messages to their senders: pending recipients are bounced, the report queued with it.

        Recipients in flight stay with their attempt.
        """
        reply = Reply(554, "5.0.0", f"Returned by the postmaster{': ' + reason if reason else ''}")
        bounced = 0
        ids = [id for id, _ in await self._matching(filter)]
        for start in range(0, len(ids), _TOGETHER):
            part = ids[start : start + _TOGETHER]
            done = await asyncio.gather(*(self._bounce(id, reply, compose) for id in part))
            for id, is_done in zip(part, done, strict=True):
                if is_done:
                    events.REMOVED(self._span, queue_id=id, account_name=by, reason=f"bounced {reason}".rstrip())
                    bounced += 1
        return bounced

    async def _bounce(self, id: int, reply: Reply, compose: Compose) -> bool:
        for _ in range(3):  # again when a recipient was leased or ended while the report was written
            message, numbers = await self._read(lambda connection: _idle(connection, id))
            if message is None or not numbers:
                return False
            concerned = structs.replace(message, recipients=tuple(r for r in message.recipients if r.number in numbers))
            outcomes = [
                Outcome(number=to.number, address=to.address, result=Result.BOUNCED, reply=reply, status=_text(reply))
                for to in concerned.recipients
            ]
            report = await compose(concerned, outcomes)
            job = Job(message=concerned, destination="", until=0.0)
            if await self._queue.end(job, outcomes, [] if report is None else [report]):
                return True
        return False

    async def _each(self, filter: Filter, change: Callable[[Connection, Sequence[int]], list[Row]]) -> list[Row]:
        """Run `change` over what matches, in small transactions; everything it answered."""
        changed: list[Row] = []
        for part in _in_parts(await self._matching(filter)):
            changed += await self._queue.write(partial(_change_still, replace(filter, ids=part), change))
        return changed

    async def _matching(self, filter: Filter) -> list[tuple[int, int]]:
        return await self._read(lambda connection: _sizes(connection, filter))

    async def _read(self, work: Callable[[Connection], rows.T]) -> rows.T:
        try:
            return await self._queue.database.read(work)
        except DatabaseError as error:
            raise QueueUnavailable(str(error)) from error


def _text(reply: Reply) -> str:
    return f"Code: {reply.code}, Enhanced code: {reply.enhanced}, Message: {reply.text}"


def _sizes(connection: Connection, filter: Filter) -> list[tuple[int, int]]:
    clause, parameters = where(filter)
    counted = "(SELECT count(*) FROM recipients WHERE message_id = id)"
    return connection.execute(f"SELECT id, {counted} FROM messages{clause} ORDER BY id", parameters).fetchall()


def _in_parts(found: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    part: list[int] = []
    total = 0
    for id, recipients in found:
        if part and total + recipients > _ROWS:
            yield part
            part, total = [], 0
        part.append(id)
        total += recipients
    if part:
        yield part


def _change_still(
    filter: Filter, change: Callable[[Connection, Sequence[int]], list[Row]], connection: Connection
) -> list[Row]:
    clause, parameters = where(filter)
    ids = [id for (id,) in connection.execute(f"SELECT id FROM messages{clause} ORDER BY id", parameters)]
    return change(connection, ids)


def _reschedule(connection: Connection, id: int, at: float, now: float, domain: str | None) -> bool:
    condition, parameters = "", []
    if domain:
        condition = " AND instr(lower(substr(address, instr(address, '@') + 1)), ?)"
        parameters = [domain.lower()]
    numbers = [
        number
        for (number,) in connection.execute(
            f"SELECT number FROM recipients WHERE message_id = ? AND {rows.PENDING}"
            f" AND (lease_owner IS NULL OR lease_until <= ?){condition}",
            (id, now, *parameters),
        ).fetchall()
    ]
    connection.executemany(
        "UPDATE recipients SET next_attempt = ? WHERE message_id = ? AND number = ?",
        [(at, id, number) for number in numbers],
    )
    leases.rejoin(connection, id, numbers)
    return bool(numbers)


def _remove(connection: Connection, ids: Sequence[int]) -> list[tuple[int, int]]:
    gone: list[tuple[int, int]] = []
    removed = 0
    for id in ids:
        pending, size = connection.execute(
            f"SELECT (SELECT count(*) FROM recipients WHERE message_id = id AND {rows.PENDING}), size"
            " FROM messages WHERE id = ?",
            (id,),
        ).fetchone()
        removed += pending
        gone.append((id, size))
        settle.delete_message(connection, id)
    rows.count(connection, [("removed", removed)])
    return gone


def _cancel(connection: Connection, id: int, needle: str) -> tuple[list[str], int | None] | None:
    """The addresses given up, and the message's size when it is finished by that."""
    row = connection.execute("SELECT size FROM messages WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    found = connection.execute(
        f"SELECT number, address FROM recipients WHERE message_id = ? AND {rows.PENDING} AND instr(lower(address), ?)",
        (id, needle),
    ).fetchall()
    connection.executemany(
        "UPDATE recipients SET state = ?, status = ?, waiting = 0, lease_owner = NULL, lease_until = NULL"
        " WHERE message_id = ? AND number = ?",
        [(rows.PERM_FAIL, CANCELED, id, number) for number, _ in found],
    )
    rows.count(connection, [("removed", len(found))])
    (left,) = connection.execute(
        f"SELECT count(*) FROM recipients WHERE message_id = ? AND {rows.PENDING}", (id,)
    ).fetchone()
    if found and not left:
        settle.delete_message(connection, id)
        return [address for _, address in found], row[0]
    return [address for _, address in found], None


def _hold(connection: Connection, id: int, now: float, by: str, reason: str) -> bool:
    changed = connection.execute(
        "UPDATE messages SET held_since = ?, held_by = ?, held_reason = ? WHERE id = ? AND held_since IS NULL",
        (now, by, reason, id),
    ).rowcount
    if changed:
        connection.execute("UPDATE recipients SET waiting = 0 WHERE message_id = ? AND waiting = 1", (id,))
    return bool(changed)


def _release(connection: Connection, id: int) -> bool:
    changed = connection.execute(
        "UPDATE messages SET held_since = NULL, held_by = NULL, held_reason = NULL"
        " WHERE id = ? AND held_since IS NOT NULL",
        (id,),
    ).rowcount
    if changed:
        leases.rejoin(connection, id, leases.idle_numbers(connection, id))
    return bool(changed)


def _idle(connection: Connection, id: int) -> tuple[Message | None, set[int]]:
    found = listing.many(connection, [id])
    return (found[0] if found else None), set(leases.idle_numbers(connection, id))
