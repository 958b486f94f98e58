"""Which option a settings key names.

The file says where a record's id begins and ends (TOML tables and quotes); a settings key is one text with dots, as
`/api/settings` and the database write it.  So the id is what lies between the section's prefix and the longest option
that fits the end, and it may hold dots.  The elements of a list are `name.0000`, `name.0001` ...; the bare name is the
list as a whole.  Pure.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relayd.config.nearest import nearest_key
from relayd.options import Option, Raw, Section, text_of

FILE_ALONE = ("server.data-dir", "database.", "authentication.fallback-admin.")
"""Keys, and prefixes of keys, that are taken from the file alone: where the database is, and who always gets in."""

_ELEMENT = re.compile(r"(.+)\.(\d{4})", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """A known key.  name: without the number of a list's element.  number: None for the bare name."""

    name: str
    section: Section
    record: str | None
    option: Option
    number: int | None = None

    @property
    def is_list(self) -> bool:
        """Whether the value is a list, its elements numbered keys."""
        return self.option.kind.is_list

    def element(self, number: int) -> str:
        """The key of the element `number`."""
        return f"{self.name}.{number:04d}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A whole value as it is written.  raw: a list for options that are lists.  keys: where its parts were found."""

    key: Key
    raw: Raw
    keys: tuple[str, ...]


class KeyTable:
    """The keys of some sections."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self.sections = tuple(sections)
        self._singles: dict[str, Key] = {}
        self._records: list[tuple[str, Section, tuple[Option, ...]]] = []
        for section in sections:
            if section.is_record:
                longest_first = tuple(sorted(section.options, key=lambda option: -len(option.key)))
                self._records.append((section.prefix.removesuffix("<id>"), section, longest_first))
                continue
            for option in section.options:
                name = f"{section.prefix}.{option.key}"
                self._singles[name] = Key(name, section, None, option)

    def find(self, text: str) -> Key | None:
        """The option that `text` names, None when it names none."""
        whole = self._whole(text)
        if whole is not None:
            return whole
        match = _ELEMENT.fullmatch(text)
        if match is None:
            return None
        found = self._whole(match[1])
        return dataclasses.replace(found, number=int(match[2])) if found is not None and found.is_list else None

    def _whole(self, text: str) -> Key | None:
        single = self._singles.get(text)
        if single is not None:
            return single
        for prefix, section, options in self._records:
            if not text.startswith(prefix):
                continue
            rest = text[len(prefix) :]
            for option in options:
                if option.key and not rest.endswith("." + option.key):
                    continue
                record = rest[: -len(option.key) - 1] if option.key else rest
                if record:
                    return Key(text, section, record, option)
        return None

    def explain(self, text: str) -> str:
        """Why `text` is no setting, and what was probably meant."""
        match = _ELEMENT.fullmatch(text)
        if match is not None and self._whole(match[1]) is not None:
            return f'"{match[1]}" is a value, not a list'
        head, _, number = text.rpartition(".")
        found = self._whole(head)
        if found is not None and found.is_list and number.isdigit():
            return f'unknown key: the elements of a list are "{found.element(0)}", "{found.element(1)}" ...'
        nearest = nearest_key(text[:255], self._names_like(text))
        return "unknown key" + (f', did you mean "{nearest}"?' if nearest else "")

    def _names_like(self, text: str) -> list[str]:
        """Every key; a record's with the id that `text` seems to give it."""
        names = list(self._singles)
        for prefix, _, options in self._records:
            given = text[len(prefix) :].partition(".")[0] if text.startswith(prefix) else ""
            names += [f"{prefix}{given or '<id>'}.{option.key}".rstrip(".") for option in options]
        return names


def is_file_alone(text: str) -> bool:
    """Whether the file alone says it."""
    return any(text == each or (each.endswith(".") and text.startswith(each)) for each in FILE_ALONE)


def gather(stored: Mapping[str, str], table: KeyTable) -> tuple[list[Leaf], list[str]]:
    """The values that flat keys come to, in the order of their names, and the keys that are unknown.

    A bare key of a list is a list of one; with an empty value it is the empty list.  Numbered keys of the same list
    count more; their numbers give the order and may have gaps.
    """
    found: dict[str, tuple[Key, dict[int, str]]] = {}
    unknown = []
    for text in sorted(stored):
        key = table.find(text)
        if key is None:
            unknown.append(text)
            continue
        _, parts = found.setdefault(key.name, (dataclasses.replace(key, number=None), {}))
        parts[-1 if key.number is None else key.number] = stored[text]
    return [_leaf(key, parts) for key, parts in found.values()], unknown


def _leaf(key: Key, parts: dict[int, str]) -> Leaf:
    if not key.is_list:
        return Leaf(key, parts[-1], (key.name,))
    numbers = sorted(number for number in parts if number >= 0)
    if numbers:
        return Leaf(key, [parts[number] for number in numbers], tuple(key.element(number) for number in numbers))
    return Leaf(key, [parts[-1]] if parts[-1] else [], (key.name,))


def flattened(key: Key, raw: Raw) -> Iterable[tuple[str, str]]:
    """The settings keys and texts of a value as it is written: the reverse of `gather`."""
    if not key.is_list:
        yield key.name, text_of(raw)
        return
    items = raw if isinstance(raw, list) else [raw]
    if not items:
        yield key.name, ""
    for number, item in enumerate(items):
        yield key.element(number), text_of(item)
