"""A scanner made of a set of rules: the public suffix list and the operator's own rules with it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from relayd.mailauth.orgdomain import SuffixList
from relayd.options import OptionError
from relayd.spam.ruleset import Ruleset
from relayd.spam.scan import Rule, Scanner

_REMEMBERED = 16384
"""Domains whose registered part is remembered: finding it takes some 10 microseconds."""


def build_scanner(ruleset: Ruleset, plugins: Iterable[str] = (), suffixes: str | None = None) -> Scanner:
    """The scanner.  plugins: "module:function" of each rule.  suffixes: path of a list, None for the installed one.

    Raises OptionError, RulesetError, OSError.
    """
    more = [(name, load_rule(name)) for name in plugins]
    return Scanner(ruleset, lru_cache(_REMEMBERED)(suffix_list(suffixes).registrable), more)


@lru_cache(maxsize=2)
def suffix_list(path: str | None) -> SuffixList:
    """The list, read once.  OSError."""
    return SuffixList(None if path is None else Path(path).read_text("utf-8"))


def load_rule(name: str) -> Rule:
    """The function that "module:function" names.  OptionError."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function or "rule")
    except Exception as error:  # whatever an operator's module does when it is imported
        raise OptionError(f'spam-filter.plugins: "{name}": {type(error).__name__}: {error}') from None
    if not callable(found):
        raise OptionError(f'spam-filter.plugins: "{name}" is no function')
    rule: Rule = found
    return rule
