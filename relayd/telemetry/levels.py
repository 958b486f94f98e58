"""Levels of events other than those they are declared with: `tracing.level.<event>`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from relayd.events.event import EventKind, Level
from relayd.events.vocabulary import kinds
from relayd.options import OptionError
from relayd.telemetry.options import EventLevelOptions

DISABLE = "disable"


def levels_of(records: Mapping[str, EventLevelOptions]) -> dict[EventKind, Level]:
    """The levels that a configuration sets.  Raises OptionError for an id that no event has."""
    known = {kind.id: kind for kind in kinds()}
    found = {}
    for id, options in records.items():
        kind = known.get(id)
        if kind is None:
            near = difflib.get_close_matches(id, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else " (`relayd events` lists them)"
            raise OptionError(f'tracing.level."{id}": there is no such event{hint}')
        found[kind] = Level.DISABLED if options.level == DISABLE else Level[options.level.upper()]
    return found


def put_in_demand(is_logged: Callable[[EventKind], bool], is_watched: bool) -> None:
    """Have the events that are made on demand alone made where somebody takes them, and nowhere else.

    is_logged: whether a log takes a kind.  is_watched: whether a live viewer asked for them.  A level that was raised
    asks for its event too, for every view.
    """
    for kind in kinds():
        if kind.on_demand:
            kind.wanted = kind.level is not Level.DISABLED and (is_watched or kind.is_raised or is_logged(kind))


def put_in_force(levels: Mapping[EventKind, Level]) -> None:
    """Give every event its level, the declared one where none is set."""
    for kind in kinds():
        kind.level = levels.get(kind, kind.default)
