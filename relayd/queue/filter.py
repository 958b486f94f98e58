"""Which messages an operator means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

_ADDRESS = "r.address LIKE ? ESCAPE '!'"
_DOMAIN = "substr(r.address, instr(r.address, '@') + 1)"


class Kind(Enum):
    """A state that messages can be asked for by."""

    HELD = "held"
    CORRUPT = "corrupt"
    DEFERRED = "deferred"
    """At least one recipient's attempt failed for now."""
    READY = "ready"
    """Neither held nor corrupt."""
    DELETED = "deleted"
    """Not queued any more, and kept for a while; no other filter finds these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All conditions given must hold; none: every queued message.

    text: in the return path or in a recipient's address; then sender and recipient are ignored.  sender, recipient:
    in the one or the other.  Texts are looked for anywhere, whatever their case.  before, after: the next attempt,
    Unix seconds.  first_id, last_id: both included.  ids: only these.  domain: in the domain of a
    recipient.  destination: exactly this one of a recipient.  kind: see Kind.  owners: domains (lower case), one of
    which is the return path's, or among which are those of all recipients.
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
    owners: Sequence[str] | None = None

    def conditions(self) -> tuple[list[str], list[Any]]:
        """SQL conditions over `messages` and their parameters, all but whether it is deleted."""
        found: list[str] = []
        parameters: list[Any] = []

        def add(condition: str, *values: Any) -> None:
            found.append(condition)
            parameters.extend(values)

        if self.text:
            needle = _anywhere(self.text)
            add(f"(return_path LIKE ? ESCAPE '!' OR {self._has(_ADDRESS)})", needle, needle)
        else:
            if self.sender:
                add("return_path LIKE ? ESCAPE '!'", _anywhere(self.sender))
            if self.recipient:
                add(self._has(_ADDRESS), _anywhere(self.recipient))
        if self.domain:
            needle = _anywhere(self.domain)  # the address first: it costs less, and most have it nowhere
            add(self._has(f"{_ADDRESS} AND {_DOMAIN} LIKE ? ESCAPE '!'"), needle, needle)
        if self.destination is not None:
            add(self._has("r.destination = ?"), self.destination)
        if self.owners is not None:
            ours = "(SELECT value FROM json_each(?))"
            others = f"r.message_id = messages.id AND {_domain('r.address')} NOT IN {ours}"
            domains = json.dumps(list(self.owners))
            add(
                f"({_domain('return_path')} IN {ours} OR NOT EXISTS (SELECT 1 FROM recipients r WHERE {others}))",
                domains,
                domains,
            )
        self._add_ranges(add)
        return found, parameters

    def _add_ranges(self, add: Any) -> None:
        if self.before is not None:
            add(self._has("r.state IN (0, 2) AND r.next_attempt < ?"), self.before)
        if self.after is not None:
            add("NOT " + self._has("r.state IN (0, 2) AND r.next_attempt <= ?"), self.after)
        if self.first_id is not None:
            add("id >= ?", self.first_id)
        if self.last_id is not None:
            add("id <= ?", self.last_id)
        if self.ids is not None:
            # as text: one parameter however many there are
            add("id IN (SELECT value FROM json_each(?))", as_json(self.ids))
        if self.kind is Kind.HELD:
            add("held_since IS NOT NULL")
        elif self.kind is Kind.CORRUPT:
            add("corrupt = 1")
        elif self.kind is Kind.DEFERRED:
            add(self._has("r.state = 2"))
        elif self.kind is Kind.READY:
            add("held_since IS NULL AND corrupt = 0")

    def _has(self, condition: str) -> str:
        """A recipient of the message meets `condition`."""
        if self.ids is not None:  # few messages: look at each one's recipients
            return f"EXISTS (SELECT 1 FROM recipients r WHERE r.message_id = messages.id AND {condition})"
        # one pass over all, or over those in the range of ids
        if self.first_id is not None:
            condition += f" AND r.message_id >= {int(self.first_id)}"
        if self.last_id is not None:
            condition += f" AND r.message_id <= {int(self.last_id)}"
        return f"(id IN (SELECT r.message_id FROM recipients r WHERE {condition}))"


def _domain(column: str) -> str:
    return f"lower(substr({column}, instr({column}, '@') + 1))"


def _anywhere(text: str) -> str:
    """The LIKE pattern (which knows no case in ASCII) of what holds `text`."""
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return f"%{text}%"


def as_json(ids: Sequence[int]) -> str:
    """Ids as one parameter, for `json_each`."""
    return "[" + ",".join(map(str, ids)) + "]"


def where(filter: Filter, *more: str, deleted: bool | None = False) -> tuple[str, list[Any]]:
    """The WHERE clause and its parameters.

    more: conditions without parameters.  deleted: whether deleted messages are meant; None: both.  A filter that asks
    for deleted ones decides that itself.
    """
    found, parameters = filter.conditions()
    if filter.kind is Kind.DELETED:
        deleted = True
    if deleted is not None:
        found.append("removal IS NOT NULL" if deleted else "removal IS NULL")
    found += more
    return (" WHERE " + " AND ".join(found) if found else ""), parameters


def is_everything(filter: Filter) -> bool:
    """Whether it is every queued message."""
    return not filter.conditions()[0] and filter.kind is not Kind.DELETED
