"""What a line of a log file says: the way back from `render`, for text and JSON alike.

A text line is `<time> <LEVEL> <text> (<event.id>) <details>`.  The id is looked for by its form, so that a parenthesis
in the text does not end it.  The details of a JSON line are put the way a text line has them.  They stay as the line
has them, escapes included: taken out, a text from a peer could look like another field.
"""

from __future__ import annotations

import re

import msgspec

from relayd.telemetry.render import pairs_of_json

_TEXT = re.compile(
    r"(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (?P<level>[A-Z]{1,10}) (?P<event>.{1,200}?)"
    r" \((?P<event_id>[a-z0-9-]{1,60}\.[a-z0-9.-]{1,100})\)(?: (?P<details>.*))?"
)


class LogLine(msgspec.Struct, frozen=True):
    """One line.  timestamp: RFC 3339.  event: what happened, in words.  details: `key = value, ...`."""

    timestamp: str
    level: str
    event: str
    event_id: str
    details: str


class _JsonLine(msgspec.Struct):
    timestamp: str
    level: str
    event_id: str
    event: str
    data: dict[str, object]


_decode = msgspec.json.Decoder(_JsonLine).decode


def parse_line(octets: bytes) -> LogLine | None:
    """The line of `octets`, which have no line end; None when it is none of ours."""
    if octets.startswith(b"{"):
        try:
            found = _decode(octets)
            details = pairs_of_json(found.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return LogLine(found.timestamp, found.level, found.event, found.event_id, details)
    match = _TEXT.fullmatch(octets.decode("utf-8", "replace"))
    if match is None:
        return None
    timestamp, level, event, event_id, details = match.groups()
    return LogLine(timestamp, level, event, event_id, (details or "").strip())
