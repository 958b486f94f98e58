"""The milters of one SMTP session, asked in their order at each stage.

The first refusal counts and is given at once; the milters behind it are not asked.  A milter that accepts is not asked
again for the message (at CONNECT or HELO: for the session).  One that cannot be reached when the session begins is
tried again at MAIL, with CONNECT and HELO said first: only then does its failure policy count.  A failure in the middle
of a message counts for that message alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from relayd.events import filter as filter_events
from relayd.events import milter as events
from relayd.events.event import Span
from relayd.filters import milter_wire as wire
from relayd.filters.changes import Edited, apply
from relayd.filters.circuit import Circuit
from relayd.filters.milter import MilterConnection, MilterFailure
from relayd.filters.milter_macros import Facts, macros
from relayd.filters.milter_wire import Code, Command, MilterReply, WireError
from relayd.filters.options import MilterOptions
from relayd.filters.ruling import NOT_NOW, Ruling, ruling_of

INLINE = 64 << 10
"""Octets of changes that are made on the event loop."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One configured milter, and how it fares in all sessions."""

    id: str
    options: MilterOptions
    circuit: Circuit


class Milters:
    """Those that are configured, in their order; false when there are none.  A reload makes a new one."""

    def __init__(self, options: Mapping[str, MilterOptions], before: Milters | None = None) -> None:
        known = {rule.id: rule for rule in before.rules} if before is not None else {}
        self.rules: list[Rule] = []
        for id, each in sorted(options.items(), key=lambda item: (item[1].order, item[0])):
            if not each.enabled:
                continue
            old = known.get(id)
            same = old is not None and old.options == each
            self.rules.append(
                old if same and old is not None else Rule(id, each, Circuit(each.breaker_failures, each.breaker_pause))
            )

    def __bool__(self) -> bool:
        return bool(self.rules)

    def session(self, listener: str, facts: Callable[[], Facts], span: Span) -> MilterSession | None:
        """For a session that begins; None when none is for its listener."""
        rules = [rule for rule in self.rules if not rule.options.listeners or listener in rule.options.listeners]
        return MilterSession(rules, facts, span) if rules else None


@dataclass(slots=True)
class _State:
    """One milter in one session.  is_done: it accepted, or failed and does not count, until the next message.
    failure: what the message is answered since it failed.
    """

    rule: Rule
    connection: MilterConnection | None = None
    accepts_session: bool = False
    is_done: bool = False
    failure: Ruling | None = None
    is_trial: bool = False

    @property
    def policy(self) -> str:
        return self.rule.options.on_failure


class Content(msgspec.Struct, frozen=True):
    """A message that is to be shown.  body: its octets, anew with each call.  until: of the monotonic clock."""

    size: int
    body: Callable[[], AsyncIterator[bytes]]
    until: float


class MilterSession:
    """facts: what is known of the client by now.  span: the session's."""

    def __init__(
        self, rules: list[Rule], facts: Callable[[], Facts], span: Span, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._states = [_State(rule) for rule in rules]
        self._facts = facts
        self._span = span
        self._clock = clock
        self._queue_id: int | None = None
        self.is_discarding = False

    async def connect(self) -> Ruling | None:
        """A client connected (or XCLIENT says that it is another)."""
        self.close()
        for state in self._states:
            state.accepts_session = False
            if not self._is_for(state):
                continue
            ruling = await self._asked(state, "connect", partial(self._open, state))
            if ruling is not None:
                return ruling
        return None

    async def helo(self) -> Ruling | None:
        """It said who it is, perhaps not for the first time."""
        return await self._all(Command.HELO, "helo")

    async def mail(self, queue_id: int, sender: str, parameters: tuple[str, ...]) -> Ruling | None:
        """A transaction begins."""
        self._queue_id = queue_id
        self.is_discarding = False
        for state in self._states:
            state.is_done, state.failure = False, None
            if state.connection is None and not state.accepts_session and self._is_for(state):
                ruling = await self._asked(state, "mail", partial(self._reopen, state))
                if ruling is not None:
                    return ruling
        return await self._all(Command.MAIL, "mail", f"<{sender}>", *parameters)

    async def rcpt(self, address: str, parameters: tuple[str, ...] = ()) -> Ruling | None:
        """A recipient is offered that we would take."""
        return await self._all(Command.RCPT, "rcpt", f"<{address}>", *parameters)

    async def data(self) -> Ruling | None:
        """The content is about to come."""
        return await self._all(Command.DATA, "data")

    async def content(self, edited: Edited, content: Content) -> Ruling | None:
        """Show the message to one after the other, as those before have left it, and make their changes in `edited`."""
        for state in self._asked_now():
            if content.size > state.rule.options.max_size:
                limit = state.rule.options.max_size
                filter_events.SKIPPED(
                    self._span, id=state.rule.id, queue_id=self._queue_id, size=content.size, limit=limit
                )
                continue
            ruling = await self._asked(state, "content", partial(self._show, state, edited, content))
            if ruling is not None:
                return ruling
        return None

    def abort(self) -> None:
        """The transaction is over, however it ended."""
        self._queue_id = None
        for state in self._states:
            if state.connection is not None:
                state.connection.abort()

    def close(self) -> None:
        """The session is over."""
        for state in self._states:
            self._gave_up(state)
            if state.connection is not None:
                state.connection.close()
                state.connection = None

    def _is_for(self, state: _State) -> bool:
        sessions = state.rule.options.sessions
        return sessions == "all" or (sessions == "trusted") == self._facts().trusted

    def _asked_now(self) -> list[_State]:
        if self.is_discarding:
            return []
        return [
            each
            for each in self._states
            if not each.is_done and not each.accepts_session and (each.connection is not None or each.failure)
        ]

    async def _all(self, command: Command, stage: str, *arguments: str) -> Ruling | None:
        octets = wire.frame(command) if command is Command.DATA else wire.arguments(command, *arguments)
        if command is Command.HELO:
            octets = wire.arguments(command, self._facts().helo)
        for state in self._asked_now():
            ruling = await self._asked(state, stage, partial(self._tell, state, command, octets))
            if ruling is not None:
                return ruling
        return None

    async def _asked(self, state: _State, stage: str, ask: Callable[[], Awaitable[MilterReply]]) -> Ruling | None:
        """The ruling of one milter at one stage; None: go on.  What fails is stated here."""
        if state.failure is not None:
            return state.failure
        try:
            ruling = ruling_of(await ask())
        except MilterFailure as failure:
            return self._failed(state, stage, failure)
        except WireError as error:
            return self._failed(state, stage, MilterFailure(events.FRAME_INVALID, str(error)))
        if ruling is not None or stage == "content":
            state.is_trial = False
            if state.rule.circuit.succeeded():
                filter_events.RESUMED(self._span, id=state.rule.id)
        return None if ruling is None else self._ruled(state, stage, ruling)

    def _ruled(self, state: _State, stage: str, ruling: Ruling) -> Ruling | None:
        reply = ruling.reply
        ruling.kind(
            self._span,
            id=state.rule.id,
            stage=stage,
            queue_id=self._queue_id,
            code=None if reply is None else reply.code,
            reason="" if reply is None else reply.text,
        )
        if ruling.is_accepted:
            state.is_done = True
            state.accepts_session = stage in ("connect", "helo")
            return None
        if reply is None:
            self.is_discarding = True
            return None
        return ruling

    def _failed(self, state: _State, stage: str, failure: MilterFailure) -> Ruling | None:
        rule, now = state.rule, self._clock()
        if state.connection is not None:
            state.connection.drop()
            state.connection = None
        state.is_trial = False
        failure.kind(
            self._span,
            id=rule.id,
            stage=stage,
            queue_id=self._queue_id,
            reason=failure.reason,
            policy=rule.options.on_failure,
        )
        if failure.kind is not events.NOT_ASKED and rule.circuit.failed(now):
            again = self._span.stream.clock() + rule.options.breaker_pause
            filter_events.SUSPENDED(self._span, id=rule.id, reason=failure.reason, next_retry=again)
        if self._queue_id is None:
            return None  # tried again at MAIL
        if state.policy == "accept":
            state.is_done = True
            return None
        state.failure = Ruling(failure.kind, NOT_NOW)
        return state.failure

    def _gave_up(self, state: _State) -> None:
        if state.is_trial:
            state.is_trial = False
            state.rule.circuit.gave_up()

    async def _open(self, state: _State) -> MilterReply:
        rule = state.rule
        if not rule.circuit.may_try(self._clock()):
            raise MilterFailure(events.NOT_ASKED, "it failed several times in a row")
        state.is_trial = rule.circuit.is_open
        options = rule.options
        state.connection = await MilterConnection.open(
            rule.id, options.address, options.connect_timeout, self._span, options.tls
        )
        facts = self._facts()
        return await self._tell(state, Command.CONNECT, wire.connect(facts.client_name, facts.address, facts.port))

    async def _reopen(self, state: _State) -> MilterReply:
        reply = await self._open(state)
        facts = self._facts()
        if reply.code is Code.CONTINUE and facts.helo:
            reply = await self._tell(state, Command.HELO, wire.arguments(Command.HELO, facts.helo))
        return reply

    async def _tell(self, state: _State, command: Command, octets: bytes) -> MilterReply:
        connection = state.connection
        assert connection is not None
        values = macros(command, self._facts(), connection.wants, self._queue_id, octets)
        return await connection.tell(command, octets, values, state.rule.options.command_timeout)

    async def _show(self, state: _State, edited: Edited, content: Content) -> MilterReply:
        connection = state.connection
        assert connection is not None
        facts, most = self._facts(), state.rule.options.content_timeout

        def left() -> float:
            return max(0.0, min(most, content.until - self._clock()))

        at_end = macros(Command.END_OF_HEADERS, facts, connection.wants, self._queue_id)
        reply = await connection.header(edited.block, at_end, left())
        if reply.code is Code.CONTINUE:
            reply = await connection.body(content.body() if edited.body is None else _one(edited.body), left())
        if reply.code is not Code.CONTINUE:
            return reply
        at_end = macros(Command.END_OF_BODY, facts, connection.wants, self._queue_id)
        reply, changes = await connection.end(at_end, left())
        if reply.code in (Code.CONTINUE, Code.ACCEPT) and changes:
            await self._change(state, edited, changes, connection)
        return reply

    async def _change(
        self, state: _State, edited: Edited, changes: list[MilterReply], connection: MilterConnection
    ) -> None:
        before = edited.copied()
        edited.refused, edited.done = [], []
        work = partial(apply, edited, changes, keeps_space=bool(connection.wants.steps & wire.Steps.LEADING_SPACE))
        try:
            if sum(len(each.data) for each in changes) > INLINE:
                await asyncio.to_thread(work)
            else:
                work()
        except WireError:  # one that fails changes nothing, whatever its policy
            edited.take(before)
            raise
        for details, reason in edited.refused:
            events.CHANGE_REFUSED(self._span, id=state.rule.id, queue_id=self._queue_id, details=details, reason=reason)
        for each in edited.envelope:
            if each.what == "hold" and not each.by:
                events.ACTION_QUARANTINE(
                    self._span, id=state.rule.id, stage="content", queue_id=self._queue_id, code=None, reason=each.value
                )
        edited.envelope = [msgspec.structs.replace(each, by=each.by or state.rule.id) for each in edited.envelope]
        if edited.done:
            events.MODIFIED(
                self._span, id=state.rule.id, queue_id=self._queue_id, details=", ".join(dict.fromkeys(edited.done))
            )
        edited.done = before.done + edited.done


async def _one(octets: bytes) -> AsyncIterator[bytes]:
    yield octets
