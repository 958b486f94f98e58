"""Changes to many queued messages: preview, batches with progress, and what is said at the end.

A verb is asked for what it would do first.  More than a few messages are changed in batches of ids, one request each:
so there is progress to show, no request lasts long, and an interrupted command has done whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from relayd.cli.control import Control
from relayd.cli.failure import NO_INPUT, Failure
from relayd.cli.listing import ID_STEP
from relayd.cli.selection import Query, Selection
from relayd.cli.show import Advance, progress

BATCH = 2000


@dataclass(frozen=True, kw_only=True)
class Change:
    """One verb.  method, path: of the request.  extra: parameters beside the filters.  done: "deleted" ...

    by_path: one message is asked for at `path/<id>`.  states: those that have to be listed to find its messages; ""
    stands for queued ones.
    """

    method: str
    path: str
    done: str
    extra: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = None
    by_path: bool = False
    states: tuple[str, ...] = ("",)


def run(control: Control, selection: Selection, change: Change, *, dry_run: bool) -> None:
    """Carry a change out, or with dry_run say what it would do.  Raises Failure, 66 when nothing matches."""
    selection.require()
    if selection.ids and change.by_path:
        _each_by_path(control, selection.ids, change, dry_run)
        return
    if dry_run or not selection.ids:
        matched = _preview(control, selection, change, is_said=dry_run)
        if dry_run:
            return
    else:
        matched = len(selection.ids)
    total = 0
    if matched:
        with progress(change.done, matched) as advance:
            for query in selection.queries():
                if selection.ids or matched <= BATCH:
                    total += _count(_ask(control, change, query), matched)
                else:
                    total += _in_batches(control, change, query, advance)
    if not total:
        raise Failure(NO_INPUT, "no message matches")
    click.echo(f"{total} message{'s' * (total != 1)} {change.done}")


def _each_by_path(control: Control, ids: tuple[int, ...], change: Change, dry_run: bool) -> None:
    missed = []
    query = [*change.extra, *([("dry-run", "1")] if dry_run else [])]
    for each in ids:
        try:
            answer = control.ask(change.method, f"{change.path}/{each}", query)
        except Failure as failure:
            if failure.code != NO_INPUT:
                raise
            missed.append(f"{each}: no such message")
            continue
        if _count(answer, 1):
            click.echo(f"{each} {'would be ' * dry_run}{change.done}")
        else:
            missed.append(f"{each}: nothing matches")
    if missed:
        raise Failure(NO_INPUT, "\n".join(missed))


def _in_batches(control: Control, change: Change, query: Query, advance: Advance) -> int:
    """Change what a filter matches, some at a time in the order of ids; how many."""
    total = 0
    for state in change.states:
        for first, last, count in _ranges(control, [*query, *([("state", state)] if state else [])]):
            answer = _ask(control, change, [*query, ("range-start", str(first)), ("range-end", str(last))])
            total += _count(answer, count)
            advance(count)
    return total


def _ranges(control: Control, query: Query) -> Iterator[tuple[int, int, int]]:
    """First and last id of each batch, and how many messages are in it."""
    start = 0
    while True:
        page = [*query, ("range-start", str(start)), ("limit", str(BATCH)), ("max-total", "1")]
        ids = control.get("/queue/messages", page)["items"]
        if ids:
            yield ids[0], ids[-1], len(ids)
        if len(ids) < BATCH:
            return
        start = ids[-1] + ID_STEP


def _ask(control: Control, change: Change, query: Query) -> Any:
    return control.ask(change.method, change.path, [*query, *change.extra], change.body)


def _count(answer: Any, otherwise: int) -> int:
    """How many messages an answer speaks of; one that says only whether there were any stands for `otherwise`."""
    return int(answer["matched"]) if isinstance(answer, Mapping) else otherwise * bool(answer)


def _preview(control: Control, selection: Selection, change: Change, *, is_said: bool) -> int:
    """How many messages it would change now."""
    matched, sample = 0, list[int]()
    for query in selection.queries():
        found = _ask(control, change, [*query, ("dry-run", "1")])
        matched += found["matched"]
        sample += found["sample"]
    if is_said:
        click.echo(f"{matched} message{'s' * (matched != 1)} would be {change.done}")
        for id in sample:
            click.echo(f"  {id}")
        if matched > len(sample):
            click.echo(f"  and {matched - len(sample)} more")
    return matched
