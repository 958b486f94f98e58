"""How an option of the configuration is declared: type, default, unit, documentation, secret or not.

Each package declares its options once, as frozen dataclasses in its own `options.py`::

    @section("queue.schedule", "When deferred mail is tried again, and when it is given up.")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class ScheduleOptions:
        retry: tuple[float, ...] = option(DURATIONS, ["2m", "5m"], "Delays between attempts; the last repeats.")

A field `max_connections` is the key `max-connections`; `option(..., key="tls.implicit")` names another.  A section
whose prefix ends in `.<id>` is a set of records: one instance for each id.  The key "" of a record is the id's own
value (`queue.outbound.domain."example.org" = "smarthost"`).  Values are given here as they are written
in TOML (`"5m"`), and parsed by the option's `Kind`, so that the generated `conf/relayd.toml` and the error messages
come from the same words.  Pure: reads no file, no clock.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Raw = str | int | float | bool | list[Any] | dict[str, Any]

REQUIRED = object()
"""The default of an option that has none."""


class OptionError(ValueError):
    """A value does not fit its option; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of value: its name for people, and how a TOML value is read.

    `parse` takes the TOML value and returns the typed one, or raises OptionError("expected ...").
    `is_list` tells that the value is a TOML array (settings keys `name.0000`, `name.0001` ...).  `is_late` tells that
    a secret which is nothing but `%{file:PATH}%` is left so, with an absolute PATH: who uses it reads the file.
    """

    name: str
    parse: Callable[[Raw], T]
    is_list: bool = False
    is_late: bool = False


_LONGEST_NUMBER = 40
"""Characters of a number with its unit: settings come from the network too, and int() of many digits is slow."""

_LONGEST_DURATION = 36500 * 86400.0
"""Seconds; what is added to the time of day must stay a time of day."""

_LARGEST_SIZE = 1 << 60

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


def parse_duration(value: Raw) -> float:
    """Seconds from "5m", "1h30m" or "0"; units ms s m h d w."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        text = value.strip()
        if text == "0":
            return 0.0
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", text, re.ASCII)
        if parts and re.fullmatch(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)\s*)+", text, re.ASCII):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
            if seconds > _LONGEST_DURATION:
                raise OptionError("expected a duration of at most 36500d")
            return seconds
    raise OptionError('expected a duration such as "90s", "5m" or "2d"')


def format_duration(seconds: float) -> str:
    """The shortest exact writing of a duration: 7200 -> "2h", 5400 -> "90m"."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds / _UNITS[unit])}{unit}"
    return "0" if not seconds else f"{int(seconds * 1000)}ms"


def parse_size(value: Raw) -> int:
    """Octets from "25MB" (1 MB = 1,048,576) or a bare integer."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SIZE:
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)?", value.strip().upper(), re.ASCII)
        if match and (octets := int(float(match[1]) * _SIZES[match[2] or ""])) <= _LARGEST_SIZE:
            return octets
    raise OptionError('expected a size such as "64KB", "25MB" or "1GB"')


def format_size(octets: int) -> str:
    """The shortest exact writing of a size: 1048576 -> "1MB"."""
    for unit in ("TB", "GB", "MB", "KB"):
        if octets and octets % _SIZES[unit] == 0:
            return f"{octets // _SIZES[unit]}{unit}"
    return str(octets)


def parse_network(value: Raw) -> Network:
    """A network "192.0.2.0/24" or a single address."""
    if isinstance(value, str):
        try:
            return ipaddress.ip_network(value.strip(), strict=False)
        except ValueError:
            pass
    raise OptionError('expected an address or network such as "192.0.2.0/24" or "2001:db8::/32"')


def _parse_text(value: Raw) -> str:
    if isinstance(value, str):
        return value
    raise OptionError("expected a text in quotes")


def _parse_boolean(value: Raw) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):  # settings written through the API are strings
        return value == "true"
    raise OptionError("expected true or false")


def integer(low: int = 0, high: int = 2**53) -> Kind[int]:
    """A whole number between `low` and `high`, both allowed."""

    def parse(value: Raw) -> int:
        if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and re.fullmatch(r"-?\d+", value, re.ASCII):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise OptionError(f"expected a whole number from {low} to {high}")

    return Kind("integer", parse)


def choice(*words: str) -> Kind[str]:
    """One of the given words."""

    def parse(value: Raw) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise OptionError("expected one of " + ", ".join(f'"{word}"' for word in words))

    return Kind("one of " + ", ".join(words), parse)


def list_of(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A TOML array of values of `kind`; a bare value is a list of one."""

    def parse(value: Raw) -> tuple[T, ...]:
        return tuple(kind.parse(item) for item in (value if isinstance(value, list) else [value]))

    return Kind(f"list of {kind.name}", parse, is_list=True)


TEXT = Kind("text", _parse_text)
BOOLEAN = Kind("boolean", _parse_boolean)
DURATION = Kind("duration", parse_duration)
SIZE = Kind("size", parse_size)
NETWORK = Kind("network", parse_network)
TEXTS = list_of(TEXT)
DURATIONS = list_of(DURATION)
NETWORKS = list_of(NETWORK)
PORT = integer(1, 65535)


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of one key: everything that the loader, the generated file and `/api/settings` need."""

    field: str
    key: str
    kind: Kind[Any]
    default: Any
    doc: str
    secret: bool
    example: Raw | None
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A dataclass of options and where its keys live."""

    prefix: str
    doc: str
    type: type[Any]
    options: tuple[Option, ...]

    @property
    def is_record(self) -> bool:
        """Whether there is one instance for each `<id>`."""
        return self.prefix.endswith(".<id>")

    def build(self, values: Mapping[str, Raw]) -> Any:
        """An instance from TOML values by key (relative to the prefix); missing ones take their default.

        Raises OptionError with the key in front when a value does not fit or a required one is missing.
        """
        fields: dict[str, Any] = {}
        for each in self.options:
            raw = values.get(each.key, each.default)
            if raw is REQUIRED:
                raise OptionError(f"{each.key}: is required")
            if raw is None:
                fields[each.field] = None
                continue
            try:
                fields[each.field] = each.kind.parse(raw)
            except OptionError as error:
                raise OptionError(f"{each.key}: {error}") from None
        return self.type(**fields)


def text_of(raw: Raw) -> str:
    """A value of the file as the text that a setting is: "25MB" as it is, true as "true", 25 as "25"."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(raw)


def option(
    kind: Kind[Any],
    default: Any,
    doc: str,
    *,
    key: str | None = None,
    secret: bool = False,
    hashed: bool = False,
    example: Raw | None = None,
) -> Any:
    """Declare one option as a dataclass field.

    `default` is written as in TOML, None for "not set" (the field is then None), or REQUIRED.  `example` is shown in
    the generated file where the default would teach nothing.  secret: masked wherever it is shown, and in no repr.
    hashed: only compared with what somebody sends, so a plain one that comes through the API is stored as its hash.
    """
    metadata = {"option": (kind, default, doc, key, secret, example, hashed)}
    if default is REQUIRED:
        return dataclasses.field(metadata=metadata, repr=not secret)
    value = None if default is None else kind.parse(default)
    return dataclasses.field(default=value, metadata=metadata, repr=not secret)


_SECTIONS: dict[type[Any], Section] = {}


def section(prefix: str, doc: str) -> Callable[[type[T]], type[T]]:
    """Class decorator (above @dataclass): the keys of this dataclass live under `prefix`."""

    def register(cls: type[T]) -> type[T]:
        options = []
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            kind, default, text, key, secret, example, hashed = field.metadata["option"]
            options.append(
                Option(
                    field=field.name,
                    key=field.name.rstrip("_").replace("_", "-") if key is None else key,
                    kind=kind,
                    default=default,
                    doc=text,
                    secret=secret,
                    example=example,
                    hashed=hashed,
                )
            )
        _SECTIONS[cls] = Section(prefix=prefix, doc=doc, type=cls, options=tuple(options))
        return cls

    return register


def section_of(cls: type[Any]) -> Section:
    """The section that a dataclass was declared as."""
    return _SECTIONS[cls]
