"""What a list in the DNS is: where, about what it is asked, and what its answers mean (RFC 5782).  Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

SUBJECTS = ("client", "hops", "domains", "dkim", "emails", "urls")
"""What a list can be asked about."""

_PART = re.compile(r"\*|&\d{1,3}|\d{1,3}(?:-\d{1,3})?")
_TAG = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class BadAnswer(ValueError):
    """An answer's pattern cannot be read; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One kind of answer.  parts: of the address, each ("any", 0, 0), ("range", low, high) or ("bits", mask, 0).
    refuses: the list will not answer.
    """

    parts: tuple[tuple[str, int, int], ...]
    tag: str
    refuses: bool = False

    def fits(self, octets: bytes) -> bool:
        """Whether the answer is of this kind."""
        return all(
            kind == "any" or (value & low != 0 if kind == "bits" else low <= value <= high)
            for (kind, low, high), value in zip(self.parts, octets, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsList:
    """One list.  about: of SUBJECTS.  hash: "" or the name ("sha1", "md5") of what stands for emails and urls."""

    id: str
    zone: str
    about: str
    meanings: tuple[Meaning, ...]
    hash: str = ""


def parse_meaning(text: str) -> Meaning:
    """From "127.0.0.2=TAG".  A part of the address is a number, "4-7" for a range, "&64" for a bit, "*" for any; a "!"
    in front tells that the list does not answer.  BadAnswer.
    """
    pattern, equals, tag = text.strip().partition("=")
    refuses = pattern.startswith("!")
    parts = []
    for part in pattern.removeprefix("!").split("."):
        if not _PART.fullmatch(part):
            raise BadAnswer(f'expected "127.0.0.2=TAG", with "4-7", "&64" or "*" for a part, not "{text}"')
        if part == "*":
            parts.append(("any", 0, 0))
        elif part[0] == "&":
            parts.append(("bits", int(part[1:]), 0))
        else:
            low, _, high = part.partition("-")
            parts.append(("range", int(low), int(high or low)))
    if len(parts) != 4 or not equals or not _TAG.fullmatch(tag) or any(max(low, high) > 255 for _, low, high in parts):
        raise BadAnswer(f'expected four parts from 0 to 255 and the name of a tag, not "{text}"')
    return Meaning(tuple(parts), tag, refuses)
