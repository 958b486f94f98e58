"""The logs: a bounded buffer filled in the engine's turn, and one thread that renders and writes.

`LogFiles` subscribes to the event stream.  In the caller's turn an event that some tracer wants is appended to a deque,
nothing else; the thread wakes, waits a moment so that a burst makes one batch, renders each line once for each format,
and writes each sink once a batch.  It never gives the interpreter up of its own accord: on a busy loop each such turn
costs more than the lines between two of them, and the interpreter takes it back after five milliseconds at most.

A full buffer drops the event and counts it (`telemetry.dropped`).  A sink that cannot be written loses the batch, is
reported once (`telemetry.log-error`), and is tried again with every batch that comes later.  Events stated about the
log itself go through `defer`, which carries a call into the event loop's thread.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from relayd.events import telemetry
from relayd.events.event import Event, EventKind, Level, Span
from relayd.telemetry.files import RotatingFile
from relayd.telemetry.forgetting import Oblivion
from relayd.telemetry.options import TracerOptions
from relayd.telemetry.postfix_log import PostfixLog
from relayd.telemetry.pseudonyms import Pseudonyms
from relayd.telemetry.reading import Place
from relayd.telemetry.render import forget_heads, render_json, render_text
from relayd.telemetry.sinks import JOURNAL_SOCKET, PRIORITY, Journal, Standard, is_journal

Defer = Callable[[Callable[[], None]], object]
"""Runs a call in the event loop's thread: `loop.call_soon_threadsafe`."""

_GATHER = 0.05
_CHUNK = 64
_BATCH = 1024
_JOIN = 5.0


class Sink(Protocol):
    """Where the lines of one tracer go."""

    @property
    def name(self) -> str:
        """For reports."""

    def write(self, batch: list[tuple[Event, str]], now: float) -> None:
        """Write the lines of a batch; raises OSError."""

    def reopen(self) -> None:
        """Let go of the file; the next write opens it."""


class _FileSink:
    def __init__(self, file: RotatingFile) -> None:
        self._file = file
        self.directory = file.directory
        self.reopen = file.reopen
        self.files = file.files

    @property
    def name(self) -> str:
        return self._file.name

    def write(self, batch: list[tuple[Event, str]], now: float) -> None:
        lines = "\n".join([line for _, line in batch]) + "\n"
        self._file.write(lines.encode("utf-8", "replace"), now)


class _StandardSink:
    def __init__(self, out: Standard) -> None:
        self._out = out
        self.name = out.name

    def write(self, batch: list[tuple[Event, str]], now: float) -> None:
        if self._out.prefixed:
            lines = [f"<{PRIORITY[e.kind.level]}>" + line.replace("\n", "\n<6>") for e, line in batch]
        else:
            lines = [line for _, line in batch]
        self._out.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))

    def reopen(self) -> None:
        return


class _JournalSink:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.name = journal.name
        self.reopen = journal.close

    def write(self, batch: list[tuple[Event, str]], now: float) -> None:
        for event, lines in batch:
            for line in lines.split("\n"):
                self._journal.send(line, event.kind.level, event.kind.id, event.span.id if event.span else 0)


class _Tracer:
    """One `tracer.<id>`: what it wants, how it renders, where it writes."""

    def __init__(self, id: str, options: TracerOptions, sink: Sink, pseudonyms: Pseudonyms | None) -> None:
        self.id = id
        self.pseudonyms = pseudonyms if options.pseudonyms else None
        self.options = options
        self.sink = sink
        self.failed = False
        self.lost = 0
        self._wanted: dict[EventKind, bool] = {}
        self.postfix = PostfixLog() if options.format == "postfix" else None
        self.render: Callable[[Event], str] = _RENDERERS.get(options.format, render_text)

    @property
    def place(self) -> Place | None:
        if isinstance(self.sink, _FileSink) and self.options.format in _RENDERERS:
            return Place(self.sink.directory, self.options.prefix)
        return None

    def forget_levels(self) -> None:
        """The levels of events have changed."""
        self._wanted = {}

    def wants(self, kind: EventKind) -> bool:
        wanted = self._wanted.get(kind)
        if wanted is None:
            wanted = self._wanted[kind] = self._decide(kind)
        return wanted

    def _decide(self, kind: EventKind) -> bool:
        if kind.level == Level.DISABLED:
            return False
        if any(fnmatch.fnmatchcase(kind.id, pattern) for pattern in self.options.disabled_events):
            return False
        if self.postfix is not None:  # its lines come from events of every level
            return self.postfix.wants(kind)
        return kind.level >= self.options.least


def _json_line(event: Event) -> str:
    return render_json(event).decode()


_RENDERERS: dict[str, Callable[[Event], str]] = {"text": render_text, "json": _json_line}


class LogFiles:
    """The subscriber that logs; call it with each event.

    tracers: by id.  directory: of the files of tracers without a path.  span: of the log's own events.  bound: events
    that may wait.  pseudonyms: for the tracers that ask for them.  Raises OSError from nothing: a log that cannot be
    opened is reported, the engine runs.
    """

    def __init__(
        self,
        tracers: Mapping[str, TracerOptions],
        directory: Path,
        span: Span,
        defer: Defer,
        *,
        bound: int = 20_000,
        stdout: int = 1,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._directory = directory
        self._stdout = stdout
        self._tracers: list[_Tracer] = []
        self._retired: deque[_Tracer] = deque()
        self._span = span
        self._defer = defer
        self._bound = bound
        self._buffer: deque[Event] = deque()
        self._wanted: dict[EventKind, bool] = {}
        self._awake = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._reopen = False
        self._reported = 0
        self.dropped = 0
        self.configure(tracers, pseudonyms)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def configure(self, tracers: Mapping[str, TracerOptions], pseudonyms: Pseudonyms | None) -> None:
        """Log by these tracers from now on, what waits to be written too; those that stay go on with their files."""
        before = {each.id: each for each in self._tracers}
        after = []
        for id, options in tracers.items():
            known = before.get(id)
            if known is not None and (known.options, known.pseudonyms) == (
                options,
                pseudonyms if options.pseudonyms else None,
            ):
                after.append(before.pop(id))
            else:
                after.append(_Tracer(id, options, _sink(options, self._directory, self._stdout), pseudonyms))
        self._tracers = after
        self._wanted = {}
        self._retired.extend(before.values())
        self._wake.set()

    def __call__(self, event: Event) -> None:
        """Take an event; costs well under a microsecond when nobody logs it."""
        wanted = self._wanted.get(event.kind)
        if wanted is None:
            wanted = self._wanted[event.kind] = self.wants(event.kind)
        if not wanted:
            return
        if len(self._buffer) >= self._bound:
            self.dropped += 1
            return
        self._buffer.append(event)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def wants(self, kind: EventKind) -> bool:
        """Whether some tracer logs it."""
        return any(each.wants(kind) for each in self._tracers)

    @property
    def place(self) -> Place | None:
        """Where the last tracer writes files that can be read back; None without one."""
        return next((each.place for each in reversed(self._tracers) if each.place is not None), None)

    def reopen(self) -> None:
        """Close the files; the next lines open them anew (SIGHUP, after logrotate)."""
        self._reopen = True
        self._wake.set()

    def forget_levels(self) -> None:
        """The levels of events have changed: ask anew who wants which."""
        for tracer in self._tracers:
            tracer.forget_levels()
        self._wanted = {}
        forget_heads()

    def forget(self, oblivion: Oblivion, timeout: float) -> int:
        """Overwrite an address in the files written so far; in how many it stood.  Blocks.

        Raises TimeoutError; OSError for a file that could not be written anew.
        """
        mark = _Mark(threading.Event(), lambda: self._forget(oblivion))
        self._buffer.append(mark)
        self._awake = True
        self._hurry.set()
        self._wake.set()
        if not mark.done.wait(timeout):
            raise TimeoutError("the log files are still being written anew")
        if mark.error is not None:
            raise mark.error
        return mark.result

    def _forget(self, oblivion: Oblivion) -> int:
        changed = 0
        for tracer in self._tracers:
            if isinstance(tracer.sink, _FileSink):
                tracer.sink.reopen()
                changed += sum(oblivion.rewrite_file(path) for path in tracer.sink.files())
        return changed

    def close(self) -> None:
        """Write what waits and stop the thread; blocks for five seconds at most."""
        self._stopping.set()
        self._hurry.set()
        self._wake.set()
        self._thread.join(_JOIN)

    def flush(self, timeout: float = _JOIN) -> bool:
        """Wait until what was stated before is written; False when it took longer than `timeout` seconds."""
        done = threading.Event()
        self._buffer.append(_Mark(done))
        self._awake = True
        self._hurry.set()
        self._wake.set()
        return done.wait(timeout)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(_GATHER)  # a burst becomes one batch
            self._hurry.clear()
            self._wake.clear()
            stopping = self._stopping.is_set()  # after the clear: a stop that comes later wakes again
            self._awake = False
            if self._reopen:
                self._reopen = False
                _close(self._tracers)
            self._drain()
            _close([self._retired.popleft() for _ in range(len(self._retired))])
            if stopping and not self._buffer:
                _close(self._tracers)
                return

    def _drain(self) -> None:
        """Write what waits now; what comes meanwhile has set the wake-up and makes the next batch."""
        marks = []
        tracers = self._tracers  # another list may take its place meanwhile
        waiting = len(self._buffer)
        while waiting:
            count = min(waiting, _BATCH)
            waiting -= count
            batches: list[list[tuple[Event, str]]] = [[] for _ in tracers]
            for _ in range(count):
                event = self._buffer.popleft()
                if isinstance(event, _Mark):
                    marks.append(event)
                    continue
                self._render(event, tracers, batches)
            for tracer, batch in zip(tracers, batches, strict=True):
                if batch:
                    self._write(tracer, batch)
        self._report_drops()
        for mark in marks:
            mark.run()

    def _render(self, event: Event, tracers: list[_Tracer], batches: list[list[tuple[Event, str]]]) -> None:
        rendered: dict[tuple[Callable[[Event], str], bool], str] = {}
        hidden: Event | None = None
        for tracer, batch in zip(tracers, batches, strict=True):
            if not tracer.wants(event.kind):
                continue
            render = tracer.render if tracer.postfix is None else tracer.postfix.render
            try:
                if tracer.pseudonyms is not None and hidden is None:
                    hidden = tracer.pseudonyms.event(event)
                source = event if tracer.pseudonyms is None or hidden is None else hidden
                line = rendered.get((render, source is event))
                if line is None:
                    line = rendered[render, source is event] = render(source)
            except Exception as error:  # a field nobody foresaw costs its line, not the log
                self._state(telemetry.LOG_ERROR, path=tracer.id, reason=f"{event.kind.id}: {error!r}", total=1)
                continue
            if line:
                batch.append((event, line))

    def _write(self, tracer: _Tracer, batch: list[tuple[Event, str]]) -> None:
        try:
            tracer.sink.write(batch, batch[-1][0].at)
        except OSError as error:
            tracer.lost += len(batch)
            with contextlib.suppress(OSError):
                tracer.sink.reopen()
            if not tracer.failed:
                tracer.failed = True
                self._state(telemetry.LOG_ERROR, path=tracer.sink.name, reason=str(error), total=tracer.lost)
        else:
            if tracer.failed:
                tracer.failed = False
                self._state(telemetry.LOG_ERROR, path=tracer.sink.name, reason="written again", total=tracer.lost)
                tracer.lost = 0

    def _report_drops(self) -> None:
        dropped = self.dropped
        if dropped != self._reported:
            total, self._reported = dropped - self._reported, dropped
            self._state(telemetry.DROPPED, id="log", total=total)

    def _state(self, kind: EventKind, **fields: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: the daemon stops
            self._defer(lambda: kind(self._span, **fields))


def _close(tracers: Sequence[_Tracer]) -> None:
    for tracer in tracers:
        with contextlib.suppress(OSError):
            tracer.sink.reopen()


class _Mark(Event):
    """Not an event: work for the thread, behind all that was stated before."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, done: threading.Event, work: Callable[[], int] = lambda: 0) -> None:
        self.done = done
        self.work = work
        self.result = 0
        self.error: Exception | None = None

    def run(self) -> None:
        """Do it, and wake whoever waits."""
        try:
            self.result = self.work()
        except Exception as error:  # for whoever waits to see
            self.error = error
        self.done.set()


def _sink(options: TracerOptions, directory: Path, stdout: int) -> Sink:
    if options.type == "log":
        place = Path(options.path) if options.path else directory
        return _FileSink(RotatingFile(place, options.prefix, options.rotate, options.keep, options.max_size))
    if options.type == "journal" and os.path.exists(JOURNAL_SOCKET):
        return _JournalSink(Journal())
    return _StandardSink(Standard(stdout, prefixed=is_journal(stdout, os.environ)))
