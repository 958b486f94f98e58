"""The live fan-out: what happens, to whoever watches (operation 48).

While somebody watches, `Live` is subscribed to the stream: an event is put into a bounded buffer, nothing else.  Once
a second a thread picks for each viewer what it asked for, 5,000 events at most, and renders each event once for all of
them.  A viewer that has not taken what it was given last time is given nothing, and costs nothing; what it missed, and
what was over its rate, is counted, and said before the next events it gets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec

from relayd.events import telemetry
from relayd.events.event import Event, Level, Span
from relayd.telemetry.matching import Wanted
from relayd.telemetry.rows import json_encode, shown_event

RATE = 5000
"""Events of a second that a viewer gets."""

LOOKED_AT = 20_000
"""Events of a second that are looked at for viewers with a filter."""

PING_AFTER = 30.0

_TICK = 1.0


class Viewer:
    """One who watches.  Its frames: "trace" with a list of events, "missed" with how many, "ping" when nothing came."""

    def __init__(self, wanted: Wanted, on_return: Callable[[], None] = lambda: None) -> None:
        self.wanted = wanted
        self.missed = 0
        self.is_stalled = False
        """Whether it did not take what it was given in a whole second; `on_return` is called when it does."""
        self._on_return = on_return
        self._ended = False
        self._batch: list[msgspec.Raw] | None = None
        self._given = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether it took what it was given."""
        return self._batch is None

    def give(self, batch: list[msgspec.Raw]) -> None:
        """What the next frame holds."""
        if batch:
            self._batch = batch
            self._given.set()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._given.set()

    async def frames(self, ping_after: float = PING_AFTER) -> AsyncGenerator[tuple[str, Any], None]:
        """Names and values of frames."""
        while True:
            try:
                async with asyncio.timeout(ping_after):
                    await self._given.wait()
            except TimeoutError:
                yield "ping", {"interval": int(ping_after * 1000)}
                continue
            self._given.clear()
            if self._ended:
                return
            missed, self.missed = self.missed, 0
            if missed:
                yield "missed", {"events": missed}
            batch = self._batch or []
            yield "trace", batch
            self._batch = None  # only now: the frame was written
            if self.is_stalled:
                self.is_stalled = False
                self._on_return()


class Live:
    """Everybody who watches the stream of `span`, the daemon's.

    on_demand: told whether somebody watches what is made on demand, when that changes.
    """

    def __init__(self, span: Span, on_demand: Callable[[bool], None] = lambda is_watched: None) -> None:
        self._on_demand = on_demand
        self._raw = False
        self._span = span
        self._stream = span.stream
        self._viewers: list[Viewer] = []
        self._buffer: list[Event] = []
        self._room = 0
        self._over = 0
        self._ticking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._viewers)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        kind = event.kind
        if kind.level is Level.DISABLED or (kind.on_demand and not self._raw and not kind.is_raised):
            return
        if len(self._buffer) < self._room:
            self._buffer.append(event)
        else:
            self._over += 1

    async def watch(self, wanted: Wanted) -> AsyncGenerator[tuple[str, Any], None]:
        """The frames of a new viewer, until they are closed."""
        viewer = Viewer(wanted, self._make_room)
        self._viewers.append(viewer)
        if wanted.raw:
            self._raw = True
            self._on_demand(True)
        self._make_room()
        if self._ticking is None:
            self._stream.subscribe(self)
            self._ticking = asyncio.create_task(self._tick(), name="live")
            self._ticking.add_done_callback(self._ended)
        try:
            async with contextlib.aclosing(viewer.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._viewers.remove(viewer)
            if wanted.raw and not self.is_asked_for_raw:
                self._raw = False
                self._on_demand(False)
            if not self._viewers:
                self._stop()

    @property
    def is_asked_for_raw(self) -> bool:
        """Whether somebody watches what is made on demand."""
        return any(each.wanted.raw for each in self._viewers)

    def _stop(self) -> None:
        self._stream.unsubscribe(self)
        if self._ticking is not None:
            self._ticking.cancel()
        self._ticking = None
        self._buffer = []
        self._over = 0

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A failure of ours ends the streams; whoever comes again gets a new beginning."""
        if not task.cancelled() and (error := task.exception()) is not None:
            telemetry.SUBSCRIBER_FAILED(self._span, id="live", reason=repr(error))
            for viewer in self._viewers:
                viewer.end()

    def _make_room(self) -> None:
        """Look at no more events than somebody will be given."""
        reading = [each.wanted for each in self._viewers if not each.is_stalled]
        self._room = max((RATE if each.is_everything else LOOKED_AT for each in reading), default=0)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            events, self._buffer = self._buffer, []
            over, self._over = self._over, 0
            if not events and not over:
                continue
            viewers = list(self._viewers)
            ready = [each for each in viewers if each.is_ready]
            picked = await asyncio.to_thread(pick, [each.wanted for each in ready], events) if ready else []
            for viewer, (batch, left_out) in zip(ready, picked, strict=True):
                viewer.missed += over + left_out
                viewer.give(batch)
            for viewer in viewers:
                if viewer not in ready:
                    viewer.missed += over + len(events)
                    viewer.is_stalled = not viewer.is_ready
            self._make_room()


def pick(wanted: Sequence[Wanted], events: Sequence[Event]) -> list[tuple[list[msgspec.Raw], int]]:
    """For each viewer the events that it is sent, as JSON, and how many more there were.

    An event is rendered once, however many are sent it.
    """
    rendered: dict[int, msgspec.Raw] = {}
    usual = [event for event in events if not event.kind.on_demand or event.kind.is_raised]
    found = []
    for each in wanted:
        shown = events if each.raw else usual
        taken = shown if each.is_everything else [event for event in shown if each.takes(event)]
        batch = []
        for event in taken[:RATE]:
            raw = rendered.get(id(event))
            if raw is None:
                raw = rendered[id(event)] = json_encode(shown_event(event))
            batch.append(raw)
        found.append((batch, max(0, len(taken) - RATE)))
    return found
