"""Changes to many queued messages at once: operations 12 and 13, and of our own `POST /api/queue/<verb>`.

All take the filters of the list.  With `dry-run` nothing is changed: the answer says how many messages it would concern
and names the first of them.  A change that could not be made at once goes on in the background; then the answer is the
number of messages that matched.  Every change is an event that names who asked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NotRequired, Protocol, TypedDict

import msgspec

from relayd.control.access import Caller
from relayd.control.answers import Problem
from relayd.control.background import Background
from relayd.control.queries import FLAG, TIME, MessageQuery, parameter
from relayd.control.routes import Call, Handler, Route
from relayd.events import manage
from relayd.queue.actions import Preview, Verb
from relayd.queue.filter import Filter
from relayd.queue.listing import Audit, Counts
from relayd.queue.message import Message
from relayd.queue.pause import Pause, Suspension
from relayd.routing.route import UnknownRoute

Bounce = Callable[[Filter, str, str], Awaitable[int]]
"""Gives up the messages of a filter, by whom and why; answers how many.  Raises QueueUnavailable."""

Destinations = Callable[[str | None], Callable[[str], str]]
"""The destinations of addresses under a next hop: a route's id, "mx", or None for what the configuration says.

Raises UnknownRoute.  What it answers is called on another thread."""

Work = Callable[[], Awaitable[int]]

AREA = "queue"

_SAMPLE = 20
"""Ids that a preview names."""


class Reason(msgspec.Struct):
    """The body of requests that may say why."""

    reason: str = ""


class Rerouting(msgspec.Struct):
    """Where messages go: next_hop is a route's id, "mx", or "" for what the configuration says."""

    next_hop: str
    reason: str = ""


class Matched(TypedDict):
    """How many messages a change concerned; of a preview, the ids of the first of them."""

    matched: int
    sample: NotRequired[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery(MessageQuery):
    """Which messages to change."""

    dry_run: bool = parameter(FLAG, "Change nothing: say how many messages it would concern, and name some.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleQuery(ChangeQuery):
    """Of many messages' next attempt."""

    at: float | None = parameter(TIME, "When; absent or past: now.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveQuery(ChangeQuery):
    """Of many messages' removal."""

    purge: bool = parameter(FLAG, "For good: it cannot be undone. With state=deleted, of what is deleted already.")


OwnersOf = Callable[[Caller], Awaitable[Sequence[str] | None]]
"""The domains whose mail alone a caller may see and change; None for everybody's."""


async def everybodys(caller: Caller) -> None:
    """Nobody is bound to anything."""


class QueueOfMessages(Protocol):
    """What these operations ask of the queue (`relayd.queue.store.Queue`)."""

    async def list(
        self, filter: Filter, offset: int, limit: int | None, max_total: int
    ) -> tuple[Sequence[int], int]: ...
    async def get(self, id: int) -> Message | None: ...
    async def get_many(self, ids: Sequence[int]) -> Sequence[Message]: ...
    async def counts(self) -> Counts: ...
    async def audit(self) -> Audit: ...
    async def oldest(self, before: int, most: int) -> Sequence[tuple[str, int]]: ...
    @property
    def paused(self) -> Pause | None: ...
    async def pause(self, by: str, reason: str) -> None: ...
    async def resume(self, by: str) -> None: ...
    def suspensions(self) -> Sequence[Suspension]: ...
    async def suspend(self, destination: str, until: float | None, by: str, reason: str) -> None: ...
    async def unsuspend(self, destination: str) -> None: ...


class QueueActions(Protocol):
    """What they ask to change (`relayd.queue.actions.Actions`); each answers how many messages it changed."""

    async def preview(self, verb: Verb, filter: Filter, sample: int) -> Preview: ...
    async def reschedule(self, filter: Filter, at: float, *, domain: str | None = None) -> int: ...
    async def remove(self, filter: Filter, by: str, reason: str = "", *, purge: bool = False) -> int: ...
    async def cancel(self, id: int, recipient: str, by: str, *, purge: bool = False) -> int | None: ...
    async def undo(self, filter: Filter, by: str, reason: str = "") -> int: ...
    async def hold(self, filter: Filter, by: str, reason: str) -> int: ...
    async def release(self, filter: Filter, by: str) -> int: ...
    async def reroute(
        self, filter: Filter, next_hop: str | None, destination: Callable[[str], str], by: str, reason: str
    ) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """The queue and what may be done to it.

    bounce: by the daemon, which composes the reports.  destinations: of the configuration in force.  owners_of: whose
    mail a caller of a tenant may see.
    """

    queue: QueueOfMessages
    actions: QueueActions
    bounce: Bounce
    destinations: Destinations
    owners_of: OwnersOf = everybodys

    async def bound(self, call: Call, filter: Filter) -> Filter:
        """The filter, within what the caller may see."""
        owners = await self.owners_of(call.caller)
        return filter if owners is None else replace(filter, owners=owners)


class Changes:
    """Carries changes out.  clock: Unix time in seconds."""

    def __init__(self, steering: Steering, background: Background, clock: Callable[[], float]) -> None:
        self._steering = steering
        self._actions = steering.actions
        self._background = background
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation on many messages."""
        change, remove = "message-queue-update", "message-queue-delete"
        many: dict[str, Any] = {"area": AREA, "strict": True}
        yield Route(
            method="PATCH",
            path="/queue/messages",
            permission=change,
            handler=self.reschedule,
            summary="Set the next attempt of many messages",
            query=RescheduleQuery,
            answer=bool | Matched,
            operation=12,
            **many,
        )
        yield Route(
            method="DELETE",
            path="/queue/messages",
            permission=remove,
            handler=self.remove,
            summary="Remove many messages",
            query=RemoveQuery,
            answer=bool | Matched,
            operation=13,
            **many,
        )
        verbs: tuple[tuple[str, str, Handler, type, str], ...] = (
            ("hold", change, self.hold, Reason, "Keep messages from being tried until they are released"),
            ("release", change, self.release, Reason, "Release held messages"),
            ("bounce", remove, self.bounce, Reason, "Return messages to their senders, with a report"),
            ("reroute", change, self.reroute, Rerouting, "Send messages by another next hop, now"),
            ("undo", remove, self.undo, Reason, "Bring back deleted messages and cancelled recipients"),
        )
        for word, permission, handler, body, summary in verbs:
            yield Route(
                method="POST",
                path=f"/queue/{word}",
                permission=permission,
                handler=handler,
                summary=summary,
                query=ChangeQuery,
                body=body,
                answer=Matched,
                **many,
            )

    async def reschedule(self, call: Call) -> bool | Matched:
        """12: the next attempt at `at`, or now."""
        filter = await self._selected(call)
        work = partial(self._actions.reschedule, filter, self.at(call.query.at))
        return _any(await self.run(call, Verb.RESCHEDULE, filter, work))

    async def remove(self, call: Call) -> bool | Matched:
        """13: gone, and nobody is told."""
        filter, purge = await self._selected(call), call.query.purge
        work = partial(self._actions.remove, filter, call.caller.name, purge=purge)
        return _any(await self.run(call, Verb.PURGE if purge else Verb.REMOVE, filter, work))

    async def hold(self, call: Call) -> Matched:
        """Keep from being tried until released."""
        filter, reason = await self._selected(call), call.body.reason
        work = partial(self._actions.hold, filter, call.caller.name, reason)
        return await self.run(call, Verb.HOLD, filter, work, reason)

    async def release(self, call: Call) -> Matched:
        """Let held messages go."""
        filter, reason = await self._selected(call), call.body.reason
        work = partial(self._actions.release, filter, call.caller.name)
        return await self.run(call, Verb.RELEASE, filter, work, reason)

    async def bounce(self, call: Call) -> Matched:
        """Give up: senders are told."""
        filter, reason = await self._selected(call), call.body.reason
        work = partial(self._steering.bounce, filter, call.caller.name, reason)
        return await self.run(call, Verb.BOUNCE, filter, work, reason)

    async def reroute(self, call: Call) -> Matched:
        """Another next hop; an unknown one is refused."""
        next_hop, reason = call.body.next_hop or None, call.body.reason
        try:
            destination = self._steering.destinations(next_hop)
        except UnknownRoute as error:
            raise Problem(400, "Invalid parameters", f"next_hop: {error}") from None
        filter = await self._selected(call)
        work = partial(self._actions.reroute, filter, next_hop, destination, call.caller.name, reason)
        return await self.run(call, Verb.REROUTE, filter, work, reason)

    async def undo(self, call: Call) -> Matched:
        """What was deleted or cancelled is queued again, and due."""
        query, reason = call.query, call.body.reason
        filter = await self._steering.bound(call, query.filter())
        if query.end is not None:  # a page of what can be undone, which is not what the list shows
            found = await self._actions.preview(Verb.UNDO, filter, query.end)
            filter = replace(filter, ids=found.sample[query.offset :])
        work = partial(self._actions.undo, filter, call.caller.name, reason)
        return await self.run(call, Verb.UNDO, filter, work, reason)

    async def run(self, call: Call, verb: Verb, filter: Filter, work: Work, reason: str = "") -> Matched:
        """How many messages `work` changes; when it takes long, how many it will.  With `dry_run` only that."""
        before = await self._actions.preview(verb, filter, _SAMPLE if call.query.dry_run else 0)
        if call.query.dry_run:
            return {"matched": before.matched, "sample": before.sample}
        what = f"{verb.value} {_words(filter)}"
        changed = await self._background.run(_awaited(work), call.span, what)
        total = before.matched if changed is None else changed
        audit(call, f"queue.{verb.value}", what, total, reason)
        return {"matched": total}

    def at(self, asked: float | None) -> float:
        """The time asked for, not before now."""
        now = self._clock()
        return max(asked or now, now)

    async def _selected(self, call: Call) -> Filter:
        """The filter; a page of it when there is a `limit`, the first when there is a `max-total`."""
        query: MessageQuery = call.query
        filter, end = await self._steering.bound(call, query.filter()), query.end
        if end is None:
            return filter
        ids, _ = await self._steering.queue.list(filter, query.offset, query.size, end)
        return replace(filter, ids=ids)


def audit(call: Call, action: str, details: str, total: int, reason: str) -> None:
    """State who did what."""
    manage.ACTION(call.span, account_name=call.caller.name, type_=action, details=details, total=total, reason=reason)


def _any(found: Matched) -> bool | Matched:
    """The answer of the operations that say only whether something matched."""
    return found if "sample" in found else found["matched"] > 0


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
