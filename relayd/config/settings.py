"""The daemon's settings: file and database together, listed, changed, and loaded anew.

One owner, one change at a time.  A change is drafted (`changes`), the configuration that it would lead to is loaded
from the file as it stands now and built as a start would build it, and only then stored: what the API took, a start
takes.  Nothing takes effect here; the daemon calls `load` when it reloads.

A change that only removes is allowed in a configuration that is wrong already, as long as it makes nothing worse: so
wrong values can be taken away one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from relayd.config.changes import MASK, carry_out, joined
from relayd.config.configuration import DATABASE, DEFAULT, FILE, Config, ConfigError, Problem
from relayd.config.keys import Key, KeyTable, flattened, gather
from relayd.config.load import load
from relayd.config.places import data_directory
from relayd.config.sections import ALL_SECTIONS, DEFAULT_RECORDS, declared
from relayd.config.store import SettingsStore
from relayd.control.api.settings import Insert, Operation, Setting, SettingsRefused, SettingsUnavailable
from relayd.database.interface import DatabaseError
from relayd.directory.password import MAX_SECRET, hash_secret, is_hash, unmarked
from relayd.options import REQUIRED, Raw, Section

MAX_HASHED = 100
"""Plain secrets in one change: hashing each takes tens of milliseconds."""

Build = Callable[[Config], object]
"""Builds what the daemon makes of a configuration and throws it away.  Raises ConfigError."""


class Settings:
    """See OwnerOfSettings.  config: what is in force; the daemon sets it after a reload."""

    def __init__(self, store: SettingsStore, config: Config, build: Build) -> None:
        self.store = store
        self.config = config
        self._build = build
        self._table = KeyTable(declared(ALL_SECTIONS))
        self._changing = asyncio.Lock()
        self._shown: dict[bool, tuple[object, object, Mapping[str, Setting]]] = {}

    async def load(self) -> Config:
        """The configuration that file and database make now.  Raises ConfigError."""
        return await asyncio.to_thread(self._load, self.store.values)

    def _load(self, stored: Mapping[str, str]) -> Config:
        return load(self.config.path, stored=lambda directory: stored)

    async def listed(self, *, defaults: bool) -> Mapping[str, Setting]:
        """See OwnerOfSettings.  Made off the loop, and kept until something changes: there may be thousands."""
        stored, config = self.store.values, self.config
        kept = self._shown.get(defaults)
        if kept is None or kept[0] is not stored or kept[1] is not config:
            shown = await asyncio.to_thread(self._list, stored, config, defaults)
            kept = self._shown[defaults] = (stored, config, shown)
        return kept[2]

    def _list(self, stored: Mapping[str, str], config: Config, defaults: bool) -> dict[str, Setting]:
        names = {leaf.key.name for leaf in gather(stored, self._table)[0]}
        found: dict[str, Setting] = {}
        overruled: dict[str, Setting] = {}
        for name, raw in config.in_file.items():
            key = self._table.find(name)
            if key is not None:
                (overruled if name in names else found).update(_masked(key, raw, FILE))
        for text, value in stored.items():
            key = self._table.find(text)
            beneath = overruled[text].value if text in overruled else None
            found[text] = Setting(MASK if key is None or key.option.secret else value, DATABASE, beneath)
        if defaults:
            for key, raw in self._defaults(config, names | config.in_file.keys()):
                found |= _masked(key, raw, DEFAULT)
        return found

    def _defaults(self, config: Config, names: Iterable[str]) -> Iterable[tuple[Key, Raw]]:
        """What is not set, of sections and of every record that there is."""
        set_ = frozenset(names)
        ids = self._ids(set_)
        before = self._ids(leaf.key.name for leaf in gather(config.stored, self._table)[0])
        for section in self._table.sections:
            records: Iterable[str | None] = [None]
            if section.is_record:
                # Of some records nothing is written: those that are there by default, and empty tables of the file.
                unwritten = config.records(section.type).keys() - before.get(section.prefix, set())
                records = sorted(ids.get(section.prefix, set()) | unwritten)
            for record in records:
                for key, raw in _defaults_of(section, record, set_):
                    yield key, str(data_directory(config)) if key.name == "server.data-dir" else raw

    def _ids(self, names: Iterable[str]) -> dict[str, set[str]]:
        """The ids of the records that keys belong to, by prefix of their section."""
        ids: dict[str, set[str]] = {}
        for name in names:
            key = self._table.find(name)
            if key is not None and key.record is not None:
                ids.setdefault(key.section.prefix, set()).add(key.record)
        return ids

    async def change(self, operations: Sequence[Operation]) -> Sequence[str]:
        """See OwnerOfSettings.  One that is begun is ended, whoever stops waiting for it."""
        return await asyncio.shield(asyncio.ensure_future(self._change(operations)))

    async def _change(self, operations: Sequence[Operation]) -> Sequence[str]:
        async with self._changing:
            before = self.store.values
            after = await asyncio.to_thread(self._drafted, operations, before)
            changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            if changed:
                try:
                    await self.store.replace(after)
                except DatabaseError as error:
                    raise SettingsUnavailable(str(error)) from error
            return changed

    def _drafted(self, operations: Sequence[Operation], before: Mapping[str, str]) -> dict[str, str]:
        """What to store.  Blocks.  Raises AssertFailed, SettingsRefused."""
        after = carry_out(operations, before, self._file_now(), self._table)
        if after == before:
            return after
        problems = self._problems(after)
        adds = any(isinstance(each, Insert) for each in operations)
        if problems and not adds:
            known = {(each.key, each.text) for each in self._problems(before)}
            problems = [each for each in problems if (each.key, each.text) not in known]
        if problems:
            raise SettingsRefused(joined(_reason(each, self.config) for each in problems))
        return self._hashed(before, after)

    def _file_now(self) -> dict[str, str]:
        """What the file says, by settings key, secrets too."""
        found: dict[str, str] = {}
        for name, raw in self.config.in_file.items():
            key = self._table.find(name)
            if key is not None:
                found.update(flattened(key, raw))
        return found

    def _problems(self, stored: Mapping[str, str]) -> list[Problem]:
        try:
            self._build(self._load(stored))
        except ConfigError as error:
            return error.problems
        return []

    def _hashed(self, before: Mapping[str, str], after: dict[str, str]) -> dict[str, str]:
        """`after` with the plain secrets hashed that are only ever compared."""
        plain = []
        for text, value in after.items():
            key = self._table.find(text)
            if key is None or not key.option.hashed or not value or value == before.get(text):
                continue
            if is_hash(value) or "%{" in value:
                continue
            if len(value.encode()) > MAX_SECRET:
                raise SettingsRefused(f"{text}: expected a secret of at most {MAX_SECRET} octets")
            plain.append(text)
        if len(plain) > MAX_HASHED:
            raise SettingsRefused(f"expected at most {MAX_HASHED} plain secrets in one change, not {len(plain)}")
        return {**after, **{text: hash_secret(unmarked(after[text])) for text in plain}}


def findings(problems: Iterable[Problem], config: Config) -> dict[str, dict[str, str]]:
    """Problems as a reload answers them: by key, each with its type and text; several of one key in one text."""
    found: dict[str, dict[str, str]] = {}
    for problem in problems:
        key = problem.key or str(config.path or "")
        text = ": ".join(part for part in (problem.place(config.path), problem.text) if part)
        if key in found:
            text = f"{found[key]['error']}; {text}"
        found[key] = {"type": problem.kind, "error": text}
    return found


def _masked(key: Key, raw: Raw, source: str) -> dict[str, Setting]:
    secret = key.option.secret
    return {text: Setting(MASK if secret and value else value, source) for text, value in flattened(key, raw)}


def _reason(problem: Problem, config: Config) -> str:
    """A problem for whoever asked for the change: what is in the database is what they wrote."""
    return f"{problem.key}: {problem.text}" if problem.stored else problem.render(config.path)


def _defaults_of(section: Section, record: str | None, set_: frozenset[str]) -> Iterable[tuple[Key, Raw]]:
    """The defaults of what is not set of a section or record."""
    prefix = section.prefix if record is None else section.prefix.replace("<id>", record)
    presets = DEFAULT_RECORDS.get(section.prefix, {}).get(record or "", {})
    for option in section.options:
        name = f"{prefix}.{option.key}".removesuffix(".")
        raw = presets.get(option.key, option.default)
        if name not in set_ and raw is not None and raw is not REQUIRED:
            yield Key(name, section, record, option), raw
