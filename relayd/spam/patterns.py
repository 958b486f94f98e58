"""Rules by pattern: RE2 finds what they name in time linear in the text, whatever the pattern is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import re2

from relayd.spam.ruleset import PatternRule, RulesetError
from relayd.spam.view import View

MAX_MEMORY = 8 << 20
"""Octets that one pattern may take when it is compiled."""
MAX_LOOKED_AT = 1 << 20
"""Octets of each text that patterns are tried on."""


class Patterns:
    """Compiled rules.  RulesetError when a pattern is none."""

    def __init__(self, rules: Iterable[PatternRule]) -> None:
        self._rules = [(rule, compiled(rule)) for rule in rules]

    def look(self, view: View) -> None:
        """Set the tags of the rules that match."""
        if not self._rules:
            return
        texts: dict[str, Sequence[str]] = {}
        for rule, pattern in self._rules:
            key = rule.header or rule.scope
            if key not in texts:
                texts[key] = _header(view, rule.header) if rule.header else _SCOPES[rule.scope](view)
            for text in texts[key]:
                found = pattern.search(text[:MAX_LOOKED_AT])
                if found is not None:
                    view.tags.add(rule.tag, rule.reason or f"matches {rule.pattern[:80]}", found[0])
                    break


class Pattern(Protocol):
    """A compiled pattern, as far as it is used; the binding has no types of its own."""

    def search(self, text: str) -> re.Match[str] | None: ...


def compiled(rule: PatternRule) -> Pattern:
    """The pattern of a rule.  RulesetError."""
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(rule.pattern, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise RulesetError(f"pattern of {rule.tag}: {text}") from None
    return pattern


def _header(view: View, name: str) -> Sequence[str]:
    return [field.text for field in view.header.named.get(name, ())]


def _raw(view: View) -> Sequence[str]:
    return [part.octets[:MAX_LOOKED_AT].decode("latin-1") for part in view.message.leaves]


_SCOPES: dict[str, Callable[[View], Sequence[str]]] = {
    "subject": lambda view: [view.subject],
    "body": lambda view: [view.words],
    "raw": _raw,
    "url": lambda view: [link.url.normal for link in view.links],
    "from": lambda view: [f"{each.name} <{each.address}>" for each in view.authors],
    "to": lambda view: [f"{each.name} <{each.address}>" for each in view.to],
}
