"""Options of the logs: `tracer.<id>.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.events.event import Level
from relayd.options import DURATION, REQUIRED, SIZE, TEXT, TEXTS, Kind, OptionError, Raw, choice, option, section

_TYPES = ("log", "stdout", "journal")


def _parse_type(value: Raw) -> str:
    if isinstance(value, str) and value in _TYPES:
        return value
    if value == "webhook":
        raise OptionError('"webhook" is not available in this version; expected one of "log", "stdout", "journal"')
    raise OptionError("expected one of " + ", ".join(f'"{word}"' for word in _TYPES))


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
    disabled_events: tuple[str, ...] = option(
        TEXTS, [], 'Events not logged: ids, or patterns such as "http.*".', example=["smtp.ehlo", "http.*"]
    )

    @property
    def least(self) -> Level:
        """`level` as a value."""
        return Level[self.level.upper()]
