"""`relayd log`: the lines of the daemon's own log files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from relayd.cli.control import Control, open_control
from relayd.cli.show import json_option, print_json, printable
from relayd.cli.where import url_option, where

_COLOURS = {"ERROR": "red", "WARN": "yellow"}
_AT_ONCE = 1000
"""Lines that are looked at for new ones."""

_PAUSE = 1.0
"""Seconds between two looks."""

Line = dict[str, Any]


@click.command()
@click.option("--filter", "text", metavar="TEXT", help="Only lines that hold this, in this case of letters.")
@click.option("-n", "--lines", "limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Lines.")
@click.option("--page", type=click.IntRange(1), default=1, help="Which page of as many lines; 1 is the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on with the lines that come, until interrupted.")
@json_option
@url_option
def log(text: str | None, limit: int, page: int, follow: bool, as_json: bool) -> None:
    """Show the newest lines of the log, oldest of them first."""
    if follow and page > 1:
        raise click.UsageError("--follow begins at the newest page")
    control = open_control(where())
    query = [("filter", text)] if text else []
    found = control.get("/logs", [*query, ("limit", str(limit)), ("page", str(page))])
    if as_json and not follow:
        print_json(found)
        return
    _print(found["items"], as_json)
    if follow:
        for lines in _following(control, query, found["items"]):
            _print(lines, as_json)
    elif found["total"] > page * limit:
        click.echo(f"There are older lines: --page {page + 1}", err=True)


def _following(control: Control, query: list[tuple[str, str]], known: list[Line]) -> Iterator[list[Line]]:
    """The lines that come, as they come; newest first in each part."""
    while True:
        time.sleep(_PAUSE)
        seen = control.get("/logs", [*query, ("limit", str(_AT_ONCE))])["items"]
        yield new_lines(seen, known)
        known = seen


def new_lines(seen: list[Line], known: list[Line]) -> list[Line]:
    """What of `seen` came after `known`, both newest first: lines have no numbers, so where the rest is the same."""
    for count in range(len(seen)):
        rest = seen[count:]
        if rest[: len(known)] == known[: len(rest)]:
            return seen[:count] if known else seen
    return seen


def _print(lines: list[Line], as_json: bool) -> None:
    for line in reversed(lines):
        if as_json:
            click.echo(json.dumps(line, ensure_ascii=False))
            continue
        level = click.style(printable(line["level"]), fg=_COLOURS.get(line["level"]))
        rest = printable(f"{line['event']} ({line['event_id']}) {line['details']}".rstrip())
        click.echo(f"{printable(line['timestamp'])} {level} {rest}")
