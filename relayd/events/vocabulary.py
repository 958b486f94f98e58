"""The whole vocabulary: every kind of every family, as a table for people and for whoever must know all ids.

`python -m relayd.events.vocabulary > conf/events.md` writes the table that is shipped.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

import relayd.events
from relayd.events.event import EventKind

_NO_FAMILIES = ("event", "vocabulary")

_HEAD = """\
# The events of relayd

Everything that relayd does is an event: logs, traces, metrics, live streams, alerts and webhooks are views of this one
stream. An event has an id, a level, a text, and fields; the fields of its session or attempt come in front of its own.
`tracing.level."<id>"` sets another level, or `disable`.

Times are RFC 3339, durations (`elapsed`) milliseconds, sizes octets; `delays` are seconds. `result` is an event itself.
This file is generated from the declarations (`relayd events` prints them too).
"""


def kinds() -> list[EventKind]:
    """Every kind that a family declares, by id."""
    found: dict[str, EventKind] = {}
    for module in pkgutil.iter_modules(relayd.events.__path__):
        if module.name not in _NO_FAMILIES:
            family = importlib.import_module(f"relayd.events.{module.name}")
            found |= {each.id: each for each in vars(family).values() if isinstance(each, EventKind)}
    return [found[id] for id in sorted(found)]


def markdown() -> Iterator[str]:
    """The lines of the table, by family."""
    yield from _HEAD.splitlines()
    family = ""
    for kind in kinds():
        mine, _, _ = kind.id.partition(".")
        if mine != family:
            family = mine
            yield from ("", f"## {family}", "", "| id | level | text | fields |", "|---|---|---|---|")
        fields = ", ".join(f"`{name}`" for name in kind.fields.values())
        yield f"| `{kind.id}` | {kind.default.name.lower()} | {kind.text}: {_sentence(kind.details)} | {fields} |"


def _sentence(text: str) -> str:
    return (text[:1].lower() + text[1:] if text[1:2].islower() else text).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write("\n".join(markdown()) + "\n")
