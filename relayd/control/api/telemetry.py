"""What was stored of the events: metrics over time, traces, and what became of messages (operations 2, 18 and 46).

A search runs in a thread, two of them at once, and is cut off after a few seconds: who asks for too much is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.queries import FLAG, ID, TEXT, TIME, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.database.interface import DatabaseError
from relayd.database.segments import ReadCut
from relayd.events import telemetry
from relayd.mail.address import AddressError, parse_address
from relayd.mail.snowflake import parse_snowflake
from relayd.telemetry.figures import Figures
from relayd.telemetry.forgetting import Forgotten
from relayd.telemetry.history import History, MessageHistory, MessagePage, MessageQuery
from relayd.telemetry.live import Live
from relayd.telemetry.points import ShownPoint
from relayd.telemetry.recording import Stores
from relayd.telemetry.rows import Headline, ShownEvent, terms
from relayd.telemetry.traces import TracePage, TraceQuery, Traces

T = TypeVar("T")

MOST = 10_000
"""Things of a page, and ids of spans times ten."""

_MOST_TRACES = 1000
"""Ids that one request may name."""

_MOST_WORDS = 100
"""Words of one filter: each is a search of its own."""

_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """The views of the events.  stores: what is kept now.  figures: the metrics.  live: the fan-out.

    forget: overwrites an address in all that is kept; blocks, raises TimeoutError, DatabaseError, OSError.
    """

    stores: Callable[[], Stores]
    figures: Figures
    live: Live
    forget: Callable[[str], Forgotten]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodQuery:
    """Which stretch of time."""

    after: float | None = parameter(TIME, "From this time on.")
    before: float | None = parameter(TIME, "Before this time.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesQuery(PageQuery):
    """Which spans."""

    type: str | None = parameter(TEXT, "Id of the event that begins the span: delivery.attempt-start, ...")
    queue_id: int | None = parameter(ID, "Queue id that the span mentions.", name="queue_id", aliases=("queue-id",))
    filter: str | None = parameter(
        TEXT,
        "Words, all of which the span must have: the beginnings of queue ids, addresses, domains, hosts, client "
        "addresses, accounts; a word in quotes must be one as a whole.",
    )
    after: float | None = parameter(TIME, "Spans that began at this time or later.")
    before: float | None = parameter(TIME, "Spans that began before this time.")
    values: bool = parameter(FLAG, "Answer with the first event about a message of each span that has one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceIds:
    """Which traces, where they do not stand in the path."""

    id: str | None = parameter(TEXT, "Ids with commas between them, in place of the one in the path.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesQuery(PageQuery):
    """Which messages."""

    filter: str | None = parameter(TEXT, "Words, as for traces: queue ids, addresses, domains, Message-IDs, accounts.")
    address: str | None = parameter(TEXT, "Return path or recipient, or the domain of one; as a whole.")
    message_id: str | None = parameter(TEXT, "Message-ID; as a whole.", aliases=("message_id",))
    queue_id: int | None = parameter(ID, "Queue id.", aliases=("queue_id",))
    after: float | None = parameter(TIME, "Messages that came at this time or later.")
    before: float | None = parameter(TIME, "Messages that came before this time.")


class ForgetRequest(msgspec.Struct):
    """Whom to forget."""

    address: str


class TracesPage(msgspec.Struct):
    """Ids of spans, or with `values` the first event about a message of each that has one.  total: of spans."""

    items: Sequence[int | Headline]
    total: int


class TelemetryOperations:
    """The handlers.  clock: Unix time."""

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/telemetry/metrics",
            permission="metrics-list",
            handler=self.metrics,
            summary="Stored history of metrics: increments of counters and histograms, gauges as they were",
            area="telemetry",
            query=PeriodQuery,
            answer=list[ShownPoint],
            operation=2,
        )
        yield Route(
            method="GET",
            path="/telemetry/traces",
            permission="tracing-list",
            handler=self.traces,
            summary="Stored traces, newest first; without any criterion none",
            area="telemetry",
            query=TracesQuery,
            answer=TracesPage,
            operation=18,
        )
        yield Route(
            method="GET",
            path="/telemetry/trace/{trace_id}",
            permission="tracing-get",
            handler=self.trace,
            summary="The events of a trace; of several, with commas between their ids, a list of each",
            area="telemetry",
            query=TraceIds,
            answer=list[ShownEvent | list[ShownEvent]],
            operation=46,
        )
        yield Route(
            method="GET",
            path="/telemetry/messages",
            permission="tracing-list",
            handler=self.messages,
            summary="What became of messages, in the queue or long out of it; newest first",
            area="telemetry",
            query=MessagesQuery,
            answer=MessagePage,
        )
        yield Route(
            method="GET",
            path="/telemetry/message/{message_id}",
            permission="tracing-get",
            handler=self.message,
            summary="What became of a message, from its first octet to its last outcome; by queue id or Message-ID",
            area="telemetry",
            answer=MessageHistory,
        )
        yield Route(
            method="POST",
            path="/telemetry/forget",
            permission="purge-account",
            handler=self.forget,
            summary="Overwrite a mail address in traces, history and log files; queue and suppression list stay",
            area="telemetry",
            body=ForgetRequest,
            answer=Forgotten,
        )

    async def metrics(self, call: Call) -> list[ShownPoint]:
        """2: points of the metrics, oldest first."""
        query: PeriodQuery = call.query
        points = self._telemetry.stores().points
        if points is None:
            raise other(
                "No metrics store has been defined",
                "You need to configure a metrics store in order to use this feature.",
            )
        return await self._read(points.between, query.after, query.before, self._clock())

    async def traces(self, call: Call) -> TracesPage:
        """18: a page of ids, or of headlines."""
        query: TracesQuery = call.query
        _check_words(query.filter)
        traces = self._traces()
        asked = TraceQuery(
            type=query.type,
            queue_id=query.queue_id,
            filter=query.filter,
            after=query.after,
            before=query.before,
        )
        most = MOST if query.values else 10 * MOST
        size = min(query.size or most, most)

        def search() -> TracePage:
            return traces.search(asked, query.offset, size, headlines=query.values, now=self._clock())

        page = await self._read(search)
        return TracesPage(items=page.headlines if query.values else page.items, total=page.total)

    async def trace(self, call: Call) -> Sequence[ShownEvent | list[ShownEvent]]:
        """46: the events of one trace, or a list of each of several."""
        query: TraceIds = call.query
        traces = self._traces()
        named = (query.id or call.path["trace_id"]).split(",")[:_MOST_TRACES]
        ids = [parse_snowflake(each.strip()) for each in named]
        found = await self._read(traces.get, [id for id in ids if id is not None], self._clock())
        events = [[] if id is None else found.get(id, []) for id in ids]
        return events[0] if query.id is None and len(events) == 1 else events

    async def messages(self, call: Call) -> MessagePage:
        """A page of messages."""
        query: MessagesQuery = call.query
        _check_words(query.filter)
        asked = MessageQuery(
            queue_id=query.queue_id,
            filter=query.filter,
            address=query.address,
            message_id=query.message_id,
            after=query.after,
            before=query.before,
        )
        size = min(query.size or MOST, MOST)
        return await self._read(self._history().search, asked, query.offset, size, self._clock())

    async def message(self, call: Call) -> MessageHistory:
        """One message; the newest, when several have the Message-ID."""
        history, name = self._history(), call.path["message_id"]
        id = parse_snowflake(name)
        if id is None:
            page = await self._read(history.search, MessageQuery(message_id=name), 0, 1, self._clock())
            id = page.items[0].id if page.items else None
        found = None if id is None else await self._read(history.get, id, self._clock())
        if found is None:
            raise Problem(*NOT_FOUND)
        return found

    async def forget(self, call: Call) -> Forgotten:
        """Forget an address; what is done is an event without it."""
        request: ForgetRequest = call.body
        try:
            address = parse_address(request.address.strip(), smtputf8=True)
        except AddressError as error:
            raise Problem(400, "Invalid parameters", f"address: {error.text}") from None
        try:
            async with self._turns:
                found = await asyncio.to_thread(self._telemetry.forget, address)
        except (DatabaseError, OSError, TimeoutError) as error:
            raise other("Not everything could be forgotten: ask again", str(error)) from None
        total = found.traces + found.history + found.logs
        telemetry.FORGOTTEN(call.span, account_name=call.caller.name, total=total)
        return found

    def _traces(self) -> Traces:
        traces = self._telemetry.stores().traces
        if traces is None:
            raise Failure("unsupported", details="No tracing store has been configured")
        return traces

    def _history(self) -> History:
        history = self._telemetry.stores().history
        if history is None:
            raise Failure("unsupported", details="The history of messages is not kept (telemetry.history.enable)")
        return history

    async def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        async with self._turns:
            try:
                return await asyncio.to_thread(work, *arguments)
            except ReadCut as error:
                raise other("The search was cut off", f"{error}: ask for less, or a shorter time") from None
            except DatabaseError as error:
                raise other("The telemetry store cannot be read", str(error)) from None


def _check_words(filter: str | None) -> None:
    """Raises Problem for more words than are looked for."""
    if len(terms(filter or "")) > _MOST_WORDS:
        raise Problem(400, "Invalid parameters", f"filter: {_MOST_WORDS} words at most")
