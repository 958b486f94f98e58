"""A tag: one fact about a message that bears on whether it is spam, with its reason and its evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

MAX_EVIDENCE = 200
"""Characters of evidence that are kept of a tag; it is text of strangers."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


class Tag(msgspec.Struct, frozen=True):
    """name: upper case, digits and "_".  reason: what the fact is, a phrase for people.  evidence: the text of the
    message, the answer of a list or the like that shows it; "" where the reason says all.
    """

    name: str
    reason: str = ""
    evidence: str = ""


class Tags:
    """The tags of a message while it is looked at: each name once, the first evidence counts."""

    __slots__ = ("_tags",)

    def __init__(self, tags: Iterable[Tag] = ()) -> None:
        self._tags: dict[str, Tag] = {}
        for tag in tags:
            self._tags.setdefault(tag.name, tag)

    def add(self, name: str, reason: str = "", evidence: str = "") -> None:
        """Set a tag."""
        if name not in self._tags:
            self._tags[name] = Tag(name, reason, plain(evidence) if evidence else "")

    def remove(self, name: str) -> None:
        """Take a tag away, where it is set."""
        self._tags.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._tags

    def __iter__(self) -> Iterator[Tag]:
        return iter(self._tags.values())

    def __len__(self) -> int:
        return len(self._tags)

    @property
    def names(self) -> Mapping[str, Tag]:
        """The tags by name."""
        return self._tags


def plain(text: str) -> str:
    """Text of strangers as evidence: without controls, MAX_EVIDENCE characters at most."""
    text = _CONTROLS.sub(" ", text[: MAX_EVIDENCE + 1])
    return text if len(text) <= MAX_EVIDENCE else text[: MAX_EVIDENCE - 1] + "…"
