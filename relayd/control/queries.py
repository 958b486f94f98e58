"""What a query string means.

A route declares its parameters as the fields of a frozen dataclass::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class LogQuery(PageQuery):
        filter: str | None = parameter(TEXT, "What the line must hold.")

A parameter without a value is absent, of a repeated one the last counts, a number that is none is absent; a flag is set
when it has any value.  So says the API.  Where a filter decides what is changed or removed, though, a value that cannot
be read is refused (`strict`): ignored, it would mean the whole queue.  The same declarations are what the API's
description is made of.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar, cast

from relayd.control.answers import Problem
from relayd.mail.snowflake import parse_snowflake
from relayd.queue.filter import Filter
from relayd.queue.filter import Kind as State

T = TypeVar("T")

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+\- ])(\d\d):(\d\d))", re.ASCII)
_LARGEST = 2**63 - 1
_LARGEST_NUMBER = 10**18 - 1


def parse_time(text: str) -> float | None:
    """Unix time of an RFC 3339 time with any offset, None when it is none.

    A blank before the offset is the "+" of a client that did not percent-encode it.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    date, clock, fraction, _, sign, hours, minutes = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=UTC)
    except ValueError:
        return None
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return moment.timestamp() - offset + float(f"0.{fraction or 0}")


def parse_number(text: str) -> int | None:
    """A whole number that 64 bits hold, None when it is none; past 18 digits each is as large as the largest."""
    if not text.isascii() or not text.isdigit() or len(text) > 20 or (found := int(text)) >= 1 << 64:
        return None
    return min(found, _LARGEST_NUMBER)


def _parse_id(text: str) -> int | None:
    found = parse_snowflake(text)
    return None if found is None else min(found, _LARGEST)


def _parse_state(text: str) -> State | None:
    try:
        return State(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ParameterKind(Generic[T]):
    """A type of parameter.  parse: None when the text is none.  absent: the value without the parameter.

    expected: for people.  schema: of JSON Schema.
    """

    expected: str
    parse: Callable[[str], T | None]
    schema: Mapping[str, Any]
    absent: T | None = None


TEXT: ParameterKind[str] = ParameterKind("a text", lambda text: text, {"type": "string"})
NUMBER: ParameterKind[int] = ParameterKind("a whole number", parse_number, {"type": "integer", "minimum": 0})
FLAG: ParameterKind[bool] = ParameterKind("any value", lambda text: True, {"type": "string"}, absent=False)
TIME: ParameterKind[float] = ParameterKind("an RFC 3339 time", parse_time, {"type": "string", "format": "date-time"})
"""Unix time."""
ID: ParameterKind[int] = ParameterKind("an id", _parse_id, {"type": "integer", "minimum": 0})
"""A snowflake, as JavaScript may have printed it."""
WORDS: ParameterKind[tuple[str, ...]] = ParameterKind(
    "names with commas between them",
    lambda text: tuple(word.strip() for word in text.split(",") if word.strip()),
    {"type": "string"},
    absent=(),
)
STATE: ParameterKind[State] = ParameterKind(
    "one of " + ", ".join(each.value for each in State),
    _parse_state,
    {"type": "string", "enum": [each.value for each in State]},
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter.  names: the first is its own, the others mean the same."""

    names: tuple[str, ...]
    kind: ParameterKind[Any]
    doc: str


def parameter(kind: ParameterKind[T], doc: str, *, name: str = "", aliases: tuple[str, ...] = ()) -> Any:
    """A field of a query; its name on the wire is `name`, else the field's own with hyphens."""
    declared = Parameter((name, *aliases), kind, doc)
    return dataclasses.field(default=kind.absent, metadata={"parameter": declared})


@cache
def parameters_of(query: type[Any]) -> tuple[tuple[str, Parameter], ...]:
    """The fields of a query and what they declare."""
    found = []
    for each in dataclasses.fields(query):
        declared: Parameter = each.metadata["parameter"]
        own = declared.names[0] or each.name.replace("_", "-")
        found.append((each.name, Parameter((own, *declared.names[1:]), declared.kind, declared.doc)))
    return tuple(found)


def decode(query: type[T], values: Mapping[str, str], *, strict: bool = False) -> T:
    """A query from a query string, of which `values` holds the last value of each name.

    strict: what cannot be read is a Problem 400, else it is absent.
    """
    found: dict[str, Any] = {}
    for field, declared in parameters_of(cast(Any, query)):
        text = next((values[name] for name in declared.names if values.get(name)), None)
        if text is None:
            continue
        value = declared.kind.parse(text)
        if value is not None:
            found[field] = value
        elif strict:
            raise Problem(400, "Invalid parameters", f"{declared.names[0]}: expected {declared.kind.expected}")
    return query(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoQuery:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which part of a list."""

    page: int | None = parameter(NUMBER, "Number of the page, from 1.")
    limit: int | None = parameter(NUMBER, "Items of a page; 0 or absent: everything.")

    @property
    def size(self) -> int | None:
        """Items of a page, None for everything."""
        return self.limit or None

    @property
    def offset(self) -> int:
        """Items before the page; with `size` added it still is a number that a database knows."""
        return min((max(self.page or 1, 1) - 1) * self.limit, _LARGEST // 2) if self.limit else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery(PageQuery):
    """Which messages of the queue; all conditions given must hold."""

    text: str | None = parameter(
        TEXT, "In the return path or a recipient; `from` and `to` are ignored then.", aliases=("filter",)
    )
    sender: str | None = parameter(TEXT, "In the return path.", name="from")
    recipient: str | None = parameter(TEXT, "In the address of a recipient.", name="to")
    domain: str | None = parameter(TEXT, "In the domain of a recipient.")
    destination: str | None = parameter(TEXT, "The destination of a recipient.")
    before: float | None = parameter(TIME, "The next attempt is before this time.")
    after: float | None = parameter(TIME, "The next attempt is after this time.")
    range_start: int | None = parameter(ID, "The lowest id.")
    range_end: int | None = parameter(ID, "The highest id.")
    state: State | None = parameter(STATE, "The state of the message.")
    held: bool = parameter(FLAG, "Held messages only; as state=held.")
    max_total: int | None = parameter(NUMBER, "Stop looking once there are so many; 0 or absent: never.")

    @property
    def end(self) -> int | None:
        """Messages up to the end of the page, or to where looking stops; None for all."""
        ends = [self.offset + self.size] if self.size is not None else []
        return min([*ends, self.max_total] if self.max_total else ends, default=None)

    def filter(self) -> Filter:
        """The conditions, without the page."""
        return Filter(
            text=self.text,
            sender=self.sender,
            recipient=self.recipient,
            domain=self.domain,
            destination=self.destination,
            before=self.before,
            after=self.after,
            first_id=self.range_start,
            last_id=self.range_end,
            kind=State.HELD if self.held else self.state,
        )
