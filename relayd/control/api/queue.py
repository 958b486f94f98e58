"""`/api/queue/*`: the messages, their state, and what an operator may do to them (operations 11-13, 40-44, 53).

Of our own: `POST hold|release|bounce` with the filters of the list, `GET audit`, `status?detail=1`.  A change that
could not be made at once goes on in the background.  Every change is an event that names who asked for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol

import msgspec
from aiohttp import web

from relayd.control.access import Caller
from relayd.control.answers import NOT_FOUND, Problem
from relayd.control.api.messages import message_value
from relayd.control.background import Background
from relayd.control.queries import Page, Query
from relayd.control.requests import read_json
from relayd.control.routes import SPAN, Route
from relayd.control.streaming import stream_list
from relayd.events import manage
from relayd.events.event import Span
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
    async def remove(self, filter: Filter, by: str, reason: str = "") -> int: ...
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
    """The handlers.  clock: Unix time in seconds.  timeout: seconds for the body of a request."""

    def __init__(self, steering: Steering, background: Background, clock: Callable[[], float], timeout: float) -> None:
        self._queue = steering.queue
        self._actions = steering.actions
        self._bounce = steering.bounce
        self._background = background
        self._clock = clock
        self._timeout = timeout

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        show, change, remove = "message-queue-get", "message-queue-update", "message-queue-delete"
        yield Route("GET", "/queue/messages", "message-queue-list", self.index)
        yield Route("PATCH", "/queue/messages", change, self.reschedule_many)
        yield Route("DELETE", "/queue/messages", remove, self.remove_many)
        yield Route("GET", "/queue/messages/{id}", show, self.show)
        yield Route("PATCH", "/queue/messages/{id}", change, self.reschedule)
        yield Route("DELETE", "/queue/messages/{id}", remove, self.cancel)
        yield Route("GET", "/queue/status", show, self.status)
        yield Route("PATCH", "/queue/status/stop", change, self.pause)
        yield Route("PATCH", "/queue/status/start", change, self.resume)
        yield Route("POST", "/queue/hold", change, self.hold)
        yield Route("POST", "/queue/release", change, self.release)
        yield Route("POST", "/queue/bounce", remove, self.bounce)
        yield Route("GET", "/queue/audit", show, self.audit)

    # Looking

    async def index(self, request: web.Request, caller: Caller) -> Any:
        """11: ids, or with `values` messages."""
        query = Query(request)
        page = query.page()
        ids, total = await self._queue.list(query.filter(), page.offset, page.limit, page.max_total)
        rest = {"total": total, "status": self._queue.paused is None}
        if not query.flag("values"):
            return {"items": ids, **rest}
        if len(ids) <= _AT_ONCE:
            return {"items": await self._values(ids), **rest}
        return await stream_list(request, self._pieces(ids), rest)

    async def _pieces(self, ids: Sequence[int]) -> AsyncIterator[list[Any]]:
        for start in range(0, len(ids), _AT_ONCE):
            yield await self._values(ids[start : start + _AT_ONCE])

    async def _values(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        now = self._clock()
        return [message_value(each, now) for each in await self._queue.get_many(ids)]

    async def show(self, request: web.Request, caller: Caller) -> Any:
        """42: one message."""
        return message_value(await self._message(request), self._clock())

    async def status(self, request: web.Request, caller: Caller) -> Any:
        """53: whether the queue runs; with `detail` who stopped it, when and why."""
        pause = self._queue.paused
        if not Query(request).flag("detail"):
            return pause is None
        if pause is None:
            return {"running": True}
        return {"running": False, "since": rfc3339(pause.since), "by": pause.by, "reason": pause.reason}

    async def audit(self, request: web.Request, caller: Caller) -> Any:
        """The invariant: its counters, what is queued, and the difference, which is 0."""
        found = await self._queue.audit()
        return {**found.counters, "queued": found.queued, "difference": found.difference}

    # Many messages

    async def reschedule_many(self, request: web.Request, caller: Caller) -> bool:
        """12: the next attempt at `at`, or now."""
        query = Query(request, strict=True)
        filter = await self._selected(query)
        at = self._at(query)
        work = partial(self._actions.reschedule, filter, at)
        return await self._change(request, caller, "reschedule", filter, work) > 0

    async def remove_many(self, request: web.Request, caller: Caller) -> bool:
        """13: gone, and nobody is told."""
        filter = await self._selected(Query(request, strict=True))
        work = partial(self._actions.remove, filter, caller.name, "")
        return await self._change(request, caller, "remove", filter, work) > 0

    async def hold(self, request: web.Request, caller: Caller) -> dict[str, int]:
        """Keep from being tried until released."""
        filter, reason = await self._selected(Query(request, strict=True)), await self._reason(request)
        work = partial(self._actions.hold, filter, caller.name, reason)
        return {"matched": await self._change(request, caller, "hold", filter, work, reason)}

    async def release(self, request: web.Request, caller: Caller) -> dict[str, int]:
        """Let held messages go."""
        filter, reason = await self._selected(Query(request, strict=True)), await self._reason(request)
        work = partial(self._actions.release, filter, caller.name)
        return {"matched": await self._change(request, caller, "release", filter, work, reason)}

    async def bounce(self, request: web.Request, caller: Caller) -> dict[str, int]:
        """Give up: senders are told."""
        filter, reason = await self._selected(Query(request, strict=True)), await self._reason(request)
        work = partial(self._bounce, filter, caller.name, reason)
        return {"matched": await self._change(request, caller, "bounce", filter, work, reason)}

    async def _selected(self, query: Query) -> Filter:
        """The filter; a page of it when there is a `limit`."""
        filter, page = query.filter(), query.page()
        return filter if page.limit is None else replace(filter, ids=await self._ids(filter, page))

    async def _ids(self, filter: Filter, page: Page) -> Sequence[int]:
        return (await self._queue.list(filter, page.offset, page.limit, 0))[0]

    async def _change(
        self, request: web.Request, caller: Caller, verb: str, filter: Filter, work: Work, reason: str = ""
    ) -> int:
        """How many messages `work` changes; when it takes long, how many match."""
        span = request[SPAN]
        what = f"{verb} {_words(filter)}"
        _, matching = await self._queue.list(filter, 0, 0, 0)
        changed = await self._background.run(_awaited(work), span, what)
        total = matching if changed is None else changed
        _audit(span, caller, f"queue.{verb}", what, total, reason)
        return total

    # One message

    async def reschedule(self, request: web.Request, caller: Caller) -> bool:
        """43: the next attempt at `at`, or now; with `filter` of the domains that hold it."""
        message = await self._message(request)
        query = Query(request, strict=True)
        domain = query.text("filter")
        filter = Filter(ids=[message.id], domain=domain)
        work = partial(self._actions.reschedule, filter, self._at(query), domain=domain)
        return await self._change(request, caller, "reschedule", filter, work) > 0

    async def cancel(self, request: web.Request, caller: Caller) -> bool:
        """44: gone; with `filter` only the recipients that hold it are given up."""
        message = await self._message(request)
        recipient = Query(request).text("filter")
        if recipient is None:
            filter = Filter(ids=[message.id])
            work = partial(self._actions.remove, filter, caller.name, "")
            return await self._change(request, caller, "remove", filter, work) > 0
        changed = await self._actions.cancel(message.id, recipient, caller.name)
        if changed is None:
            raise Problem(*NOT_FOUND)
        _audit(request[SPAN], caller, "queue.cancel", f"cancel {message.id} to {recipient}", changed, "")
        return changed > 0

    async def _message(self, request: web.Request) -> Message:
        id = parse_snowflake(request.match_info["id"])
        message = await self._queue.get(id) if id is not None and id < 1 << 63 else None
        if message is None:
            raise Problem(*NOT_FOUND)
        return message

    # The whole queue

    async def pause(self, request: web.Request, caller: Caller) -> bool:
        """40: no more attempts; whether the queue ran before."""
        reason = await self._reason(request)
        ran = self._queue.paused is None
        await self._queue.pause(caller.name, reason)
        _audit(request[SPAN], caller, "queue.pause", "pause", 1, reason)
        return ran

    async def resume(self, request: web.Request, caller: Caller) -> bool:
        """41: attempts again; whether the queue ran before."""
        ran = self._queue.paused is None
        await self._queue.resume(caller.name)
        _audit(request[SPAN], caller, "queue.resume", "resume", 1, "")
        return ran

    def _at(self, query: Query) -> float:
        now = self._clock()
        return max(query.time("at") or now, now)

    async def _reason(self, request: web.Request) -> str:
        return (await read_json(request, Reason, self._timeout)).reason


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


def _audit(span: Span, caller: Caller, action: str, details: str, total: int, reason: str) -> None:
    manage.ACTION(span, account_name=caller.name, type_=action, details=details, total=total, reason=reason)
