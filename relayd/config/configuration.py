"""What loading a configuration gives: the typed values, or everything that is wrong with the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from relayd.options import Raw, section_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.  key: dotted, "" for the file as a whole.  line: 1 is the first, None when unknown."""

    key: str
    text: str
    line: int | None = None
    fatal: bool = True

    def render(self, path: Path | None) -> str:
        """One line for people: "FILE:LINE: KEY: TEXT"."""
        place = "" if path is None else f"{path}:{self.line}: " if self.line is not None else f"{path}: "
        return place + (f"{self.key}: " if self.key else "") + self.text


class ConfigError(Exception):
    """The file cannot be used.  `problems` holds all that was found; the text has one line for each."""

    def __init__(self, path: Path | None, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(problem.render(path) for problem in problems))


class Config:
    """A loaded configuration; never changed.

    path: the file, or None for the development default.  warnings: what is valid but probably not meant.
    """

    def __init__(
        self,
        path: Path | None,
        sections: Mapping[type[Any], Any],
        records: Mapping[type[Any], Mapping[str, Any]],
        written: Mapping[str, Raw],
        warnings: tuple[Problem, ...] = (),
    ) -> None:
        self.path = path
        self.warnings = warnings
        self._sections = dict(sections)
        self._records = {cls: dict(each) for cls, each in records.items()}
        self._written = dict(written)

    def section(self, cls: type[T]) -> T:
        """The values of a section that is no record.  Raises KeyError for a class that was never declared."""
        return cast(T, self._sections[cls])

    def records(self, cls: type[T]) -> dict[str, T]:
        """The records of a section by id, in the order of the file."""
        return dict(self._records[cls])

    def flat(self) -> dict[str, Raw]:
        """What the file says, values as written: dotted keys, lists whole, secrets unexpanded."""
        return dict(self._written)

    def changed_keys(self, other: Config) -> list[str]:
        """The dotted keys that `other` writes differently, for the notice of a reload."""
        mine, theirs = self._written, other._written
        return sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))

    def with_section(self, value: object) -> Config:
        """A copy in which the section of `value`'s class is `value` (the development default's random secret)."""
        if section_of(type(value)).is_record:
            raise KeyError(type(value).__name__)
        sections = {**self._sections, type(value): value}
        return Config(self.path, sections, self._records, self._written, self.warnings)

    def with_warnings(self, warnings: tuple[Problem, ...]) -> Config:
        """A copy with further warnings."""
        return Config(self.path, self._sections, self._records, self._written, (*self.warnings, *warnings))
