"""Parameters of MAIL that say when a message is to go and how urgent it is.

HOLDFOR and HOLDUNTIL (FUTURERELEASE, RFC 4865), BY (DELIVERBY, RFC 2852), MT-PRIORITY (RFC 6710).  Pure: whether a time
is in the future is decided by who has a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from relayd.mail.terms import MAX_PRIORITY

_SECONDS = re.compile(r"[0-9]{1,9}", re.A)
_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)", re.I | re.A)
_PRIORITY = re.compile(r"-?[1-9]|0", re.A)
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.I | re.A,
)


class DeliverBy(msgspec.Struct, frozen=True, kw_only=True):
    """BY.  seconds: from now on, negative when the time has passed.  returns: what is late is given back (mode R), else
    its sender is told (mode N).  traces: its sender is told where nobody promises the time.
    """

    seconds: int
    returns: bool
    traces: bool = False


def parse_hold_for(value: str | None) -> int | None:
    """Seconds of HOLDFOR; None when they are none."""
    return int(value) if value and _SECONDS.fullmatch(value) else None


def parse_hold_until(value: str | None) -> float | None:
    """Unix seconds of HOLDUNTIL (RFC 3339 §5.6, fractions dropped); None when it is no time."""
    found = _DATE_TIME.fullmatch(value or "")
    if found is None:
        return None
    date, minutes, seconds, zone = found.groups()
    leap = seconds == "60"
    try:
        moment = datetime.fromisoformat(f"{date}T{minutes}:{'59' if leap else seconds}{zone.upper()}")
        return moment.astimezone(UTC).timestamp() + leap
    except (ValueError, OverflowError):
        return None


def parse_by(value: str | None) -> DeliverBy | None:
    """BY; None when it is not well formed, or to be returned at a time that has passed (RFC 2852 §4)."""
    found = _BY.fullmatch(value or "")
    if found is None:
        return None
    seconds, returns = int(found[1]), found[2].upper() == "R"
    if returns and seconds <= 0:
        return None
    return DeliverBy(seconds=seconds, returns=returns, traces=bool(found[3]))


def parse_priority(value: str | None) -> int | None:
    """MT-PRIORITY; None when it is no priority (RFC 6710 §4.1)."""
    return int(value) if value and _PRIORITY.fullmatch(value) and abs(int(value)) <= MAX_PRIORITY else None
