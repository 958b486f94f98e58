"""What a query string means: typed filters from parameters.

A parameter without a value is absent, of a repeated one the last counts, a number that is none is absent; a flag is set
when it has any value.  So says the API.  Where a filter decides what is changed or removed, though, a value that cannot
be read is refused (`strict`): ignored, it would mean the whole queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web

from relayd.control.answers import Problem
from relayd.mail.snowflake import parse_snowflake
from relayd.queue.filter import Filter, Kind

T = TypeVar("T")

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+\- ])(\d\d):(\d\d))", re.ASCII)
_LARGEST = 2**63 - 1


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
    """A whole number of at most 18 digits, None when it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _parse_id(text: str) -> int | None:
    found = parse_snowflake(text)
    return None if found is None else min(found, _LARGEST)


def _parse_kind(text: str) -> Kind | None:
    try:
        return Kind(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Page:
    """offset and limit of a page; limit None: everything.  max_total: 0 for no cap."""

    offset: int
    limit: int | None
    max_total: int


class Query:
    """The parameters of a request.  strict: refuse (400) what cannot be read."""

    def __init__(self, request: web.Request, *, strict: bool = False) -> None:
        self._values = dict(request.query.items())  # of a repeated one the last
        self._strict = strict

    def text(self, *names: str) -> str | None:
        """The first of these parameters that has a value."""
        for name in names:
            if self._values.get(name):
                return self._values[name]
        return None

    def flag(self, name: str) -> bool:
        """Whether it has any value."""
        return bool(self._values.get(name))

    def time(self, name: str) -> float | None:
        """Unix time."""
        return self._parsed(name, parse_time, "an RFC 3339 time")

    def number(self, name: str) -> int | None:
        """A count."""
        return self._parsed(name, parse_number, "a whole number")

    def id(self, name: str) -> int | None:
        """A snowflake, as JavaScript may have printed it."""
        return self._parsed(name, _parse_id, "an id")

    def page(self) -> Page:
        """`page`, `limit`, `max-total`."""
        limit = self.number("limit") or None
        number = max(self.number("page") or 1, 1)
        offset = min((number - 1) * limit, _LARGEST) if limit else 0
        return Page(offset, limit, self.number("max-total") or 0)

    def filter(self) -> Filter:
        """Which messages: `text` (or its alias `filter`), `from`, `to`, `before`, `after`, `range-start`,
        `range-end`; and of our own `domain`, `destination`, `state` (held, deferred, ready, corrupt), `held`.
        """
        kind = self._parsed("state", _parse_kind, "one of " + ", ".join(each.value for each in Kind))
        return Filter(
            text=self.text("text", "filter"),
            sender=self.text("from"),
            recipient=self.text("to"),
            domain=self.text("domain"),
            destination=self.text("destination"),
            before=self.time("before"),
            after=self.time("after"),
            first_id=self.id("range-start"),
            last_id=self.id("range-end"),
            kind=Kind.HELD if self.flag("held") else kind,
        )

    def _parsed(self, name: str, parse: Callable[[str], T | None], expected: str) -> T | None:
        text = self._values.get(name)
        if not text:
            return None
        value = parse(text)
        if value is None and self._strict:
            raise Problem(400, "Invalid parameters", f"{name}: expected {expected}")
        return value
