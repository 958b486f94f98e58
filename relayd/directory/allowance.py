"""What an account, domain or tenant may send in a time: `recipients:300/hour`."""

from __future__ import annotations

import re
from dataclasses import dataclass

MEASURES = ("messages", "recipients", "bytes")
PERIODS = ("hour", "day", "month")

_FORM = re.compile(r"(messages|recipients|bytes):(\d{1,18})/(hour|day|month)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `most` of a measure in a period; 0: none at all."""

    measure: str
    most: int
    period: str

    def __str__(self) -> str:
        return f"{self.measure}:{self.most}/{self.period}"


def parse_allowance(text: str) -> Allowance | None:
    """The allowance that a text says, None when it says none."""
    match = _FORM.fullmatch(text.strip().lower())
    return Allowance(match[1], int(match[2]), match[3]) if match is not None else None
