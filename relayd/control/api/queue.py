"""`/api/queue/*`: the messages, their state, and what an operator may do to them (operations 11-13, 40-44, 53).

Of our own: `POST hold|release|bounce|reroute|undo` (see `steering`), `GET audit`, `status?detail=1`, and deleted
messages, which are shown only to who asks for them by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NotRequired, TypedDict

from relayd.control.answers import NOT_FOUND, Problem
from relayd.control.api.messages import MessageValue, message_value
from relayd.control.api.steering import AREA, Changes, Matched, Reason, Steering, audit
from relayd.control.background import Background
from relayd.control.queries import FLAG, TEXT, TIME, MessageQuery, parameter
from relayd.control.routes import Call, Handler, Route
from relayd.control.streaming import stream_list
from relayd.mail.snowflake import parse_snowflake
from relayd.queue.actions import Verb
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Message
from relayd.telemetry.render import rfc3339

LIST, SHOW, CHANGE, REMOVE = (f"message-queue-{each}" for each in ("list", "get", "update", "delete"))
"""The permissions."""

_AT_ONCE = 250
"""Messages whose values are answered in one piece, and read at once beyond that."""


class MessageList(TypedDict):
    """Ids, or messages; how many there are in all; whether the queue runs."""

    items: list[int | MessageValue]
    total: int
    status: bool


class StatusDetail(TypedDict):
    """Whether the queue runs, and if not, who stopped it, when and why."""

    running: bool
    since: NotRequired[str]
    by: NotRequired[str]
    reason: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery(MessageQuery):
    """Of the list."""

    values: bool = parameter(FLAG, "Whole messages instead of their ids.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowQuery:
    """Of one message."""

    deleted: bool = parameter(FLAG, "Also when it is deleted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleOneQuery:
    """Of one message's next attempt."""

    at: float | None = parameter(TIME, "When; absent or past: now.")
    filter: str | None = parameter(TEXT, "Only recipients whose domain holds this.")
    dry_run: bool = parameter(FLAG, "Change nothing: say whether something would be changed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelQuery:
    """Of one message's removal."""

    filter: str | None = parameter(TEXT, "Only give up recipients whose address holds this.")
    purge: bool = parameter(FLAG, "For good: it cannot be undone. Also of a deleted message.")
    dry_run: bool = parameter(FLAG, "Change nothing: say whether something would be changed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusQuery:
    """Of the queue's state."""

    detail: bool = parameter(FLAG, "Who stopped it, when and why.")


def _route(method: str, path: str, permission: str, handler: Handler, summary: str, **rest: Any) -> Route:
    return Route(method=method, path=path, permission=permission, handler=handler, summary=summary, area=AREA, **rest)


class QueueOperations:
    """The handlers.  clock: Unix time in seconds."""

    def __init__(self, steering: Steering, background: Background, clock: Callable[[], float]) -> None:
        self._steering = steering
        self._queue = steering.queue
        self._actions = steering.actions
        self._changes = Changes(steering, background, clock)
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield from self._changes.routes()
        yield from self._of_one_message()
        yield from self._of_the_queue()

    def _of_one_message(self) -> Iterator[Route]:
        one = "/queue/messages/{id}"
        yield _route("GET", one, SHOW, self.show, "One message", query=ShowQuery, answer=MessageValue, operation=42)
        yield _route(
            "PATCH",
            one,
            CHANGE,
            self.reschedule,
            "Set the next attempt of a message",
            query=RescheduleOneQuery,
            strict=True,
            answer=bool | Matched,
            operation=43,
        )
        yield _route(
            "DELETE",
            one,
            REMOVE,
            self.cancel,
            "Remove a message, or give up some of its recipients",
            query=CancelQuery,
            answer=bool | Matched,
            operation=44,
        )

    def _of_the_queue(self) -> Iterator[Route]:
        yield _route(
            "GET",
            "/queue/messages",
            LIST,
            self.index,
            "List the queued messages",
            query=ListQuery,
            answer=MessageList,
            operation=11,
        )
        yield _route(
            "GET",
            "/queue/status",
            SHOW,
            self.status,
            "Whether the queue runs",
            query=StatusQuery,
            answer=bool | StatusDetail,
            operation=53,
        )
        state = "/queue/status/"
        yield _route("PATCH", state + "stop", CHANGE, self.pause, "Pause", body=Reason, answer=bool, operation=40)
        yield _route("PATCH", state + "start", CHANGE, self.resume, "Resume", answer=bool, operation=41)
        audited = "Compare what was promised with what is there"
        yield _route("GET", "/queue/audit", SHOW, self.audit, audited, answer=dict[str, int])

    # Looking

    async def index(self, call: Call) -> Any:
        """11: ids, or with `values` messages."""
        query: ListQuery = call.query
        filter = await self._steering.bound(call, query.filter())
        ids, total = await self._queue.list(filter, query.offset, query.size, query.max_total or 0)
        rest = {"total": total, "status": self._queue.paused is None}
        if not query.values:
            return {"items": ids, **rest}
        if len(ids) <= _AT_ONCE:
            return {"items": await self._values(ids), **rest}
        return await stream_list(call.request, self._pieces(ids), rest)

    async def _pieces(self, ids: Sequence[int]) -> AsyncIterator[list[Any]]:
        for start in range(0, len(ids), _AT_ONCE):
            yield await self._values(ids[start : start + _AT_ONCE])

    async def _values(self, ids: Sequence[int]) -> list[MessageValue]:
        now = self._clock()
        return [message_value(each, now) for each in await self._queue.get_many(ids)]

    async def show(self, call: Call) -> MessageValue:
        """42: one message."""
        return message_value(await self._message(call, deleted=call.query.deleted), self._clock())

    async def status(self, call: Call) -> bool | StatusDetail:
        """53: whether the queue runs; with `detail` who stopped it, when and why."""
        pause = self._queue.paused
        if not call.query.detail:
            return pause is None
        if pause is None:
            return {"running": True}
        return {"running": False, "since": rfc3339(pause.since), "by": pause.by, "reason": pause.reason}

    async def audit(self, call: Call) -> dict[str, int]:
        """The invariant: its counters, what is queued, and the difference, which is 0."""
        call.caller.check_unbound()
        found = await self._queue.audit()
        return {**found.counters, "queued": found.queued, "difference": found.difference}

    # One message

    async def reschedule(self, call: Call) -> bool | Matched:
        """43: the next attempt at `at`, or now; with `filter` of the domains that hold it."""
        message = await self._message(call)
        domain = call.query.filter
        filter = Filter(ids=[message.id], domain=domain)
        work = partial(self._actions.reschedule, filter, self._changes.at(call.query.at), domain=domain)
        found = await self._changes.run(call, Verb.RESCHEDULE, filter, work)
        return found if call.query.dry_run else found["matched"] > 0

    async def cancel(self, call: Call) -> bool | Matched:
        """44: gone; with `filter` only the recipients that hold it are given up."""
        query: CancelQuery = call.query
        message = await self._message(call, deleted=query.purge and query.filter is None)
        if query.filter is not None:
            return await self._cancel(call, message, query.filter)
        filter = Filter(ids=[message.id], kind=None if message.deletion is None else Kind.DELETED)
        work = partial(self._actions.remove, filter, call.caller.name, purge=query.purge)
        found = await self._changes.run(call, Verb.PURGE if query.purge else Verb.REMOVE, filter, work)
        return found if query.dry_run else found["matched"] > 0

    async def _cancel(self, call: Call, message: Message, recipient: str) -> bool | Matched:
        if call.query.dry_run:
            needle = recipient.lower()
            concerned = any(each.state.is_pending and needle in each.address.lower() for each in message.recipients)
            return {"matched": int(concerned), "sample": [message.id] * concerned}
        changed = await self._actions.cancel(message.id, recipient, call.caller.name, purge=call.query.purge)
        if changed is None:
            raise Problem(*NOT_FOUND)
        audit(call, "queue.cancel", f"cancel {message.id} to {recipient}", changed, "")
        return changed > 0

    async def _message(self, call: Call, *, deleted: bool = False) -> Message:
        id = parse_snowflake(call.path["id"])
        message = await self._queue.get(id) if id is not None and id < 1 << 63 else None
        if message is None or (message.deletion is not None and not deleted):
            raise Problem(*NOT_FOUND)
        kind = None if message.deletion is None else Kind.DELETED
        filter = await self._steering.bound(call, Filter(ids=[message.id], kind=kind))
        if filter.owners is not None and not (await self._queue.list(filter, 0, 1, 0))[0]:
            raise Problem(*NOT_FOUND)
        return message

    # The whole queue

    async def pause(self, call: Call) -> bool:
        """40: no more attempts; whether the queue ran before."""
        call.caller.check_unbound()
        reason = call.body.reason
        ran = self._queue.paused is None
        await self._queue.pause(call.caller.name, reason)
        audit(call, "queue.pause", "pause", 1, reason)
        return ran

    async def resume(self, call: Call) -> bool:
        """41: attempts again; whether the queue ran before."""
        call.caller.check_unbound()
        ran = self._queue.paused is None
        await self._queue.resume(call.caller.name)
        audit(call, "queue.resume", "resume", 1, "")
        return ran
