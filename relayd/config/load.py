"""Read the configuration: from a file to typed values, or to the list of everything that is wrong with it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relayd.config.checks import check
from relayd.config.configuration import Config, ConfigError, Problem, Written
from relayd.config.development import with_development_admin
from relayd.config.keylines import Path as KeyPath
from relayd.config.keylines import key_lines
from relayd.config.keys import KeyTable, Leaf, gather, is_file_alone
from relayd.config.nearest import explain_unknown
from relayd.config.secrets import expand, late_pointer
from relayd.config.sections import ALL_SECTIONS, DEFAULT_RECORDS, declared
from relayd.mail.options import ServerOptions
from relayd.options import REQUIRED, Option, OptionError, Raw, Section

Parts = tuple[str, ...]

Stored = Callable[[Path], Mapping[str, str]]
"""The settings of the database of a data directory, by settings key."""

FILE_ALONE_TEXT = "is taken from the file alone"

_EXPLAINED = 20
"""Unknown keys whose nearest known one is looked for; there may be thousands, and the search is slow."""


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    classes: tuple[type[Any], ...] = ALL_SECTIONS,
    for_client: bool = False,
    stored: Stored | None = None,
) -> Config:
    """The configuration of the TOML file `path`; None is the development default.

    stored: asked, with the data directory, for the settings written through the API; they are laid over the file.

    environ: where `%{env:NAME}%` looks, the process's own by default.  for_client: only to find the daemon; secrets
    stay as they are written and nothing is looked for on the machine, for the one who asks may see less of it.
    Raises ConfigError with all the errors found, and what `stored` raises; warnings are in the answer.  Reads the file,
    the secrets' files, and looks whether the certificates are there.
    """
    environ = os.environ if environ is None else environ
    text, tree = _read(path)
    loading = _Loading(path, None if for_client else environ, declared(classes), key_lines(text))
    loading.take(tree)
    if stored is not None:
        loading.lay_over(stored(Path(_data_dir(loading.in_file.get("server.data-dir"), environ))))
    if loading.problems:
        raise ConfigError(path, sorted(loading.problems, key=lambda problem: problem.line or 0))
    config = with_data_dir(loading.config(), environ)
    if path is None:
        config = with_development_admin(config)
    if for_client:
        return config
    found = [replace(loading.placed(problem), kind="build") for problem in check(config)]
    errors = [problem for problem in found if problem.fatal]
    if errors:
        raise ConfigError(path, errors)
    return config.with_warnings(tuple(found))


def with_data_dir(config: Config, environ: Mapping[str, str]) -> Config:
    """`config` with an absolute `server.data-dir`; unwritten, it is systemd's StateDirectory where there is one."""
    server = config.section(ServerOptions)
    return config.with_section(replace(server, data_dir=_data_dir(config.in_file.get("server.data-dir"), environ)))


def _data_dir(written: Raw | None, environ: Mapping[str, str]) -> str:
    given = written or environ.get("STATE_DIRECTORY", "").partition(":")[0] or ServerOptions().data_dir
    return os.path.abspath(str(given))


def located(config: Config, error: Exception) -> ConfigError:
    """What a part of the daemon refused of `config` ("KEY: TEXT"), with the place of the key."""
    key, colon, text = str(error).partition(": ")
    if not colon or " " in key:
        return ConfigError(config.path, [Problem("", str(error), kind="build")])
    if any(each == key or each.startswith(key + ".") for each in config.stored):
        return ConfigError(config.path, [Problem(key, text, kind="build", stored=True)])
    line = next((line for at, line in key_lines(_read(config.path)[0]).items() if dotted(at) == key), None)
    return ConfigError(config.path, [Problem(key, text, line, kind="build")])


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
    """The state of one load: what was found for each section so far.  environ: None leaves secrets as written."""

    path: Path | None
    environ: Mapping[str, str] | None
    sections: tuple[Section, ...]
    lines: dict[KeyPath, int]
    problems: list[Problem] = field(default_factory=list)
    in_file: dict[str, Raw] = field(default_factory=dict)
    values: dict[tuple[str, str | None], dict[str, Raw]] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    laid_over: dict[str, Leaf] = field(default_factory=dict)
    over: dict[tuple[str, str | None], dict[str, Raw]] = field(default_factory=dict)
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
        self.in_file[dotted(path)] = value
        try:
            value = self._expanded(option, value)
            option.kind.parse(value)
        except OptionError as error:
            self.problems.append(self._misfit(path, option, value, error))
        else:
            self.values.setdefault((section.prefix, record), {})[option.key] = value

    def _expanded(self, option: Option, value: Any) -> Any:
        """A secret with its pointers replaced.  Raises OptionError."""
        if not option.secret or not isinstance(value, str) or self.environ is None:
            return value
        directory = self.path.parent if self.path is not None else Path()
        if option.kind.is_late and (pointer := late_pointer(value, directory)) is not None:
            return pointer
        return expand(value, self.environ, directory)

    def lay_over(self, stored: Mapping[str, str]) -> None:
        """Lay the settings of the database over what the file says, or note what is wrong with them."""
        self.stored = dict(stored)
        table = KeyTable(self.sections)
        leaves, unknown = gather(stored, table)
        for number, text in enumerate(unknown):
            reason = FILE_ALONE_TEXT if is_file_alone(text) else ""
            explained = reason or (table.explain(text) if number < _EXPLAINED else "unknown key")
            self.problems.append(Problem(text, explained, stored=True))
        for leaf in leaves:
            if is_file_alone(leaf.key.name):
                self.problems.append(Problem(leaf.key.name, FILE_ALONE_TEXT, stored=True))
                continue
            self.laid_over[leaf.key.name] = leaf
            self._take_leaf(leaf)

    def _take_leaf(self, leaf: Leaf) -> None:
        option, value = leaf.key.option, leaf.raw
        try:
            value = self._expanded(option, value)
            option.kind.parse(value)
        except OptionError as error:
            at, text = misfit(option, value, error)
            self.problems.append(Problem(leaf.keys[at or 0], text, kind=_kind(option, leaf.raw), stored=True))
        else:
            self.over.setdefault((leaf.key.section.prefix, leaf.key.record), {})[option.key] = value

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
        at, text = misfit(option, value, error)
        line = self._line(path if at is None else (*path, at))
        return Problem(dotted(path), text, line, kind=_kind(option, value))

    def config(self) -> Config:
        """Typed values of all sections.  What cannot be built is noted, and raised as one ConfigError."""
        singles: dict[type[Any], Any] = {}
        records: dict[type[Any], dict[str, Any]] = {}
        for section in self.sections:
            if not section.is_record:
                place = (section.prefix, None)
                merged = {**self.values.get(place, {}), **self.over.get(place, {})}
                singles[section.type] = self._build(section, None, merged)
                continue
            found = {
                str(record): dict(values)
                for (prefix, record), values in self.values.items()
                if prefix == section.prefix
            }
            if not found and section.prefix not in self.emptied:
                found = {id: dict(values) for id, values in DEFAULT_RECORDS.get(section.prefix, {}).items()}
            for (prefix, record), values in self.over.items():
                if prefix == section.prefix:
                    found.setdefault(str(record), {}).update(values)
            records[section.type] = {record: self._build(section, record, values) for record, values in found.items()}
        if self.problems:
            raise ConfigError(self.path, self.problems)
        effective = {**self.in_file, **{name: leaf.raw for name, leaf in self.laid_over.items()}}
        written = Written(in_file=self.in_file, stored=self.stored, effective=effective)
        return Config(self.path, singles, records, written)

    def _build(self, section: Section, record: str | None, values: Mapping[str, Raw]) -> Any:
        table = section.prefix if record is None else section.prefix.replace("<id>", record)
        missing = [each for each in section.options if each.default is REQUIRED and each.key not in values]
        known = {option.key for option in section.options}
        for option in missing:
            text = f"is missing: {option.doc} Expected a {option.kind.name}"
            self.problems.append(self.placed(Problem(f"{table}.{option.key}", text, kind="build"), table))
        if missing:
            return None
        try:
            return section.build({key: value for key, value in values.items() if key in known})
        except (OptionError, ValueError) as error:  # what the dataclass itself checks between its fields
            key, colon, text = str(error).partition(": ")
            named = bool(colon) and key in known
            where, why = (f"{table}.{key}", text) if named else (table, str(error))
            self.problems.append(self.placed(Problem(where, why, kind="build")))
            return None

    def placed(self, problem: Problem, table: str | None = None) -> Problem:
        """`problem` with its place: the database, or the line of its key or of the nearest table that is written.

        table: whose line to take when the key itself is missing.
        """
        if problem.line is not None or problem.stored:
            return problem
        if problem.key in self.laid_over:
            return replace(problem, stored=True)
        best: int | None = None
        longest = 0
        key = table or problem.key
        for path, line in self.lines.items():
            name = dotted(path)
            if (key == name or key.startswith(name + ".")) and len(name) > longest:
                best, longest = line, len(name)
        above = key if table is not None else key.rpartition(".")[0]
        without_line = longest < len(above) and above not in self._singles
        if without_line and any(name == above or name.startswith(above + ".") for name in self.laid_over):
            return replace(problem, stored=True)
        return replace(problem, line=best)

    @property
    def _singles(self) -> set[str]:
        return {section.prefix for section in self.sections if not section.is_record}

    def _line(self, path: KeyPath) -> int | None:
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def _at(self, path: Parts, text: str) -> Problem:
        return Problem(dotted(path), text, self._line(path))


def misfit(option: Option, value: Any, error: OptionError) -> tuple[int | None, str]:
    """Why `value` does not fit, with the value unless it is secret; of a list, which element is to blame."""
    place, culprit = None, value
    if option.kind.is_list and isinstance(value, list):
        for number, item in enumerate(value):
            try:
                option.kind.parse([item])
            except OptionError as element_error:
                place, culprit, error = number, item, element_error
                break
    text = str(error)
    if not option.secret and not isinstance(culprit, list | dict):
        text += f", not {_written(culprit)}"
    return place, text


def _kind(option: Option, value: Any) -> str:
    return "macro" if option.secret and isinstance(value, str) and "%{" in value else "parse"


def _written(value: Any) -> str:
    """A value as TOML writes it, cut short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + '..."'
