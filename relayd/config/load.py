"""Read the configuration: from a file to typed values, or to the list of everything that is wrong with it."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relayd.config.checks import check
from relayd.config.configuration import Config, ConfigError, Problem
from relayd.config.development import with_development_admin
from relayd.config.keylines import Path as KeyPath
from relayd.config.keylines import key_lines
from relayd.config.nearest import explain_unknown
from relayd.config.secrets import expand
from relayd.config.sections import ALL_SECTIONS, DEFAULT_RECORDS, declared
from relayd.mail.options import ServerOptions
from relayd.options import REQUIRED, Option, OptionError, Raw, Section

Parts = tuple[str, ...]


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    classes: tuple[type[Any], ...] = ALL_SECTIONS,
) -> Config:
    """The configuration of the TOML file `path`; None is the development default.

    environ: where `%{env:NAME}%` looks, the process's own by default.  Raises ConfigError with all the errors found;
    warnings are in the answer.  Reads the file, the secrets' files, and looks whether the certificates are there.
    """
    environ = os.environ if environ is None else environ
    text, tree = _read(path)
    loading = _Loading(path, environ, declared(classes), key_lines(text))
    loading.take(tree)
    if loading.problems:
        raise ConfigError(path, sorted(loading.problems, key=lambda problem: problem.line or 0))
    config = with_data_dir(loading.config(), environ)
    if path is None:
        config = with_development_admin(config)
    found = [loading.placed(problem) for problem in check(config)]
    errors = [problem for problem in found if problem.fatal]
    if errors:
        raise ConfigError(path, errors)
    return config.with_warnings(tuple(found))


def with_data_dir(config: Config, environ: Mapping[str, str]) -> Config:
    """`config` with an absolute `server.data-dir`; unwritten, it is systemd's StateDirectory where there is one."""
    server = config.section(ServerOptions)
    given = config.flat().get("server.data-dir") or environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return config.with_section(dataclasses.replace(server, data_dir=os.path.abspath(str(given or server.data_dir))))


def located(path: Path | None, error: OptionError) -> ConfigError:
    """What a part of the daemon refused ("KEY: TEXT") as an error of the file, with the line of the key."""
    key, _, text = str(error).partition(": ")
    line = next((line for at, line in key_lines(_read(path)[0]).items() if dotted(at) == key), None)
    return ConfigError(path, [Problem(key, text, line)])


def _read(path: Path | None) -> tuple[str, dict[str, Any]]:
    if path is None:
        return "", {}
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, [Problem("", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(path, [Problem("", "is not UTF-8", line)]) from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        last = text.rstrip("\n").count("\n") + 1
        line = int(match[1]) if match and match[1] else last
        reason = str(error)[: match.start()] if match else str(error)
        raise ConfigError(path, [Problem("", f"TOML syntax: {reason}", line)]) from None
    except RecursionError:
        raise ConfigError(path, [Problem("", "TOML syntax: nested too deeply")]) from None


def flatten(tree: Mapping[str, Any], path: Parts = ()) -> list[tuple[Parts, Any]]:
    """The leaves of nested tables by path, in order; an empty table is a leaf of its own."""
    leaves: list[tuple[Parts, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            leaves += flatten(value, (*path, key))
        else:
            leaves.append(((*path, key), value))
    return leaves


def dotted(path: Sequence[str | int]) -> str:
    """The settings key of a path: parts joined with dots, a record id as it is."""
    return ".".join(str(part) for part in path)


@dataclass
class _Loading:
    """The state of one load: what was found for each section so far."""

    path: Path | None
    environ: Mapping[str, str]
    sections: tuple[Section, ...]
    lines: dict[KeyPath, int]
    problems: list[Problem] = field(default_factory=list)
    written: dict[str, Raw] = field(default_factory=dict)
    values: dict[tuple[str, str | None], dict[str, Raw]] = field(default_factory=dict)
    emptied: set[str] = field(default_factory=set)

    def take(self, tree: Mapping[str, Any]) -> None:
        """Sort every leaf of `tree` into its section, or note what is wrong with it."""
        for path, value in flatten(tree):
            matched = self._match(path)
            if matched is not None:
                section, record, option = matched
                self._take_value(path, section, record, option, value)
            elif value == {}:
                self._take_empty_table(path)
            else:
                self.problems.append(self._at(path, explain_unknown(path, value, self.sections)))

    def _match(self, path: Parts) -> tuple[Section, str | None, Option] | None:
        for section in self.sections:
            prefix = tuple(section.prefix.removesuffix(".<id>").split("."))
            rest = path[len(prefix) :]
            if path[: len(prefix)] != prefix or not rest:
                continue
            for option in section.options:
                if not section.is_record:
                    if dotted(rest) == option.key:
                        return section, None, option
                elif option.key == "":
                    return section, dotted(rest), option
                elif len(rest) > 1 and dotted(rest[1:]) == option.key:
                    return section, rest[0], option
        return None

    def _take_value(self, path: Parts, section: Section, record: str | None, option: Option, value: Any) -> None:
        self.written[dotted(path)] = value
        try:
            if option.secret and isinstance(value, str):
                directory = self.path.parent if self.path is not None else Path()
                value = expand(value, self.environ, directory)
            option.kind.parse(value)
        except OptionError as error:
            self.problems.append(self._misfit(path, option, value, error))
        else:
            self.values.setdefault((section.prefix, record), {})[option.key] = value

    def _take_empty_table(self, path: Parts) -> None:
        """A table without keys is a record with its defaults, or says nothing."""
        for section in self.sections:
            prefix = tuple(section.prefix.removesuffix(".<id>").split("."))
            if section.is_record and path[:-1] == prefix:
                self.values.setdefault((section.prefix, path[-1]), {})
                return
            if section.is_record and path == prefix:
                self.emptied.add(section.prefix)
                return
            inside = [section.prefix] if section.is_record else [f"{section.prefix}.{o.key}" for o in section.options]
            if any(key.startswith(dotted(path) + ".") for key in inside):
                return
        self.problems.append(self._at(path, explain_unknown(path, {}, self.sections)))

    def _misfit(self, path: Parts, option: Option, value: Any, error: OptionError) -> Problem:
        """The problem of a value; of a list, the line of the element that does not fit."""
        place: KeyPath = path
        culprit = value
        if option.kind.is_list and isinstance(value, list):
            for number, item in enumerate(value):
                try:
                    option.kind.parse([item])
                except OptionError as element_error:
                    place, culprit, error = (*path, number), item, element_error
                    break
        text = str(error)
        if not option.secret and not isinstance(culprit, list | dict):
            text += f", not {_written(culprit)}"
        return Problem(dotted(path), text, self._line(place))

    def config(self) -> Config:
        """Typed values of all sections.  What cannot be built is noted, and raised as one ConfigError."""
        singles: dict[type[Any], Any] = {}
        records: dict[type[Any], dict[str, Any]] = {}
        for section in self.sections:
            if not section.is_record:
                singles[section.type] = self._build(section, None, self.values.get((section.prefix, None), {}))
                continue
            found: Mapping[str | None, Mapping[str, Raw]] = {
                record: values for (prefix, record), values in self.values.items() if prefix == section.prefix
            }
            presets = {} if section.prefix in self.emptied else DEFAULT_RECORDS.get(section.prefix, {})
            wanted = found or presets
            records[section.type] = {
                str(record): self._build(section, str(record), values) for record, values in wanted.items()
            }
        if self.problems:
            raise ConfigError(self.path, self.problems)
        return Config(self.path, singles, records, self.written)

    def _build(self, section: Section, record: str | None, values: Mapping[str, Raw]) -> Any:
        table = section.prefix if record is None else section.prefix.replace("<id>", record)
        missing = [each for each in section.options if each.default is REQUIRED and each.key not in values]
        known = {option.key for option in section.options}
        for option in missing:
            text = f"is missing: {option.doc} Expected a {option.kind.name}"
            self.problems.append(self.placed(Problem(f"{table}.{option.key}", text), table))
        if missing:
            return None
        try:
            return section.build({key: value for key, value in values.items() if key in known})
        except (OptionError, ValueError) as error:  # what the dataclass itself checks between its fields
            self.problems.append(self.placed(Problem(table, str(error)), table))
            return None

    def placed(self, problem: Problem, table: str | None = None) -> Problem:
        """`problem` with the line of its key, or of the nearest table around it that is written."""
        if problem.line is not None:
            return problem
        best: int | None = None
        longest = 0
        for path, line in self.lines.items():
            name = dotted(path)
            key = table or problem.key
            if (key == name or key.startswith(name + ".")) and len(name) > longest:
                best, longest = line, len(name)
        return Problem(problem.key, problem.text, best, problem.fatal)

    def _line(self, path: KeyPath) -> int | None:
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def _at(self, path: Parts, text: str) -> Problem:
        return Problem(dotted(path), text, self._line(path))


def _written(value: Any) -> str:
    """A value as TOML writes it, cut short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + '..."'
