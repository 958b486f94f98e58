"""Write `conf/relayd.toml` from the declared options: `python -m relayd.config.generate > conf/relayd.toml`.

Every option stands there commented out, with its documentation, its kind and its default.  A line that starts with "#"
and no blank after it becomes a setting when the "#" is taken away; the file is valid TOML with none, some, or all of
them taken away.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from relayd.config.sections import ALL_SECTIONS, DEFAULT_RECORDS, declared
from relayd.options import (
    BOOLEAN,
    DURATION,
    DURATIONS,
    NETWORK,
    NETWORKS,
    REQUIRED,
    SIZE,
    TEXT,
    TEXTS,
    Option,
    Raw,
    Section,
)

_HEAD = """\
# relayd.toml: every option of relayd, with its default.
#
# Lines that start with "#" and no blank are settings that are not set: take the "#" away to set one.  Durations are
# written "90s", "5m", "2d"; sizes "64KB", "25MB" (1 MB is 1,048,576 octets); lists are arrays.  A secret may be written
# "%{env:NAME}%" or "%{file:PATH}%".  Tables named `something.<id>` may be repeated, each with an id of its own; an id
# that holds dots must be in quotes.
#
# `relayd check --config FILE` says what is wrong with a file, and SIGHUP makes the daemon read it again.
# This file is generated from the declarations of the options.
"""

_WIDTH = 118

_SAMPLES: tuple[tuple[Any, Raw], ...] = (
    (TEXT, "text"),
    (TEXTS, ["text"]),
    (BOOLEAN, False),
    (DURATION, "1m"),
    (DURATIONS, ["1m"]),
    (SIZE, "1MB"),
    (NETWORK, "192.0.2.0/24"),
    (NETWORKS, ["192.0.2.0/24"]),
)
"""What to show of an option that has neither default nor example."""

_IDS = {
    "account.<id>": "app",
    "certificate.<id>": "main",
    "queue.outbound.domain.<id>": "example.net",
    "queue.outbound.tls.domain.<id>": "example.net",
    "queue.route.<id>": "smarthost",
    "queue.rule.<id>": "news",
    "queue.source.<id>": "out7",
    "queue.source-pool.<id>": "bulk",
    "server.listener.<id>": "smtp",
    "signature.<id>": "rsa-example.org",
    "tracer.<id>": "log",
    "webhook.<id>": "hook",
}


def render(classes: Iterable[type[Any]] = ALL_SECTIONS) -> str:
    """The text of the file."""
    parts = [_HEAD]
    written: set[str] = set()
    for section in declared(tuple(classes)):
        if section.is_record:
            parts.append(_records(section))
        else:
            parts += _tables(section, declared(tuple(classes)), written)
    return "\n".join(parts)


def _tables(section: Section, sections: tuple[Section, ...], written: set[str]) -> list[str]:
    """The tables that `section` has options in, each with the options of all sections: TOML wants a table once."""
    blocks = []
    for table in dict.fromkeys(_table(section, option) for option in section.options):
        if table in written:
            continue
        written.add(table)
        sharing = [each for each in sections if not each.is_record and table in {_table(each, o) for o in each.options}]
        lines = []
        for doc in dict.fromkeys(each.doc for each in sharing):
            lines += _comment(doc)
        lines.append(f"[{table}]")
        for each in sharing:
            for option in each.options:
                if _table(each, option) == table:
                    lines += _setting(_full_key(each, option).rpartition(".")[2], option, _shown(option))
        blocks.append("\n".join(lines) + "\n")
    return blocks


def _records(section: Section) -> str:
    lines = _comment(section.doc)
    if any(option.key == "" for option in section.options):
        option = section.options[0]
        lines.append(f"#[{section.prefix.removesuffix('.<id>')}]")
        return "\n".join([*lines, *_setting(_quoted(_id(section)), option, _shown(option))]) + "\n"
    presets = DEFAULT_RECORDS.get(section.prefix, {})
    if presets:
        names = " and ".join(f'"{name}"' for name in presets)
        lines += _comment(f"Records {names} are there by default; one that is written replaces them all.")
    for name, values in (presets or {_id(section): {}}).items():
        lines.append(f"#[{section.prefix.replace('<id>', _quoted(name))}]")
        for option in section.options:
            if not _is_repeated(name, presets):
                lines += _setting(option.key, option, values.get(option.key, _shown(option)))
            elif option.key in values:
                lines.append(f"#{option.key} = {_toml(values[option.key])}")
        lines.append("")
    return "\n".join(lines)


def _is_repeated(name: str, presets: Iterable[str]) -> bool:
    """Whether the record `name` is a further one of the presets: its options were documented with the first."""
    return name not in list(presets)[:1] and bool(list(presets))


def _setting(name: str, option: Option, value: Raw) -> list[str]:
    default = "required" if option.default is REQUIRED else f"default {_default(option)}"
    return [*_comment(option.doc), *_comment(f"({option.kind.name}; {default})"), f"#{name} = {_toml(value)}"]


def _default(option: Option) -> str:
    return "not set" if option.default is None else _toml(option.default)


def _shown(option: Option) -> Raw:
    """The value to write: the example, else the default, else a sample of its kind."""
    if option.example is not None:
        return option.example
    if option.default is not REQUIRED and option.default is not None:
        default: Raw = option.default
        return default
    for kind, sample in _SAMPLES:
        if option.kind is kind:
            return sample
    return _first_word(option)


def _first_word(option: Option) -> Raw:
    """A value for a kind that is made by a function: the first word of a choice, the least of a range."""
    words = option.kind.name.removeprefix("one of ").split(", ")
    return 1 if option.kind.name == "integer" else words[0]


def _full_key(section: Section, option: Option) -> str:
    return f"{section.prefix}.{option.key}"


def _table(section: Section, option: Option) -> str:
    return _full_key(section, option).rpartition(".")[0]


def _id(section: Section) -> str:
    return _IDS.get(section.prefix, "example")


def _quoted(id: str) -> str:
    return id if re.fullmatch(r"[A-Za-z0-9_-]+", id) else f'"{id}"'


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _toml(value: Raw) -> str:
    """A value in TOML; JSON writes texts, numbers, booleans and arrays of them in the same way."""
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(render())
