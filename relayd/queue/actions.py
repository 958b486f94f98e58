"""What operators do to the messages that a filter matches.

The matching ids are read first, without holding up the writer; then they are changed in transactions of at most 1,000
recipients (one message is never split), each of which looks again whether its messages still match.  Between two of
them is a pause, so that reception and delivery keep most of the writer's time.  Each verb answers with the number of
messages it changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from msgspec import json, structs

from relayd.database.interface import Connection, DatabaseError
from relayd.events import queue as events
from relayd.events.event import EventKind, Span
from relayd.mail.reply import Reply
from relayd.queue import changes, leases, listing, removal, rows
from relayd.queue.failure import QueueUnavailable
from relayd.queue.filter import Filter, where
from relayd.queue.message import Deletion, Job, Message, NewMessage, Outcome, Result
from relayd.queue.removal import Changed
from relayd.queue.store import Queue

Compose = Callable[[Message, Sequence[Outcome]], Awaitable[NewMessage | None]]
"""Writes the report of a bounce, or None when nobody is to be told; the outcomes are of pending recipients."""

Change = Callable[[Connection, Sequence[int]], Changed]

_ROWS = 1000
_TOGETHER = 50
_STATED = 100  # messages of one event
_SPREAD = 7.5
"""Seconds over which a deletion is spread, whose transactions are small: mail flows in between."""
_SHARE = 3.0  # any other change leaves this many times as long as its last transaction took
_SHORTEST, _LONGEST = 0.02, 0.5  # seconds between two transactions


class Verb(Enum):
    """What can be done to many messages; the value is its word in the control API."""

    RESCHEDULE = "reschedule"
    REMOVE = "remove"
    PURGE = "purge"
    HOLD = "hold"
    RELEASE = "release"
    BOUNCE = "bounce"
    REROUTE = "reroute"
    UNDO = "undo"


_IDLE = f"EXISTS (SELECT 1 FROM recipients i WHERE i.message_id = messages.id AND i.{rows.PENDING}"
_CONDITIONS = {
    Verb.RESCHEDULE: f"{_IDLE} AND (i.lease_owner IS NULL OR i.lease_until <= :now))",
    Verb.HOLD: "held_since IS NULL",
    Verb.RELEASE: "held_since IS NOT NULL",
    Verb.BOUNCE: f"{_IDLE} AND i.lease_owner IS NULL)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a verb would do now.  matched: messages that it would change.  sample: ids of the first of them."""

    matched: int
    sample: list[int]


def _where(verb: Verb, filter: Filter, now: float) -> tuple[str, list[object]]:
    """The WHERE clause of the messages that `verb` changes, and its parameters."""
    if verb is Verb.UNDO:
        return where(filter, removal.undoable(now), deleted=None)
    condition = _CONDITIONS.get(verb)
    more = () if condition is None else (condition.replace(":now", repr(now)),)
    # what is deleted can only be purged or brought back
    return where(filter, *more, *(() if verb is Verb.PURGE else ("removal IS NULL",)))


class Actions:
    """The verbs.  clock: Unix time.  keep: seconds for which what is deleted can be brought back; 0: not at all.

    Each raises QueueUnavailable with the transactions before it done.
    """

    def __init__(self, queue: Queue, clock: Callable[[], float], span: Span, keep: float = 0.0) -> None:
        self.keep = keep
        self.breath: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._queue = queue
        self._clock = clock
        self._span = span

    async def preview(self, verb: Verb, filter: Filter, sample: int = 20) -> Preview:
        """What `verb` would change now, and the first `sample` ids of it; nothing is changed."""
        clause, parameters = _where(verb, filter, self._clock())

        def look(connection: Connection) -> Preview:
            (matched,) = connection.execute(f"SELECT count(*) FROM messages{clause}", parameters).fetchone()
            if not sample:
                return Preview(matched=matched, sample=[])
            found = connection.execute(f"SELECT id FROM messages{clause} ORDER BY id LIMIT ?", [*parameters, sample])
            return Preview(matched=matched, sample=[id for (id,) in found])

        return await self._read(look)

    async def reschedule(self, filter: Filter, at: float, *, domain: str | None = None) -> int:
        """Have the pending recipients (with `domain`: those whose domain holds it) attempted at `at`.

        Those in flight stay with their attempt, unless the lease has run out.  Expiry does not change.
        """
        at = max(at, now := self._clock())

        def change(connection: Connection, ids: Sequence[int]) -> Changed:
            return Changed(changes.reschedule(connection, ids, at, now, domain))

        return await self._each(Verb.RESCHEDULE, filter, change, _Statement(events.RESCHEDULED, next_retry=at))

    async def remove(self, filter: Filter, by: str, reason: str = "", *, purge: bool = False) -> int:
        """Remove messages; nobody is told.  What is in flight may be delivered all the same, but counts as removed.

        purge: at once and for good; it is the only thing that can be done to what is deleted already.
        """
        if purge or not self.keep:
            purged = _Statement(events.PURGED, account_name=by, reason=reason)
            return await self._each(Verb.PURGE, filter, removal.purge, purged)
        deletion = self._deletion(by, reason)

        def change(connection: Connection, ids: Sequence[int]) -> Changed:
            return removal.delete(connection, ids, deletion)

        stated = _Statement(events.REMOVED, account_name=by, reason=reason)
        return await self._each(Verb.REMOVE, filter, change, stated)

    async def cancel(self, id: int, recipient: str, by: str, *, purge: bool = False) -> int | None:
        """Give up the pending recipients of a queued message whose address holds `recipient`; nobody is told.

        purge: for good.  How many; None when there is no such message.
        """
        deletion, keep = self._deletion(by, "canceled"), bool(self.keep) and not purge
        found = await self._queue.write(
            lambda connection: removal.cancel(connection, id, recipient.lower(), deletion, keep=keep)
        )
        if found is None:
            return None
        addresses, changed = found
        await self._queue.left(changed)
        for address in addresses:
            events.REMOVED(self._span, queue_id=id, to=address, account_name=by, reason=deletion.reason)
        return len(addresses)

    async def undo(self, filter: Filter, by: str, reason: str = "") -> int:
        """Bring back, due now, deleted messages and cancelled recipients of queued ones, while their window lasts."""
        now, has_file = self._clock(), self._queue.blobs.has

        def change(connection: Connection, ids: Sequence[int]) -> Changed:
            return removal.undo(connection, ids, now, has_file)

        return await self._each(Verb.UNDO, filter, change, _Statement(events.RESTORED, account_name=by, reason=reason))

    async def hold(self, filter: Filter, by: str, reason: str) -> int:
        """Keep messages back until they are released.  An attempt in flight is not stopped."""
        now = self._clock()

        def change(connection: Connection, ids: Sequence[int]) -> Changed:
            changes.hold(connection, ids, now, by, reason)
            return Changed(ids)

        return await self._each(Verb.HOLD, filter, change, _Statement(events.HELD, reason=reason, account_name=by))

    async def release(self, filter: Filter, by: str) -> int:
        """Let held messages go; what was due meanwhile is due now."""

        def change(connection: Connection, ids: Sequence[int]) -> Changed:
            changes.release(connection, ids)
            return Changed(ids)

        return await self._each(Verb.RELEASE, filter, change, _Statement(events.RELEASED, account_name=by))

    async def reroute(
        self, filter: Filter, next_hop: str | None, destination: Callable[[str], str], by: str, reason: str
    ) -> int:
        """Send messages by another next hop from now on, and now: a route's id, "mx", None: as the configuration says.

        destination: of an address under it; called on the writer's thread.  An attempt in flight is not stopped; what
        it defers goes the new way.
        """
        now = self._clock()

        def change(connection: Connection, ids: Sequence[int]) -> Changed:
            changes.reroute(connection, ids, next_hop, now, destination)
            return Changed(ids)

        stated = _Statement(events.REROUTED, account_name=by, hostname=next_hop or "", reason=reason)
        return await self._each(Verb.REROUTE, filter, change, stated)

    async def bounce(self, filter: Filter, by: str, reason: str, compose: Compose) -> int:
        """Return messages to their senders: pending recipients are bounced, the report queued with it.

        Recipients in flight stay with their attempt.
        """
        reply = Reply(554, "5.0.0", f"Returned by the postmaster{': ' + reason if reason else ''}")
        bounced = 0
        ids = [id for id, _ in await self._matching(Verb.BOUNCE, filter, self._clock())]
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

    def _deletion(self, by: str, reason: str) -> Deletion:
        now = self._clock()
        return Deletion(since=now, by=by, reason=reason, until=now + self.keep)

    async def _each(self, verb: Verb, filter: Filter, change: Change, stated: _Statement) -> int:
        """Run `change` over what matches, in small transactions; how many messages were changed."""
        now, total, pace = self._clock(), 0, _Pace(verb, asyncio.get_running_loop().time)
        parts = list(_in_parts(await self._matching(verb, filter, now)))
        for number, part in enumerate(parts):
            if number:
                await self.breath(pace.pause(len(parts) - number))
            pace.begin()
            clause = _where(verb, replace(filter, ids=part), now)
            changed = await self._queue.write(partial(_change_still, clause, change))
            pace.end()
            total += len(changed.ids)
            if verb in (Verb.REMOVE, Verb.PURGE):
                await self._queue.left(changed)
            elif verb is not Verb.HOLD:
                self._queue.came_back(changed)
            stated.of(self._span, changed.ids)
        return total

    async def _matching(self, verb: Verb, filter: Filter, now: float) -> list[tuple[int, int]]:
        clause = _where(verb, filter, now)
        return await self._read(lambda connection: _sizes(connection, clause))

    async def _read(self, work: Callable[[Connection], rows.T]) -> rows.T:
        try:
            return await self._queue.database.read(work)
        except DatabaseError as error:
            raise QueueUnavailable(str(error)) from error


class _Pace:
    """How long to leave the writer to others between two transactions.  time: monotonic seconds."""

    def __init__(self, verb: Verb, time: Callable[[], float]) -> None:
        self._is_cheap = verb is Verb.REMOVE
        self._time = time
        self._until = time() + _SPREAD
        self._begun = self._took = 0.0

    def begin(self) -> None:
        """A transaction is handed over."""
        self._begun = self._time()

    def end(self) -> None:
        """It is done."""
        self._took = self._time() - self._begun

    def pause(self, left: int) -> float:
        """Seconds until the next of `left` transactions."""
        wanted = (self._until - self._time()) / left - self._took if self._is_cheap else self._took * _SHARE
        return min(max(wanted, _SHORTEST), _LONGEST if not self._is_cheap else _SPREAD / 50)


class _Statement:
    """The event of a change, stated for up to a hundred messages at a time: one for each would cost more than the
    change itself.  `queue_id` is then a list."""

    __slots__ = ("_fields", "_kind")

    def __init__(self, kind: EventKind, **fields: object) -> None:
        self._kind = kind
        self._fields = fields

    def of(self, span: Span, ids: Sequence[int]) -> None:
        """State it of these messages."""
        for start in range(0, len(ids), _STATED):
            part = list(ids[start : start + _STATED])
            self._kind(span, queue_id=part[0] if len(part) == 1 else part, **self._fields)


def _text(reply: Reply) -> str:
    return f"Code: {reply.code}, Enhanced code: {reply.enhanced}, Message: {reply.text}"


def _sizes(connection: Connection, clause: tuple[str, list[object]]) -> list[tuple[int, int]]:
    """Ids and how many recipients each has.  In one row: each row that is fetched gives the interpreter lock away."""
    counted = "(SELECT count(*) FROM recipients WHERE message_id = id)"
    matching = f"SELECT id FROM messages{clause[0]} ORDER BY id"
    ids, numbers = connection.execute(
        f"SELECT json_group_array(id), json_group_array({counted}) FROM ({matching})", clause[1]
    ).fetchone()
    return list(zip(json.decode(ids, type=list[int]), json.decode(numbers, type=list[int]), strict=True))


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


def _change_still(clause: tuple[str, list[object]], change: Change, connection: Connection) -> Changed:
    (found,) = connection.execute(
        f"SELECT json_group_array(id) FROM (SELECT id FROM messages{clause[0]} ORDER BY id)", clause[1]
    ).fetchone()
    ids = json.decode(found, type=list[int])
    return change(connection, ids) if ids else Changed(())


def _idle(connection: Connection, id: int) -> tuple[Message | None, set[int]]:
    found = listing.many(connection, [id])
    return (found[0] if found else None), set(leases.idle_numbers(connection, id))
