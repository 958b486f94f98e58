"""What an event, its kind, its span and the stream of events are.

The stream hands each event to its subscribers at once, in the caller's turn: a subscriber must do no more than put it
in a bounded buffer of its own.  A subscriber that raises is dropped from the stream and reported, never the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

Field = Any
"""str, int, float (times as Unix seconds), bool, None, bytes, a list of those, or an Event (nested results)."""


class Level(IntEnum):
    """Severity, least first."""

    TRACE = 10
    DEBUG = 20
    INFO = 30
    WARN = 40
    ERROR = 50

    DISABLED = 0
    """Below every level: no log, trace or live view shows it; it is counted all the same."""


TABLE: dict[str, EventKind] = {}
"""Every declared kind by id."""


class EventKind:
    """One row of the vocabulary.  Calling it states the fact: `KIND(span, field=value, ...)`.

    fields maps the Python name of each field (a trailing "_" avoids keywords) to its camelCase name in every view.
    default: the level that is declared; level: the one in force, which `tracing.level.<event>` may change.
    on_demand: what it tells costs so much that it is stated while somebody asks for it alone, which `wanted` says; who
    states such a kind looks there first.
    """

    __slots__ = ("default", "details", "fields", "id", "level", "on_demand", "text", "wanted")

    def __init__(
        self, id: str, level: Level, text: str, details: str = "", fields: str = "", *, on_demand: bool = False
    ) -> None:
        self.id = id
        self.default = self.level = level
        self.text = text
        self.details = details
        self.on_demand = on_demand
        self.wanted = not on_demand
        self.fields: dict[str, str] = {}
        for name in fields.split():
            first, *rest = name.rstrip("_").split("_")
            self.fields[name] = first + "".join(word.capitalize() for word in rest)
        if id in TABLE:
            raise ValueError(f"event {id} is declared twice")
        TABLE[id] = self

    @property
    def is_raised(self) -> bool:
        """Whether it has a higher level than was declared."""
        return self.level > self.default

    def __call__(self, span: Span, **fields: Field) -> None:
        """State the fact in `span`; the fields must be among the declared ones."""
        span.stream.publish(Event(self, span, span.stream.clock(), fields))

    def nested(self, **fields: Field) -> Event:
        """The event as a value to put into another's field (`result`); it is not published."""
        return Event(self, None, 0.0, fields)

    def __repr__(self) -> str:
        return f"<EventKind {self.id}>"


class Event:
    """One stated fact.  `at` is Unix time in seconds; `fields` is by Python name, see `EventKind.fields`."""

    __slots__ = ("at", "fields", "kind", "span")

    def __init__(self, kind: EventKind, span: Span | None, at: float, fields: dict[str, Field]) -> None:
        self.kind = kind
        self.span = span
        self.at = at
        self.fields = fields

    def data(self, with_span: bool = True) -> dict[str, Field]:
        """The fields by camelCase name, those of the span first (a key already present is not repeated)."""
        names = self.kind.fields
        own = {names[name]: value for name, value in self.fields.items()}
        if with_span and self.span is not None:
            return {**{k: v for k, v in self.span.keys.items() if k not in own}, **own}
        return own


class Span:
    """What a run of events belongs to: a session, an attempt, a request, or the daemon.

    id: a snowflake, 0 for the daemon.  keys: camelCase fields that every event of the span carries in live views and
    logs (listenerId, remoteIp, ... or queueId, from, to).  trace: its events so far, while somebody keeps them to be
    stored when it ends; None when nobody does.
    """

    __slots__ = ("id", "keys", "started", "stream", "trace")

    def __init__(self, stream: EventStream, id: int = 0, keys: dict[str, Field] | None = None) -> None:
        self.stream = stream
        self.id = id
        self.keys: dict[str, Field] = keys or {}
        self.started = stream.clock()
        self.trace: list[Event] | None = None


Subscriber = Callable[[Event], None]


class EventStream:
    """Where facts go.  `clock` gives Unix time in seconds."""

    def __init__(self, clock: Callable[[], float], subscribers: Sequence[Subscriber] = ()) -> None:
        self.clock = clock
        self._subscribers: tuple[Subscriber, ...] = tuple(subscribers)
        self._for_one: dict[EventKind, tuple[Subscriber, ...]] = {}
        self.on_subscriber_failure: Callable[[Subscriber, Exception], None] | None = None

    def subscribe(self, subscriber: Subscriber) -> None:
        """From now on hand every event to `subscriber`."""
        self._subscribers = (*self._subscribers, subscriber)

    def subscribe_to(self, kind: EventKind, subscriber: Subscriber) -> None:
        """From now on hand events of one kind to `subscriber`; the others cost it nothing."""
        self._for_one[kind] = (*self._for_one.get(kind, ()), subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop handing events to `subscriber`."""
        self._subscribers = tuple(each for each in self._subscribers if each != subscriber)
        self._for_one = {
            kind: tuple(each for each in subscribers if each != subscriber)
            for kind, subscribers in self._for_one.items()
        }

    def publish(self, event: Event) -> None:
        """Hand `event` to every subscriber."""
        subscribers = self._subscribers
        if event.kind in self._for_one:
            subscribers += self._for_one[event.kind]
        for subscriber in subscribers:
            try:
                subscriber(event)
            except Exception as error:  # a view must never hurt the engine
                self.unsubscribe(subscriber)
                if self.on_subscriber_failure is not None:
                    self.on_subscriber_failure(subscriber, error)
