"""`/api/queue/*`: the messages, their state, and what an operator may do to them (operations 11-13, 40-44, 53).

Of our own: `POST hold|release|bounce` with the filters of the list, `GET audit`, `status?detail=1`.  A change that
could not be made at once goes on in the background.  Every change is an event that names who asked for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol, TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Problem
from relayd.control.api.messages import message_value
from relayd.control.background import Background
from relayd.control.queries import FLAG, TEXT, TIME, MessageQuery, parameter
from relayd.control.routes import Call, Handler, Route
from relayd.control.streaming import stream_list
from relayd.events import manage
from relayd.mail.snowflake import parse_snowflake
from relayd.queue.filter import Filter
from relayd.queue.listing import Audit, Counts
from relayd.queue.message import Message
from relayd.queue.pause import Pause
from relayd.telemetry.render import rfc3339

Bounce = Callable[[Filter, str, str], Awaitable[int]]
"""Gives up the messages of a filter, by whom and why; answers how many.  Raises QueueUnavailable."""

Work = Callable[[], Awaitable[int]]

_AT_ONCE = 250
"""Messages whose values are answered in one piece, and read at once beyond that."""


class Reason(msgspec.Struct):
    """The body of requests that may say why."""

    reason: str = ""


class Matched(TypedDict):
    """How many messages a change concerned."""

    matched: int


class MessageList(TypedDict):
    """Ids, or messages; how many there are in all; whether the queue runs."""

    items: list[int | dict[str, Any]]
    total: int
    status: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery(MessageQuery):
    """Of the list."""

    values: bool = parameter(FLAG, "Whole messages instead of their ids.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleQuery(MessageQuery):
    """Of many messages' next attempt."""

    at: float | None = parameter(TIME, "When; absent or past: now.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleOneQuery:
    """Of one message's next attempt."""

    at: float | None = parameter(TIME, "When; absent or past: now.")
    filter: str | None = parameter(TEXT, "Only recipients whose domain holds this.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelQuery:
    """Of one message's removal."""

    filter: str | None = parameter(TEXT, "Only give up recipients whose address holds this.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusQuery:
    """Of the queue's state."""

    detail: bool = parameter(FLAG, "Who stopped it, when and why.")


class QueueOfMessages(Protocol):
    """What these operations ask of the queue (`relayd.queue.store.Queue`)."""

    async def list(
        self, filter: Filter, offset: int, limit: int | None, max_total: int
    ) -> tuple[Sequence[int], int]: ...
    async def get(self, id: int) -> Message | None: ...
    async def get_many(self, ids: Sequence[int]) -> Sequence[Message]: ...
    async def counts(self) -> Counts: ...
    async def audit(self) -> Audit: ...
    @property
    def paused(self) -> Pause | None: ...
    async def pause(self, by: str, reason: str) -> None: ...
    async def resume(self, by: str) -> None: ...


class QueueActions(Protocol):
    """What they ask to change (`relayd.queue.actions.Actions`); each answers how many messages it changed."""

    async def reschedule(self, filter: Filter, at: float, *, domain: str | None = None) -> int: ...
    async def remove(self, filter: Filter, by: str, reason: str = "", *, purge: bool = False) -> int: ...
    async def cancel(self, id: int, recipient: str, by: str) -> int | None: ...
    async def hold(self, filter: Filter, by: str, reason: str) -> int: ...
    async def release(self, filter: Filter, by: str) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """The queue and what may be done to it.  bounce: by the daemon, which composes the reports."""

    queue: QueueOfMessages
    actions: QueueActions
    bounce: Bounce


class QueueOperations:
    """The handlers.  clock: Unix time in seconds."""

    def __init__(self, steering: Steering, background: Background, clock: Callable[[], float]) -> None:
        self._queue = steering.queue
        self._actions = steering.actions
        self._bounce = steering.bounce
        self._background = background
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        listing, show, change, remove = (f"message-queue-{each}" for each in ("list", "get", "update", "delete"))

        def route(method: str, path: str, permission: str, handler: Handler, **rest: Any) -> Route:
            return Route(
                method=method, path="/queue" + path, permission=permission, handler=handler, area="queue", **rest
            )

        many: dict[str, Any] = {"query": MessageQuery, "strict": True}
        steered: dict[str, Any] = {**many, "body": Reason, "answer": Matched}
        yield route(
            "GET",
            "/messages",
            listing,
            self.index,
            summary="List the queued messages",
            query=ListQuery,
            answer=MessageList,
            operation=11,
        )
        yield route(
            "PATCH",
            "/messages",
            change,
            self.reschedule_many,
            summary="Set the next attempt of many messages",
            query=RescheduleQuery,
            strict=True,
            answer=bool,
            operation=12,
        )
        yield route(
            "DELETE",
            "/messages",
            remove,
            self.remove_many,
            summary="Remove many messages",
            **many,
            answer=bool,
            operation=13,
        )
        one = "/messages/{id}"
        yield route("GET", one, show, self.show, summary="One message", answer=dict[str, Any], operation=42)
        yield route(
            "PATCH",
            one,
            change,
            self.reschedule,
            summary="Set the next attempt of a message",
            query=RescheduleOneQuery,
            strict=True,
            answer=bool,
            operation=43,
        )
        yield route(
            "DELETE",
            one,
            remove,
            self.cancel,
            summary="Remove a message, or give up some of its recipients",
            query=CancelQuery,
            answer=bool,
            operation=44,
        )
        yield route(
            "GET",
            "/status",
            show,
            self.status,
            summary="Whether the queue runs",
            query=StatusQuery,
            answer=bool | dict[str, Any],
            operation=53,
        )
        yield route(
            "PATCH", "/status/stop", change, self.pause, summary="Pause", body=Reason, answer=bool, operation=40
        )
        yield route("PATCH", "/status/start", change, self.resume, summary="Resume", answer=bool, operation=41)
        yield route("POST", "/hold", change, self.hold, summary="Hold messages", **steered)
        yield route("POST", "/release", change, self.release, summary="Release held messages", **steered)
        yield route("POST", "/bounce", remove, self.bounce, summary="Return messages to their senders", **steered)
        yield route(
            "GET",
            "/audit",
            show,
            self.audit,
            summary="Compare what was promised with what is there",
            answer=dict[str, int],
        )

    # Looking

    async def index(self, call: Call) -> Any:
        """11: ids, or with `values` messages."""
        query: ListQuery = call.query
        ids, total = await self._queue.list(query.filter(), query.offset, query.size, query.max_total or 0)
        rest = {"total": total, "status": self._queue.paused is None}
        if not query.values:
            return {"items": ids, **rest}
        if len(ids) <= _AT_ONCE:
            return {"items": await self._values(ids), **rest}
        return await stream_list(call.request, self._pieces(ids), rest)

    async def _pieces(self, ids: Sequence[int]) -> AsyncIterator[list[Any]]:
        for start in range(0, len(ids), _AT_ONCE):
            yield await self._values(ids[start : start + _AT_ONCE])

    async def _values(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        now = self._clock()
        return [message_value(each, now) for each in await self._queue.get_many(ids)]

    async def show(self, call: Call) -> Any:
        """42: one message."""
        return message_value(await self._message(call), self._clock())

    async def status(self, call: Call) -> Any:
        """53: whether the queue runs; with `detail` who stopped it, when and why."""
        pause = self._queue.paused
        if not call.query.detail:
            return pause is None
        if pause is None:
            return {"running": True}
        return {"running": False, "since": rfc3339(pause.since), "by": pause.by, "reason": pause.reason}

    async def audit(self, call: Call) -> Any:
        """The invariant: its counters, what is queued, and the difference, which is 0."""
        found = await self._queue.audit()
        return {**found.counters, "queued": found.queued, "difference": found.difference}

    # Many messages

    async def reschedule_many(self, call: Call) -> bool:
        """12: the next attempt at `at`, or now."""
        filter = await self._selected(call.query)
        at = self._at(call.query.at)
        work = partial(self._actions.reschedule, filter, at)
        return await self._change(call, "reschedule", filter, work) > 0

    async def remove_many(self, call: Call) -> bool:
        """13: gone, and nobody is told."""
        filter = await self._selected(call.query)
        work = partial(self._actions.remove, filter, call.caller.name, "")
        return await self._change(call, "remove", filter, work) > 0

    async def hold(self, call: Call) -> dict[str, int]:
        """Keep from being tried until released."""
        filter, reason = await self._selected(call.query), call.body.reason
        work = partial(self._actions.hold, filter, call.caller.name, reason)
        return {"matched": await self._change(call, "hold", filter, work, reason)}

    async def release(self, call: Call) -> dict[str, int]:
        """Let held messages go."""
        filter, reason = await self._selected(call.query), call.body.reason
        work = partial(self._actions.release, filter, call.caller.name)
        return {"matched": await self._change(call, "release", filter, work, reason)}

    async def bounce(self, call: Call) -> dict[str, int]:
        """Give up: senders are told."""
        filter, reason = await self._selected(call.query), call.body.reason
        work = partial(self._bounce, filter, call.caller.name, reason)
        return {"matched": await self._change(call, "bounce", filter, work, reason)}

    async def _selected(self, query: MessageQuery) -> Filter:
        """The filter; a page of it when there is a `limit`."""
        filter = query.filter()
        if query.size is None:
            return filter
        ids, _ = await self._queue.list(filter, query.offset, query.size, 0)
        return replace(filter, ids=ids)

    async def _change(self, call: Call, verb: str, filter: Filter, work: Work, reason: str = "") -> int:
        """How many messages `work` changes; when it takes long, how many match."""
        what = f"{verb} {_words(filter)}"
        _, matching = await self._queue.list(filter, 0, 0, 0)
        changed = await self._background.run(_awaited(work), call.span, what)
        total = matching if changed is None else changed
        _audit(call, f"queue.{verb}", what, total, reason)
        return total

    # One message

    async def reschedule(self, call: Call) -> bool:
        """43: the next attempt at `at`, or now; with `filter` of the domains that hold it."""
        message = await self._message(call)
        domain = call.query.filter
        filter = Filter(ids=[message.id], domain=domain)
        work = partial(self._actions.reschedule, filter, self._at(call.query.at), domain=domain)
        return await self._change(call, "reschedule", filter, work) > 0

    async def cancel(self, call: Call) -> bool:
        """44: gone; with `filter` only the recipients that hold it are given up."""
        message = await self._message(call)
        recipient = call.query.filter
        if recipient is None:
            filter = Filter(ids=[message.id])
            work = partial(self._actions.remove, filter, call.caller.name, "")
            return await self._change(call, "remove", filter, work) > 0
        changed = await self._actions.cancel(message.id, recipient, call.caller.name)
        if changed is None:
            raise Problem(*NOT_FOUND)
        _audit(call, "queue.cancel", f"cancel {message.id} to {recipient}", changed, "")
        return changed > 0

    async def _message(self, call: Call) -> Message:
        id = parse_snowflake(call.path["id"])
        message = await self._queue.get(id) if id is not None and id < 1 << 63 else None
        if message is None:
            raise Problem(*NOT_FOUND)
        return message

    # The whole queue

    async def pause(self, call: Call) -> bool:
        """40: no more attempts; whether the queue ran before."""
        reason = call.body.reason
        ran = self._queue.paused is None
        await self._queue.pause(call.caller.name, reason)
        _audit(call, "queue.pause", "pause", 1, reason)
        return ran

    async def resume(self, call: Call) -> bool:
        """41: attempts again; whether the queue ran before."""
        ran = self._queue.paused is None
        await self._queue.resume(call.caller.name)
        _audit(call, "queue.resume", "resume", 1, "")
        return ran

    def _at(self, asked: float | None) -> float:
        now = self._clock()
        return max(asked or now, now)


async def _awaited(work: Work) -> int:
    return await work()


def _words(filter: Filter) -> str:
    """A filter for the audit event: the conditions that it has."""
    given = {name: value for name, value in asdict(filter).items() if value is not None}
    ids = given.pop("ids", None)
    words = [f"{name}={getattr(value, 'value', value)}" for name, value in given.items()]
    if ids is not None:
        words.append(f"id={ids[0]}" if len(ids) == 1 else f"{len(ids)} ids")
    return " ".join(words) or "all"


def _audit(call: Call, action: str, details: str, total: int, reason: str) -> None:
    manage.ACTION(call.span, account_name=call.caller.name, type_=action, details=details, total=total, reason=reason)
