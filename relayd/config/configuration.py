"""What loading a configuration gives: the typed values, or everything that is wrong with the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from relayd.options import Raw, section_of, text_of

T = TypeVar("T")

DATABASE, FILE, DEFAULT = "database", "file", "default"
"""Where a value comes from; the first that has one counts."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.  key: dotted, "" for the file as a whole.  line: 1 is the first, None when unknown.

    kind: "parse" for a text that cannot be read, "macro" for a pointer to a secret, "build" for what does not fit
    together.  stored: the value that is to blame was written through the API, so it stands in no line of the file.
    """

    key: str
    text: str
    line: int | None = None
    fatal: bool = True
    kind: str = "parse"
    stored: bool = False

    def place(self, path: Path | None) -> str:
        """Where to look: "FILE:LINE", "FILE", DATABASE, or "" for the development default."""
        if self.stored:
            return DATABASE
        return "" if path is None else f"{path}:{self.line}" if self.line is not None else str(path)

    def render(self, path: Path | None) -> str:
        """One line for people: "FILE:LINE: KEY: TEXT"."""
        return ": ".join(part for part in (self.place(path), self.key, self.text) if part)


class ConfigError(Exception):
    """The file cannot be used.  `problems` holds all that was found; the text has one line for each."""

    def __init__(self, path: Path | None, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(problem.render(path) for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a configuration was made from; see Config."""

    in_file: Mapping[str, Raw] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    effective: Mapping[str, Raw] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"<Written {len(self.in_file)} in the file, {len(self.stored)} in the database>"


class Config:
    """A loaded configuration; never changed.

    path: the file, or None for the development default.  in_file: what the file says, values as written: dotted keys,
    lists whole, secrets unexpanded.  stored: the settings written through the API that were laid over it, by settings
    key.  written: what both come to, in the form of in_file.  warnings: what is valid but probably not meant.
    """

    def __init__(
        self,
        path: Path | None,
        sections: Mapping[type[Any], Any],
        records: Mapping[type[Any], Mapping[str, Any]],
        written: Written,
        warnings: tuple[Problem, ...] = (),
    ) -> None:
        self.path = path
        self.warnings = warnings
        self._sections = dict(sections)
        self._records = {cls: dict(each) for cls, each in records.items()}
        self._written = written

    def section(self, cls: type[T]) -> T:
        """The values of a section that is no record.  Raises KeyError for a class that was never declared."""
        return cast(T, self._sections[cls])

    def records(self, cls: type[T]) -> dict[str, T]:
        """The records of a section by id, in the order of the file, then of the database."""
        return dict(self._records[cls])

    def flat(self) -> dict[str, Raw]:
        """What file and database say, values as written: dotted keys, lists whole, secrets unexpanded."""
        return dict(self._written.effective)

    @property
    def in_file(self) -> Mapping[str, Raw]:
        """What the file alone says, in the form of `flat`."""
        return self._written.in_file

    @property
    def stored(self) -> Mapping[str, str]:
        """The settings of the database by settings key, the elements of a list each."""
        return self._written.stored

    def changed_keys(self, other: Config) -> list[str]:
        """The dotted keys that `other` writes differently, for the notice of a reload."""
        mine, theirs = self._written.effective, other._written.effective
        return sorted(key for key in mine.keys() | theirs.keys() if _text(mine.get(key)) != _text(theirs.get(key)))

    def with_section(self, value: object) -> Config:
        """A copy in which the section of `value`'s class is `value` (the development default's random secret)."""
        if section_of(type(value)).is_record:
            raise KeyError(type(value).__name__)
        sections = {**self._sections, type(value): value}
        return Config(self.path, sections, self._records, self._written, self.warnings)

    def with_warnings(self, warnings: tuple[Problem, ...]) -> Config:
        """A copy with further warnings."""
        return Config(self.path, self._sections, self._records, self._written, (*self.warnings, *warnings))

    def __repr__(self) -> str:
        return f"<Config {self.path}>"


def _text(value: Raw | None) -> object:
    """A value as the database would write it, so that moving one from the file to there is no change."""
    if isinstance(value, list):
        return [_text(each) for each in value]
    return value if value is None else text_of(value)
