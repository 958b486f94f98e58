"""Which events a live viewer asked for (operation 48).

`text` must be found in some value of the event, and what is asked of a key in that key's value, all in this case of
letters.  Texts, times (RFC 3339) and addresses are met by a part of them; numbers, durations in milliseconds and
booleans as a whole; of a list one element is enough, of a nested event its id or one of its values.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from relayd.events.event import TABLE, Event
from relayd.mail.snowflake import parse_snowflake
from relayd.telemetry.render import TIMES, logged_data, milliseconds, rfc3339
from relayd.telemetry.traces import ENDS

_FOLLOWED = 10_000
"""Spans of which a viewer is sent everything, because something in them was what it asked for."""


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower()


def keys_by_parameter() -> dict[str, str]:
    """Every key of an event's data by the name of its parameter: "remote-ip" is remoteIp."""
    names = {name for kind in TABLE.values() for name in kind.fields.values()}
    names |= {"listenerId", "localPort", "remoteIp", "remotePort", "queueId", "from", "to", "domain", "hostname", "uid"}
    return {_kebab(name): name for name in names}


class Wanted:
    """What one viewer asked for.  text: "" for anything.  keys: camelCase key, and what its value must be like.

    raw: events that are made on demand too, whose levels nobody raised.
    """

    def __init__(self, text: str = "", keys: Mapping[str, str] | None = None, *, raw: bool = False) -> None:
        self.text = text
        self.raw = raw
        self.keys = dict(keys or {})
        self._followed: OrderedDict[int, None] = OrderedDict()

    @property
    def is_everything(self) -> bool:
        """Whether there is no filter."""
        return not self.text and not self.keys

    def takes(self, event: Event) -> bool:
        """Whether the viewer is sent `event`: it fits, or one before it in its span did."""
        span = event.span
        id = 0 if span is None else span.id
        if id in self._followed:
            if event.kind in ENDS:
                del self._followed[id]
            return True
        if not self._fits(event):
            return False
        if id and event.kind not in ENDS:
            self._followed[id] = None
            if len(self._followed) > _FOLLOWED:
                self._followed.popitem(last=False)
        return True

    def _fits(self, event: Event) -> bool:
        data = logged_data(event)
        for key, wanted in self.keys.items():
            if key not in data or not is_like(key, data[key], wanted):
                return False
        return not self.text or any(is_like(key, value, self.text) for key, value in data.items())


def is_like(key: str, value: Any, wanted: str) -> bool:
    """Whether the value of `key` is what is wanted."""
    if isinstance(value, str):
        return wanted in value
    if value is None:
        return False
    if isinstance(value, bool):
        return wanted == ("true" if value else "false")
    if isinstance(value, int | float):
        if key in TIMES:
            return wanted in rfc3339(value)
        return _number(milliseconds(value) if key == "elapsed" else value, wanted)
    if isinstance(value, list | tuple | set | frozenset):
        return any(is_like(key, each, wanted) for each in value)
    if isinstance(value, Event):
        return wanted in value.kind.id or any(is_like(name, each, wanted) for name, each in value.data(False).items())
    return not isinstance(value, bytes) and wanted in str(value)


def _number(value: float, wanted: str) -> bool:
    """Whether a number is the one that was written: ids as JavaScript may have printed them."""
    if isinstance(value, int):
        return str(value) == wanted or parse_snowflake(wanted) == value
    try:
        return float(wanted) == value
    except ValueError:
        return False
