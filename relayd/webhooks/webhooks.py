"""The subscriber behind all webhooks: what is wanted goes into the log, and who wants it is set going."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from relayd.database.interface import DatabaseError
from relayd.events import store as store_events
from relayd.events import telemetry as events
from relayd.events.event import Event, EventKind, EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.resolver.answer import Resolver
from relayd.webhooks.eventlog import FILE, EventLog, Position, Selection, open_event_log
from relayd.webhooks.options import WebhookLogOptions, WebhookOptions, known_ids
from relayd.webhooks.posting import Endpoint, Posted, Poster, endpoint_of
from relayd.webhooks.request import LoggedEvent, body_of, event_data, plain_data
from relayd.webhooks.sending import Sending

MOST = 20_000
"""Events that wait to be logged at most."""

_GROUP = 500
"""Events of one commit."""

_GATHER = 0.05
"""Seconds for which events are gathered before they are logged together."""

_PATIENCE = 1.0
"""Seconds until a log that cannot be written is tried again."""

_PRUNE = 60.0
"""Seconds between two looks at the bounds of the log."""

Lookup = Callable[[str], Awaitable[Endpoint | None]]


class UnknownWebhook(LookupError):
    """There is no webhook of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A webhook for people.  pending: events that wait for it.  newest: the id of the last event in the log."""

    endpoint: Endpoint
    patterns: tuple[str, ...]
    position: Position
    newest: int
    pending: int
    failures: int
    failing_since: float | None
    next_attempt: float | None
    last_error: str


@dataclass(slots=True)
class _Waiting:
    """An event that is not in the log yet."""

    id: int
    at: float
    type: str
    target: str
    given: Event | bytes

    def row(self) -> tuple[int, float, str, str, bytes]:
        if not isinstance(self.given, Event):
            return self.id, self.at, self.type, self.target, self.given
        try:
            data = event_data(self.given)
        except Exception as error:  # a field that JSON cannot say must hurt neither the others nor the engine
            data = plain_data({"reason": f"the event cannot be shown: {type(error).__name__}"})
        return self.id, self.at, self.type, self.target, data


async def _nobody(id: str) -> Endpoint | None:
    return None


class Webhooks:
    """Subscribes itself to `stream` while something is wanted.  `run` is a task of the daemon.

    directory: that this process has locked.  resolver: the one in force.  lookup: finds endpoints that `enqueue` names;
    whoever uses that sets it before `run`.
    """

    def __init__(
        self,
        directory: Path,
        stream: EventStream,
        snowflakes: Snowflakes,
        resolver: Callable[[], Resolver],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.lookup: Lookup = _nobody
        self._directory = directory
        self._stream = stream
        self._span = Span(stream)
        self._clock = stream.clock
        self._snowflakes = snowflakes
        self._chance = chance
        self._poster = Poster(resolver, stream.clock)
        self._options: dict[str, WebhookOptions] = {}
        self._bounds = WebhookLogOptions()
        self._log: EventLog | None = None
        self._opening = asyncio.Lock()
        self._kinds: dict[EventKind, bool] = {}
        self._is_subscribed = False
        self._waiting: deque[_Waiting] = deque()
        self._lost = 0
        self._filled = asyncio.Event()
        self._sendings: dict[str, Sending] = {}
        self._running: set[str] = set()
        self._group: asyncio.TaskGroup | None = None

    # In the engine's turn

    def __call__(self, event: Event) -> None:
        """Keep an event that some webhook wants."""
        kind = event.kind
        wanted = self._kinds.get(kind)
        if wanted is None:
            wanted = self._kinds[kind] = self._is_wanted(kind.id)
        if wanted:
            self._put(event.at, kind.id, "", event)

    def enqueue(self, endpoint: str, kind: EventKind, at: float, data: Mapping[str, Any]) -> None:
        """Log an event for one endpoint alone, which `lookup` knows; its id holds a colon.  data: by camelCase name."""
        self._put(at, kind.id, endpoint, plain_data(dict(data)))

    def _put(self, at: float, type: str, target: str, given: Event | bytes) -> None:
        if len(self._waiting) >= MOST:
            self._lost += 1
            return
        self._waiting.append(_Waiting(0, at, type, target, given))
        self._filled.set()

    def _is_wanted(self, id: str) -> bool:
        return any(fnmatchcase(id, pattern) for each in self._options.values() for pattern in each.events)

    # Configuration

    async def reconfigure(self, options: Mapping[str, WebhookOptions], bounds: WebhookLogOptions) -> None:
        """Take the webhooks of a configuration.  A log that cannot be opened is an event: mail goes on."""
        self._options, self._bounds = dict(options), bounds
        self._kinds.clear()
        if options or (self._directory / FILE).exists():
            try:
                log = await self._open()
                await self._settle(log)
            except DatabaseError as error:
                store_events.BROKEN(self._span, path=str(self._directory / FILE), reason=str(error))
        wants = bool(options) and self._log is not None
        if wants and not self._is_subscribed:
            self._stream.subscribe(self)
        elif not wants and self._is_subscribed:
            self._stream.unsubscribe(self)
        self._is_subscribed = wants

    async def _open(self) -> EventLog:
        async with self._opening:
            if self._log is None:
                self._log = await open_event_log(self._directory, self._span)
            return self._log

    async def _settle(self, log: EventLog) -> None:
        """New webhooks begin at the end of the log, old ones go on, those that are gone are forgotten."""
        now = self._clock()
        for id in self._options:
            if id not in log.positions:
                await log.move(id, Position(position=log.newest, since=now))
        gone = [id for id in log.positions if id not in self._options and not _is_own(id)]
        for id in gone:
            if (sending := self._sendings.pop(id, None)) is not None:
                sending.stop()
        if gone:
            await log.forget(gone)
        for id, options in self._options.items():
            sending = self._sendings.get(id)
            if sending is None:
                self._sendings[id] = self._sending(endpoint_of(id, options), _selection(options), log)
            else:
                sending.endpoint, sending.selection = endpoint_of(id, options), _selection(options)
                sending.poke()
            self._set_going(id)

    def _sending(self, endpoint: Endpoint, selection: Selection, log: EventLog) -> Sending:
        return Sending(endpoint, selection, log, self._poster, self._span, chance=self._chance)

    # The daemon's task

    async def run(self) -> None:
        """Log what comes and send it, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._prune_forever())
            for id in list(self._sendings):
                self._set_going(id)
            if self._log is not None:
                for target in await self._log.targets():
                    await self._set_target_going(target)
            while True:
                await self._filled.wait()
                await asyncio.sleep(_GATHER)
                self._filled.clear()
                while self._waiting or self._lost:
                    if not await self._flush():
                        await asyncio.sleep(_PATIENCE)

    async def _flush(self) -> bool:
        """Log what waits, a group at a time; False when that cannot be done now."""
        if self._lost:
            lost, self._lost = self._lost, 0
            events.WEBHOOK_DROPPED(self._span, id="", reason="they came faster than they could be logged", total=lost)
        group = [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]
        if not group:
            return True
        try:
            log = await self._open()
            last = log.newest
            for each in group:
                each.id = last = max(self._snowflakes.issue(each.at), last + 128)
            await log.append(lambda: [each.row() for each in group])
        except DatabaseError as error:
            self._waiting.extendleft(reversed(group))
            events.WEBHOOK_ERROR(self._span, id="", reason=f"the log: {error}", total=len(self._waiting))
            return False
        if self._group is None:
            return True
        types = {each.type for each in group if not each.target}
        for id, sending in self._sendings.items():
            if not types.isdisjoint(sending.selection.types):
                sending.more()
                self._set_going(id)
        for target in {each.target for each in group if each.target}:
            await self._set_target_going(target)
        return True

    def _set_going(self, id: str) -> None:
        """Start the webhook's task, unless it runs, or nothing does yet."""
        if self._group is not None and id not in self._running:
            self._running.add(id)
            self._group.create_task(self._send(id), name=f"webhook {id}")

    async def _set_target_going(self, target: str) -> None:
        endpoint = await self.lookup(target)
        if endpoint is None:
            return
        log = await self._open()
        if target not in log.positions:
            await log.move(target, Position(position=0, since=self._clock()))
        sending = self._sendings.get(target)  # from here on nothing else runs
        if sending is None:
            sending = self._sendings[target] = self._sending(endpoint, Selection(target), log)
        sending.endpoint = endpoint
        sending.more()
        self._set_going(target)

    async def _send(self, id: str) -> None:
        sending = None
        try:
            while (current := self._sendings.get(id)) is not None and current is not sending:
                sending = current  # another one where the webhook went and came back meanwhile
                await sending.run()
            if sending is not None and _is_own(id):
                self._sendings.pop(id, None)  # it takes no memory while it has nothing
        finally:
            self._running.discard(id)

    async def _prune_forever(self) -> None:
        while True:
            if self._log is not None:
                try:
                    await self.prune()
                except DatabaseError as error:
                    events.WEBHOOK_ERROR(self._span, id="", reason=f"the log: {error}")
            await asyncio.sleep(_PRUNE)

    async def prune(self) -> None:
        """Keep the log within its bounds; what a webhook had not taken is stated.  Raises DatabaseError."""
        log = await self._open()
        lost: dict[str, int] = {}
        while gone := await log.prune(self._clock() - self._bounds.keep, self._bounds.max_size):
            for id, sending in self._sendings.items():
                position = sending.position.position
                if position < gone[-1][0]:
                    lost[id] = lost.get(id, 0) + sum(
                        number > position and sending.selection.has(type, target) for number, type, target in gone
                    )
        for id, total in lost.items():
            if total:
                reason = "the log does not keep them longer"
                events.WEBHOOK_DROPPED(self._span, id=id, reason=reason, total=total)

    async def close(self) -> None:
        """Log what still waits, and close; `run` has ended."""
        self._group = None
        if self._is_subscribed:
            self._stream.unsubscribe(self)
            self._is_subscribed = False
        while self._waiting and await self._flush():
            pass
        if self._log is not None:
            await self._log.close()

    # For people

    async def states(self) -> list[State]:
        """The webhooks of the configuration.  Raises DatabaseError."""
        return [await self.state(id) for id in self._options]

    async def state(self, id: str) -> State:
        """One of them.  Raises UnknownWebhook, DatabaseError."""
        sending = self._sendings.get(id)
        if id not in self._options or sending is None:
            raise UnknownWebhook(id)
        log, position = await self._open(), sending.position
        pending, _ = await log.count(sending.selection, position.position)
        return State(
            endpoint=sending.endpoint,
            patterns=self._options[id].events,
            position=position,
            newest=log.newest,
            pending=pending,
            failures=sending.failures,
            failing_since=sending.failing_since,
            next_attempt=sending.next_attempt,
            last_error=sending.last_error,
        )

    async def replay(self, id: str, by: str, *, after: int | None = None, since: float | None = None) -> State:
        """Send again what came after the event of id `after`, or what was made at `since` or later.

        Raises UnknownWebhook, DatabaseError.
        """
        sending = self._sendings.get(id)
        if id not in self._options or sending is None:
            raise UnknownWebhook(id)
        log = await self._open()
        position = await log.id_before(since) if since is not None else (after or 0)
        before = sending.position
        await log.move(
            id, Position(position=position, since=self._clock(), taken=before.taken, last_taken=before.last_taken)
        )
        sending.poke()
        self._set_going(id)
        state = await self.state(id)
        events.WEBHOOK_REPLAYED(self._span, id=id, total=state.pending, account_name=by)
        return state

    async def test(self, id: str) -> Posted:
        """Post an event that never happened, once, beside what is in the log.  Raises UnknownWebhook."""
        options = self._options.get(id)
        if options is None:
            raise UnknownWebhook(id)
        now = self._clock()
        event = LoggedEvent(self._snowflakes.issue(now), now, "telemetry.webhook-test", plain_data({"id": id}))
        return await self._poster.post(endpoint_of(id, options), body_of([event]))


def _is_own(id: str) -> bool:
    """Whether an endpoint is none of the configuration."""
    return ":" in id


def _selection(options: WebhookOptions) -> Selection:
    return Selection(
        types=frozenset(id for id in known_ids() if any(fnmatchcase(id, pattern) for pattern in options.events))
    )
