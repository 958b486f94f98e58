"""Events as the stores keep them: JSON text, and the words by which a search finds them.

A stored event is `[kind, at, fields]`, the fields by their Python names and as they were stated; what people are shown
is made of it when somebody asks (`shown`).  A nested event is `{"event": kind, "fields": {...}}`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from relayd.events.event import TABLE, Event, EventKind
from relayd.telemetry.render import TIMES, milliseconds, rfc3339

Stored = Sequence[Any]
"""[kind, at, fields, ...]: what follows is the store's own."""

_INDEXED = (
    "queue_id",
    "from_",
    "to",
    "given_from",
    "given_to",
    "domain",
    "hostname",
    "remote_ip",
    "account_name",
    "message_id",
)
_LONGEST_WORD = 320
_MOST_WORDS = 5000
"""Words of one span or message: a message may have a thousand recipients, and no more than a few of the rest."""


Scalar = None | bool | int | float | str


class NestedEvent(msgspec.Struct):
    """An event as the value of another's field."""

    type: str
    text: str
    details: str
    data: dict[str, Scalar | list[Scalar]]


class ShownEvent(msgspec.Struct, rename="camel"):
    """An event as the API shows it.  data: by camelCase name; times RFC 3339, durations in milliseconds."""

    text: str
    details: str
    created_at: str
    type: str
    data: dict[str, Scalar | NestedEvent | list[Scalar | NestedEvent]]


class Headline(msgspec.Struct, rename="camel"):
    """The first event of a span that says which message it is about; `data` has the span's id as `spanId`."""

    created_at: str
    type: str
    data: dict[str, Scalar | list[Scalar]]


def _of_event(value: Any) -> Any:
    if isinstance(value, Event):
        return {"event": value.kind.id, "fields": value.fields}
    return value.value if isinstance(value, Enum) else str(value)


_encoder = msgspec.json.Encoder(enc_hook=_of_event)


def encode(value: Any) -> str:
    """`value` as JSON; a text that no encoding has (a lone surrogate) loses what cannot be written."""
    try:
        return _encoder.encode(value).decode()
    except UnicodeEncodeError:
        return _encoder.encode(_mended(value)).decode()


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {key: _mended(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mended(each) for each in value]
    return {"event": value.kind.id, "fields": _mended(value.fields)} if isinstance(value, Event) else value


def json_encode(value: Any) -> msgspec.Raw:
    """`value` as a piece of JSON to be put into another."""
    return msgspec.Raw(_encoder.encode(value))


decode: Callable[[str], Any] = msgspec.json.decode


_names: dict[EventKind, tuple[str, ...]] = {}


def words(events: Iterable[Event], keys: Mapping[str, Any]) -> set[str]:
    """What a search finds the events by: queue ids, addresses, their domains, hosts, client addresses, accounts."""
    values: set[Any] = set()  # the same ones come again and again in a span
    for event in events:
        kind = event.kind
        names = _names.get(kind)
        if names is None:
            names = _names[kind] = tuple(name for name in _INDEXED if name in kind.fields)
        fields = event.fields
        for name in names:
            value = fields.get(name)
            if type(value) is list:
                values.update(value[:_MOST_WORDS])
            elif value:
                values.add(value)
    values.add(keys.get("domain") or "")
    found: set[str] = set()
    for value in values:
        if len(found) >= _MOST_WORDS:
            break
        word = word_of(value) if type(value) is str else str(value)
        found.add(word)
        found.add(word.rpartition("@")[2])
    found.discard("")
    return found


def word_of(text: str) -> str:
    """A value as it is indexed."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "").lower()[:_LONGEST_WORD].strip("<> ")


_TERM = re.compile(r'"([^"]*)"?|(\S+)')


def terms(filter: str) -> list[tuple[str, bool]]:
    """The words of a filter, and whether each must be met as a whole (quoted) or as a beginning."""
    found = []
    for match in _TERM.finditer(filter):
        exact = match[1] is not None
        word = word_of(match[1] if exact else match[2])
        if word:
            found.append((word, exact))
    return found


def shown(stored: Stored) -> ShownEvent:
    """A stored event as the API shows it: text, details, createdAt, type, data."""
    kind_id, at, fields = stored[:3]
    text, details = described(kind_id)
    return ShownEvent(text, details, rfc3339(at), kind_id, data_of(kind_id, fields))


def shown_event(event: Event) -> ShownEvent:
    """An event as a live view shows it: the keys of its span first, a key already present not repeated."""
    kind, span = event.kind, event.span
    names = kind.fields
    data: dict[str, Any] = {}
    if span is not None and span.keys:
        data = {key: _value(key, each) for key, each in span.keys.copy().items()}
    for name, each in event.fields.items():
        key = names.get(name, name)
        data[key] = _value(key, each)
    return ShownEvent(kind.text, kind.details, rfc3339(event.at), kind.id, data)


def described(kind_id: str) -> tuple[str, str]:
    """Text and details of a kind; its id for one that this version does not know."""
    kind = TABLE.get(kind_id)
    return (kind_id, "") if kind is None else (kind.text, kind.details)


def data_of(kind_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Stored fields by camelCase name, as the API shows them."""
    kind = TABLE.get(kind_id)
    names: Mapping[str, str] = {} if kind is None else kind.fields
    return {(key := names.get(name, name)): _value(key, value) for name, value in fields.items()}


def _value(key: str, value: Any) -> Any:
    """A field as the API shows it, whether it comes from an event or from a store."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if kind is int or kind is float:
        if key in TIMES:
            return rfc3339(value)
        return milliseconds(value) if key == "elapsed" else value
    if kind is list or kind is tuple:
        return [_value("", each) for each in value]
    if kind is Event:
        return _nested(value.kind.id, value.fields)
    if kind is dict and "event" in value:
        return _nested(value["event"], value.get("fields") or {})
    if kind is bytes:
        return base64.b64encode(value).decode()
    if kind is bool or value is None:
        return value
    return value.value if isinstance(value, Enum) else str(value)


def _nested(kind_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    text, details = described(kind_id)
    return {"type": kind_id, "text": text, "details": details, "data": data_of(kind_id, fields)}
