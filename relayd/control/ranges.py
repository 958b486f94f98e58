"""Ranges of octets that a client asks for (RFC 9110 section 14)."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)

_FAR = 1 << 62
"""More than any body has."""


class Unsatisfiable(Exception):
    """None of the octets asked for is there."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Offset and number of the octets meant by a Range header of a representation of `size` octets.

    None where the header is to be ignored: another unit, not well formed, or several ranges (which we may answer with
    the whole).  Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        wanted = min(_number(last), size)
        if not wanted:
            raise Unsatisfiable
        return size - wanted, wanted
    start = _number(first)
    end = _number(last) if last else _FAR
    if end < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(end + 1, size) - start


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else _FAR
