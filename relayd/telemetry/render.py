"""One event as one line: text or JSON.

Text is `<RFC 3339 Z> <LEVEL> <text> (<event.id>) key = value, ...`, the span's keys first.  Strings stand in double
quotes, addresses of hosts and numbers bare, durations as `24ms`, octets as `base64:...`, lists in brackets, nested
events as `Text (id) { key = value }`, nothing as `(null)`.  `elapsed` is given in seconds when it is a float, in
milliseconds when it is an int.  Runs in the log thread for every logged event: a line costs a few microseconds.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import msgspec

from relayd.events.event import Event, EventKind, Span
from relayd.telemetry.escape import escape, escape_json, quoted

TIMES = frozenset({"nextRetry", "nextDsn", "expires", "due", "rangeFrom", "rangeTo", "validFrom", "validTo"})
"""Keys whose numbers are Unix times."""

_BARE = frozenset({"remoteIp", "localIp"})

_encode = msgspec.json.Encoder(enc_hook=str).encode

_seconds: dict[int, str] = {}
"""Seconds asked for lately: those of an event and of what it plans come again with the next event."""


def rfc3339(at: float) -> str:
    """Unix time as RFC 3339 in UTC, whole seconds: "2026-11-21T05:00:00Z"."""
    second = int(at)
    text = _seconds.get(second)
    if text is None:
        try:
            text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        except (OverflowError, ValueError, OSError):
            return "9999-12-31T23:59:59Z"
        if len(_seconds) > 256:
            _seconds.clear()
        _seconds[second] = text
    return text


def milliseconds(elapsed: float) -> int:
    """`elapsed` as whole milliseconds; 0 for what is no time."""
    if isinstance(elapsed, int):
        return elapsed
    value = elapsed * 1000
    return round(value) if math.isfinite(value) else 0


def _of_time(value: Any) -> str:
    return rfc3339(value) if isinstance(value, int | float) else _of_any(value)


def _of_elapsed(value: Any) -> str:
    return f"{milliseconds(value)}ms" if isinstance(value, int | float) else _of_any(value)


def _of_bare(value: Any) -> str:
    return "(null)" if value is None else escape(str(value))


def _of_list(value: Any) -> str:
    return "[" + ", ".join([_of_any(each) for each in value]) + "]"


def _of_event(value: Event) -> str:
    kind = value.kind
    return f"{kind.text} ({kind.id}) {{ {', '.join(_pairs(value.data(with_span=False)))} }}"


def _of_bytes(value: bytes) -> str:
    return "base64:" + base64.b64encode(value).decode("ascii")


_BY_TYPE: dict[type, Callable[[Any], str]] = {
    str: quoted,
    int: str,
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "(null)",
    float: repr,
    bytes: _of_bytes,
    list: _of_list,
    tuple: _of_list,
    set: lambda value: _of_list(sorted(value, key=str)),
    frozenset: lambda value: _of_list(sorted(value, key=str)),
    Event: _of_event,
}

_BY_KEY: dict[str, Callable[[Any], str]] = {
    "elapsed": _of_elapsed,
    **dict.fromkeys(TIMES, _of_time),
    **dict.fromkeys(_BARE, _of_bare),
}


def _of_any(value: Any) -> str:
    render = _BY_TYPE.get(type(value))
    if render is not None:
        return render(value)
    return quoted(str(value.value if isinstance(value, Enum) else value))


def _pairs(data: dict[str, Any]) -> list[str]:
    by_key, by_type = _BY_KEY.get, _BY_TYPE.get
    return [f"{key} = {(by_key(key) or by_type(type(value)) or _of_any)(value)}" for key, value in data.items()]


def own_fields(event: Event) -> list[str]:
    """The event's own fields as "key = value", those without a value left out."""
    return _pairs({key: value for key, value in event.data(with_span=False).items() if value not in (None, "", [])})


_heads: dict[EventKind, str] = {}


def forget_heads() -> None:
    """The levels of events have changed."""
    _heads.clear()


_SPANS = 512

_span_texts: dict[Span, tuple[dict[str, Any], str]] = {}
"""Keys and their text of the spans rendered last: many sessions and attempts are under way at once."""


def _span_text(span: Span, keys: dict[str, Any]) -> str:
    known = _span_texts.get(span)
    if known is not None and known[0] == keys:
        return known[1]
    if len(_span_texts) >= _SPANS:
        _span_texts.clear()
    text = ", ".join(_pairs(keys))
    _span_texts[span] = (keys, text)
    return text


_Plan = list[tuple[str, str, Callable[[Any], str] | None]]

_plans: dict[tuple[Any, ...], _Plan] = {}
"""By kind and the fields that were given: each field's name as shown, its label, and how it is written."""


def _plan(kind: EventKind, names: tuple[str, ...]) -> _Plan:
    shown = [kind.fields.get(name, name) for name in names]
    return [(name, f"{name} = ", _BY_KEY.get(name)) for name in shown]


def render_text(event: Event) -> str:
    """The text line of `event`, without a line end."""
    kind, span, fields = event.kind, event.span, event.fields
    head = _heads.get(kind)
    if head is None:
        head = _heads[kind] = f" {kind.level.name} {kind.text} ({kind.id}) "
    key = (kind, *fields)
    plan = _plans.get(key)
    if plan is None:  # as many as there are calls that state a fact
        plan = _plans[key] = _plan(kind, tuple(fields))
    keys = span.keys.copy() if span is not None else {}
    parts = [_span_text(span, keys)] if span is not None and keys else []
    for (shown, label, render), value in zip(plan, fields.values(), strict=True):
        if shown not in keys:
            parts.append(label + (render or _BY_TYPE.get(type(value)) or _of_any)(value))
        elif keys[shown] != value:  # it takes the span's place
            return rfc3339(event.at) + head + ", ".join(_pairs(logged_data(event)))
    return rfc3339(event.at) + head + ", ".join(parts)


def logged_data(event: Event) -> dict[str, Any]:
    """The event's fields by camelCase name, the span's first.

    The span's keys are copied in one step: the engine may add one while the log thread reads them.
    """
    names = event.kind.fields
    span = event.span
    data: dict[str, Any] = span.keys.copy() if span is not None else {}
    for name, value in event.fields.items():
        data[names.get(name, name)] = value
    return data


def json_value(key: str, value: Any) -> Any:
    """A field as JSON shows it: times RFC 3339, `elapsed` in milliseconds, nested events as objects."""
    if key in TIMES and isinstance(value, int | float) and not isinstance(value, bool):
        return rfc3339(value)
    if key == "elapsed" and isinstance(value, float):
        return milliseconds(value)
    if isinstance(value, Event):
        inner = {name: json_value(name, each) for name, each in value.data(with_span=False).items()}
        return {"type": value.kind.id, "text": value.kind.text, "data": inner}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value("", each) for each in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()  # a lone surrogate cannot be encoded
    return value


def render_json(event: Event) -> bytes:
    """The JSON line of `event`, without a line end: timestamp, level, event_id, event (its text), spanId, data."""
    kind = event.kind
    line: dict[str, Any] = {
        "timestamp": rfc3339(event.at),
        "level": kind.level.name,
        "event_id": kind.id,
        "event": kind.text,
    }
    if event.span is not None and event.span.id:
        line["spanId"] = event.span.id
    line["data"] = {key: json_value(key, value) for key, value in logged_data(event).items()}
    return escape_json(_encode(line))


def pairs_of_json(data: Mapping[str, Any]) -> str:
    """The data of a JSON line as a text line has it; octets, which JSON holds as base64, are a string here."""
    return ", ".join([f"{key} = {_of_json(key, value)}" for key, value in data.items()])


def _of_json(key: str, value: Any) -> str:
    if isinstance(value, dict):  # a nested event
        if isinstance(value.get("data"), dict):
            return f"{value.get('text')} ({value.get('type')}) {{ {pairs_of_json(value['data'])} }}"
        return _of_any(str(value))
    if isinstance(value, list):
        return "[" + ", ".join([_of_json("", each) for each in value]) + "]"
    if key in TIMES and isinstance(value, str):
        return escape(value)
    return (_BY_KEY.get(key) or _of_any)(value)
