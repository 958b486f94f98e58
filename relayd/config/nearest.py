"""Which declared key an unknown one was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from relayd.options import Section


def explain_unknown(path: tuple[str, ...], value: Any, sections: Sequence[Section]) -> str:
    """Why the leaf at `path` is no option, and what was probably meant."""
    name = ".".join(path)
    known = known_keys(path, sections)
    for key in known:
        if name.startswith(key + "."):
            return f'unknown key: "{key}" is a value, not a table'
    if not isinstance(value, dict) and any(key.startswith(name + ".") for key in known):
        return f'expected a table: write [{name}] and its keys, such as "{_first_under(name, known)}"'
    for section in sections:
        prefix = section.prefix.removesuffix("<id>")
        if section.is_record and name.startswith(prefix) and len(path) > prefix.count(".") + 2:
            for option in section.options:
                if option.key and name.endswith("." + option.key):
                    return f"unknown key: the id of a {prefix[:-1]} that holds dots must be in quotes"
    nearest = nearest_key(name, known)
    return "unknown key" + (f', did you mean "{nearest}"?' if nearest else "")


def known_keys(path: tuple[str, ...], sections: Sequence[Section]) -> list[str]:
    """Every declared key; the id of a record is taken from `path` where it has one in that place."""
    keys = []
    for section in sections:
        prefix = section.prefix
        if section.is_record:
            place = prefix.count(".")
            given = path[place] if len(path) > place else "<id>"
            prefix = prefix.removesuffix("<id>") + given
        keys += [f"{prefix}.{option.key}".rstrip(".") for option in section.options]
    return keys


def nearest_key(name: str, known: Sequence[str]) -> str | None:
    """The most similar of `known`, or None when nothing is like it."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if close:
        return close[0]
    # A key under the wrong table: the last word says more than the way to it.
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    if same:
        return max(same, key=lambda key: difflib.SequenceMatcher(None, name, key).ratio())
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return close[0] if close else None


def _first_under(name: str, known: Sequence[str]) -> str:
    return next(key for key in known if key.startswith(name + "."))
