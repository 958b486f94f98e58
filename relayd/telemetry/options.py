"""Options of the views of the events: `tracer.<id>.*`, `tracing.*`, `telemetry.*`, `metrics.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.events.event import Level
from relayd.options import (
    BOOLEAN,
    DURATION,
    REQUIRED,
    SIZE,
    TEXT,
    TEXTS,
    Kind,
    OptionError,
    Raw,
    choice,
    format_duration,
    format_size,
    integer,
    option,
    parse_duration,
    parse_size,
    section,
)

_TYPES = ("log", "stdout", "journal")


def _parse_type(value: Raw) -> str:
    if isinstance(value, str) and value in _TYPES:
        return value
    if value == "webhook":
        raise OptionError('expected one of "log", "stdout", "journal"; a webhook is a record of its own, webhook.<id>')
    raise OptionError("expected one of " + ", ".join(f'"{word}"' for word in _TYPES))


def _at_least(least: float) -> Kind[float]:
    def parse(value: Raw) -> float:
        seconds = parse_duration(value)
        if seconds < least:
            raise OptionError(f"expected a duration of at least {format_duration(least)}")
        return seconds

    return Kind("duration", parse)


def _parse_store_size(value: Raw) -> int:
    octets = parse_size(value)
    if octets < _SMALLEST_STORE:
        raise OptionError(f"expected a size of at least {format_size(_SMALLEST_STORE)}")
    return octets


_SMALLEST_STORE = 4 << 20
LIFETIME = _at_least(60.0)
INTERVAL = _at_least(1.0)
STORE_SIZE = Kind("size", _parse_store_size)

TRACER_TYPE = Kind("one of " + ", ".join(_TYPES), _parse_type)


@section("tracer.<id>", "Where the events are logged. Without any: standard output, and files in <data-dir>/logs.")
@dataclass(frozen=True, slots=True, kw_only=True)
class TracerOptions:
    """`tracer.<id>.*`"""

    type: str = option(
        TRACER_TYPE, REQUIRED, "Files in a directory, standard output, or the systemd journal.", example="log"
    )
    level: str = option(
        choice("error", "warn", "info", "debug", "trace"), "info", "The least severe events that are logged."
    )
    format: str = option(
        choice("text", "json", "postfix"),
        "text",
        "Lines for people, JSON lines, or the lines that Postfix would write, for pflogsumm and fail2ban.",
    )
    path: str | None = option(
        TEXT, None, "Directory of the files (type log). Default: <data-dir>/logs.", example="/var/log/relayd"
    )
    prefix: str = option(TEXT, "relayd", "File names are prefix.date; without rotation the prefix alone.")
    rotate: str = option(
        choice("daily", "hourly", "minutely", "never"), "daily", "When a new file begins (UTC); never: see SIGHUP."
    )
    keep: float = option(DURATION, "14d", "Older files are removed; 0 keeps them.")
    max_size: int = option(SIZE, "1GB", "All files together; the oldest are removed first; 0 sets no bound.")
    pseudonyms: bool = option(
        BOOLEAN,
        False,
        "Write pseudonyms in place of mail addresses: p-...@domain, keyed by <data-dir>/pseudonym.key.",
    )
    disabled_events: tuple[str, ...] = option(
        TEXTS, [], 'Events not logged: ids, or patterns such as "http.*".', example=["smtp.ehlo", "http.*"]
    )

    @property
    def least(self) -> Level:
        """`level` as a value."""
        return Level[self.level.upper()]


@section("tracing.level.<id>", "Levels of events in place of their own, by id: see conf/events.md.")
@dataclass(frozen=True, slots=True, kw_only=True)
class EventLevelOptions:
    """`tracing.level.<event>`"""

    level: str = option(
        choice("error", "warn", "info", "debug", "trace", "disable"),
        REQUIRED,
        "The level; disable: the event is counted, but shown and stored nowhere.",
        key="",
        example="info",
    )


@section("tracing.history", "Stored traces: what happened in each SMTP session and each delivery attempt.")
@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHistoryOptions:
    """`tracing.history.*`"""

    enable: bool = option(BOOLEAN, True, "Store traces, in <data-dir>/telemetry.")
    retention: float = option(LIFETIME, "7d", "Older traces are removed.")
    max_size: int = option(STORE_SIZE, "1GB", "All of them together; the oldest are removed first.")


@section("telemetry.history", "What became of each message, kept after it has left the queue.")
@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHistoryOptions:
    """`telemetry.history.*`"""

    enable: bool = option(BOOLEAN, True, "Keep the history of messages, in <data-dir>/telemetry.")
    retention: float = option(LIFETIME, "30d", "Older history is removed.")
    max_size: int = option(STORE_SIZE, "2GB", "All of it together; the oldest is removed first.")


@section("metrics.history", "Stored history of the metrics, for charts.")
@dataclass(frozen=True, slots=True, kw_only=True)
class MetricHistoryOptions:
    """`metrics.history.*`"""

    enable: bool = option(BOOLEAN, True, "Keep a history of the metrics, in <data-dir>/telemetry.")
    interval: float = option(INTERVAL, "5m", "Between two points; they are taken at whole multiples of it.")
    retention: float = option(LIFETIME, "30d", "Older points are removed.")
    max_size: int = option(STORE_SIZE, "256MB", "All of them together; the oldest are removed first.")


@section("telemetry.alerts", "What an operator must hear of: by event (so by webhook too), and by mail.")
@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOptions:
    """`telemetry.alerts.*`"""

    enable: bool = option(BOOLEAN, True, "Look for what is wrong, and say it once for each cause.")
    mail: bool = option(BOOLEAN, True, "Mail it to server.postmaster too.")
    oldest: float = option(
        LIFETIME, "4h", "Age of the oldest message that waits for a destination from which on it is an alert."
    )
    certificate: float = option(LIFETIME, "14d", "Time before a certificate expires.")
    refusals: int = option(
        integer(1, 1_000_000), 50, "Recipients refused by one provider within ten minutes that may be a wave ..."
    )
    refused_share: int = option(integer(1, 100), 50, "... when they are this many percent of those attempted.")
    every: float = option(INTERVAL, "1m", "Time between two looks; what costs more is looked at less often.")
