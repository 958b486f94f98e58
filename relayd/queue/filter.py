"""Which messages an operator means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

_NEXT = "(SELECT min(next_attempt) FROM recipients r WHERE r.message_id = messages.id AND r.state IN (0, 2))"


class Kind(Enum):
    """A state that messages can be asked for by."""

    HELD = "held"
    CORRUPT = "corrupt"
    DEFERRED = "deferred"
    """At least one recipient's attempt failed for now."""
    READY = "ready"
    """Neither held nor corrupt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All conditions given must hold; none: every message.

    text: in the return path or in a recipient's address; then sender and recipient are ignored.  sender, recipient:
    in the one or the other.  Texts are looked for anywhere, whatever their case.  before, after: the next attempt,
    Unix seconds.  first_id, last_id: both included.  ids: only these.  domain: in the domain of a
    recipient.  destination: exactly this one of a recipient.  kind: see Kind.
    """

    text: str | None = None
    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None
    destination: str | None = None
    before: float | None = None
    after: float | None = None
    first_id: int | None = None
    last_id: int | None = None
    ids: Sequence[int] | None = None
    kind: Kind | None = None

    def conditions(self) -> tuple[list[str], list[Any]]:
        """SQL conditions over `messages` and their parameters."""
        found: list[str] = []
        parameters: list[Any] = []

        def add(condition: str, *values: Any) -> None:
            found.append(condition)
            parameters.extend(values)

        if self.text:
            needle = self.text.lower()
            add(f"(instr(lower(return_path), ?) OR {_recipient('instr(lower(r.address), ?)')})", needle, needle)
        else:
            if self.sender:
                add("instr(lower(return_path), ?)", self.sender.lower())
            if self.recipient:
                add(_recipient("instr(lower(r.address), ?)"), self.recipient.lower())
        if self.domain:
            add(_recipient("instr(lower(substr(r.address, instr(r.address, '@') + 1)), ?)"), self.domain.lower())
        if self.destination is not None:
            add(_recipient("r.destination = ?"), self.destination)
        self._add_ranges(add)
        return found, parameters

    def _add_ranges(self, add: Any) -> None:
        if self.before is not None:
            add(f"{_NEXT} < ?", self.before)
        if self.after is not None:
            add(f"{_NEXT} > ?", self.after)
        if self.first_id is not None:
            add("id >= ?", self.first_id)
        if self.last_id is not None:
            add("id <= ?", self.last_id)
        if self.ids is not None:
            # as text: one parameter however many there are
            add("id IN (SELECT value FROM json_each(?))", "[" + ",".join(map(str, self.ids)) + "]")
        if self.kind is Kind.HELD:
            add("held_since IS NOT NULL")
        elif self.kind is Kind.CORRUPT:
            add("corrupt = 1")
        elif self.kind is Kind.DEFERRED:
            add(_recipient("r.state = 2"))
        elif self.kind is Kind.READY:
            add("held_since IS NULL AND corrupt = 0")


def _recipient(condition: str) -> str:
    return f"EXISTS (SELECT 1 FROM recipients r WHERE r.message_id = messages.id AND {condition})"


def where(filter: Filter) -> tuple[str, list[Any]]:
    """The WHERE clause ("" for every message) and its parameters."""
    found, parameters = filter.conditions()
    return (" WHERE " + " AND ".join(found) if found else ""), parameters
