"""The stores of traces and message history: bounded buffers filled in the engine's turn, and one thread that writes.

`Recording` subscribes to the event stream.  In the caller's turn an event of a session or an attempt is appended to its
span's own list, and a fact about a message to another; nothing else.  When a span ends, its list is handed over.  The
thread wakes, waits a moment so that a burst makes one batch, and writes each table of each store with one statement,
because every statement gives the interpreter away and has to wait until the loop gives it back.

What there is no room for is dropped and counted (`telemetry.dropped`).  A store that cannot be written loses the batch,
is reported once (`telemetry.store-error`), and is tried again with every batch that comes later.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from relayd.database.interface import DatabaseError
from relayd.events import telemetry
from relayd.events.event import TABLE, Event, EventKind, Level, Span
from relayd.telemetry.forgetting import Oblivion
from relayd.telemetry.history import History, fact_kinds
from relayd.telemetry.points import Point, Points
from relayd.telemetry.traces import ENDS, MOST_EVENTS, TYPES, Traces

Defer = Callable[[Callable[[], None]], object]
"""Runs a call in the event loop's thread: `loop.call_soon_threadsafe`."""

_GATHER = 0.4
"""Seconds that a batch waits for more; what it holds can be read soon after."""

_AT_ONCE = 1000
"""Spans, and facts times four, of one transaction."""

_TIDY_EVERY = 600.0
_JOIN = 10.0

_START, _END, _FACT, _NEVER = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bounds of what waits: events of open spans together, spans and facts handed over."""

    events: int = 200_000
    spans: int = 20_000
    facts: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What is written; None for what is not kept."""

    traces: Traces | None
    history: History | None
    points: Points | None


class Recording:
    """The subscriber that stores; call it with each event.

    span: of its own events.  clock: Unix time.
    """

    def __init__(
        self, stores: Stores, span: Span, defer: Defer, clock: Callable[[], float], room: Room | None = None
    ) -> None:
        self.stores = stores
        self._span = span
        self._defer = defer
        self._clock = clock
        self._room = room or Room()
        self._roles: dict[EventKind, int] = {}
        self._held = 0
        self._ended: deque[tuple[Span, list[Event]]] = deque()
        self._facts: deque[Event] = deque()
        self._points: deque[Point] = deque(maxlen=10_000)
        self._asked: deque[tuple[Callable[[], Any], _Answer]] = deque()
        self._failed: dict[str, int] = {}
        self.dropped = 0
        self._reported = 0
        self._awake = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stopping = threading.Event()
        self._tidied = float("-inf")
        self.configure(stores)
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def configure(self, stores: Stores) -> None:
        """Write to these stores from now on; the levels of events may have changed too."""
        roles: dict[EventKind, int] = dict.fromkeys(ENDS, _END)  # of spans that are begun, whatever is kept now
        if stores.traces is not None:
            roles |= dict.fromkeys(TYPES, _START)
        if stores.history is not None:
            for kind in fact_kinds():
                roles[kind] = roles.get(kind, 0) | _FACT
        for kind in TABLE.values():
            if kind.level is Level.DISABLED:  # a span has its end all the same
                roles[kind] = roles.get(kind, 0) & _END | _NEVER
        roles |= {kind: _NEVER for kind in TABLE.values() if kind.on_demand and not kind.is_raised}
        self._roles = roles
        self.stores = stores

    def __call__(self, event: Event) -> None:
        """Take an event; costs a fraction of a microsecond."""
        span = event.span
        role = self._roles.get(event.kind)
        if role is not None and role >= _NEVER:
            if role & _END:
                self._act(_END, event, span)
            return
        if span is not None and span.trace is not None:
            if len(span.trace) < MOST_EVENTS and self._held < self._room.events:
                span.trace.append(event)
                self._held += 1
            elif role != _END:
                self.dropped += 1
        if role is not None:
            self._act(role, event, span)

    def _act(self, role: int, event: Event, span: Span | None) -> None:
        if role & _START and span is not None:
            if self._held < self._room.events:
                span.trace = [event]
                self._held += 1
            else:
                self.dropped += 1
        elif role & _END and span is not None and span.trace is not None:
            trace, span.trace = span.trace, None
            self._held -= len(trace)
            if len(trace) > 2:  # else nothing happened between its start and its end
                if len(self._ended) < self._room.spans:
                    self._ended.append((span, trace))
                else:
                    self.dropped += len(trace)
        if role & _FACT:
            if len(self._facts) < self._room.facts:
                self._facts.append(event)
            else:
                self.dropped += 1
        if not self._awake:
            self._awake = True
            self._wake.set()

    def keep(self, points: Sequence[Point]) -> None:
        """Store points of the metrics."""
        self._points.extend(points)
        self._awake = True
        self._wake.set()

    def ask(self, work: Callable[[], Any], timeout: float) -> Any:
        """Run `work` in the thread that writes, behind all that was stated before; blocks.  What it raises is raised.

        TimeoutError after `timeout` seconds.
        """
        answer = _Answer()
        self._asked.append((work, answer))
        self._awake = True
        self._hurry.set()
        self._wake.set()
        return answer.wait(timeout)

    def forget(self, oblivion: Oblivion, timeout: float) -> tuple[int, int]:
        """Overwrite an address in traces and history; in how many rows of each it stood.  Blocks.

        Raises TimeoutError, DatabaseError.
        """
        stores = self.stores

        def work() -> tuple[int, int]:
            traces = 0 if stores.traces is None else stores.traces.forget(oblivion)
            return traces, 0 if stores.history is None else stores.history.forget(oblivion)

        found: tuple[int, int] = self.ask(work, timeout)
        return found

    def flush(self, timeout: float = _JOIN) -> None:
        """Wait until what was stated before can be read."""
        self.ask(lambda: None, timeout)

    def close(self) -> None:
        """Write what waits and stop the thread; blocks for ten seconds at most."""
        self._stopping.set()
        self._hurry.set()
        self._wake.set()
        self._thread.join(_JOIN)

    def _run(self) -> None:
        while True:
            self._wake.wait(_TIDY_EVERY)
            if not self._stopping.is_set():
                self._hurry.wait(_GATHER)  # a burst becomes one batch
            self._hurry.clear()
            self._wake.clear()
            stopping = self._stopping.is_set()  # after the clear: a stop that comes later wakes again
            self._awake = False
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            self._drain()
            for work, answer in asked:
                answer.give(work)
            self._tidy()
            self._report_drops()
            if stopping and not (self._ended or self._facts):
                self._close()
                return

    def _drain(self) -> None:
        """Write what waits now; what comes meanwhile has set the wake-up and makes the next batch."""
        stores, now = self.stores, self._clock()
        spans, facts = len(self._ended), len(self._facts)
        while spans or facts:
            some = [self._ended.popleft() for _ in range(min(spans, _AT_ONCE))]
            spans -= len(some)
            if some and stores.traces is not None:
                self._write("traces", len(some), stores.traces.write, some, now)
            events = [self._facts.popleft() for _ in range(min(facts, 4 * _AT_ONCE))]
            facts -= len(events)
            if events and stores.history is not None:
                self._write("history", len(events), stores.history.write, events, now)
        points = [self._points.popleft() for _ in range(len(self._points))]
        if points and stores.points is not None:
            self._write("metrics", len(points), stores.points.write, points, now)

    def _write(self, name: str, count: int, write: Callable[[Any, float], None], batch: Any, now: float) -> None:
        try:
            write(batch, now)
        except Exception as error:  # a row nobody foresaw costs its batch, not the store
            reason = str(error) if isinstance(error, DatabaseError) else repr(error)
            lost = self._failed.get(name)
            self._failed[name] = (lost or 0) + count
            if lost is None:
                self._state(telemetry.STORE_ERROR, id=name, reason=reason, total=count)
        else:
            lost = self._failed.pop(name, None)
            if lost is not None:
                self._state(telemetry.STORE_ERROR, id=name, reason="written again", total=lost)

    def _tidy(self) -> None:
        now = time.monotonic()
        if now - self._tidied < _TIDY_EVERY:
            return
        self._tidied = now
        for store in (self.stores.traces, self.stores.history, self.stores.points):
            if store is not None:
                with contextlib.suppress(DatabaseError):
                    store.series.tidy(self._clock())

    def _close(self) -> None:
        for store in (self.stores.traces, self.stores.history, self.stores.points):
            if store is not None:
                store.series.close()

    def _report_drops(self) -> None:
        dropped = self.dropped
        if dropped != self._reported:
            total, self._reported = dropped - self._reported, dropped
            self._state(telemetry.DROPPED, id="stores", total=total)

    def _state(self, kind: EventKind, **fields: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: the daemon stops
            self._defer(lambda: kind(self._span, **fields))


class _Answer:
    """What comes back from the thread."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def give(self, work: Callable[[], Any]) -> None:
        try:
            self._result = work()
        except Exception as error:
            self._error = error
        self._done.set()

    def wait(self, timeout: float) -> Any:
        if not self._done.wait(timeout):
            raise TimeoutError("the telemetry store did not answer in time")
        if self._error is not None:
            raise self._error
        return self._result
