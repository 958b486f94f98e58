"""`relayd suppression`: the recipients that trusted senders' mail is not sent to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from relayd.cli.control import open_control
from relayd.cli.failure import NO_INPUT, USAGE, Failure
from relayd.cli.selection import Query
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where
from relayd.options import OptionError, parse_duration

F = TypeVar("F", bound=Callable[..., Any])


def _filters(command: F) -> F:
    """Decorator: the command takes the conditions of the list."""
    for decorator in (
        click.option("--until", metavar="TIME", help="Made before this RFC 3339 time."),
        click.option("--since", metavar="TIME", help="Made (or renewed) at this RFC 3339 time or later."),
        click.option("--host", metavar="HOST", help="Because of what this host, or one in this domain, said."),
        click.option("--rule", metavar="ID", help="Because of this rule of bounces."),
        click.option("--scope", metavar="SCOPE", help="Of this scope: global, account:NAME or domain:NAME."),
        click.option("--cause", metavar="WORD", help="Of this cause."),
        click.option("--address", metavar="ADDRESS", help="This address, or @domain."),
    ):
        command = decorator(command)
    return command


def _query(given: dict[str, Any]) -> Query:
    return [(name, str(value)) for name, value in given.items() if value]


@click.group()
@url_option
def suppression() -> None:
    """Recipients that are not sent to, because what was sent before showed that they are dead."""


@suppression.command("list")
@_filters
@click.option("--text", metavar="TEXT", help="Part of the address.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Entries at most.")
@json_option
@url_option
def list_(limit: int, as_json: bool, **given: Any) -> None:
    """Show entries, the newest first."""
    found = open_control(where()).get("/suppression", [*_query(given), ("limit", str(limit))])
    if as_json:
        print_json(found)
        return
    if not found["enabled"]:
        click.echo("queue.suppression.enable is off: the list stops no mail", err=True)
    if not found["items"]:
        click.echo("Nobody is suppressed")
        return
    print_table(
        ["ID", "ADDRESS", "SCOPE", "CAUSE", "SINCE", "UNTIL", "EVIDENCE"],
        [
            [
                str(each["id"]),
                each["address"],
                each["scope"],
                each["cause"],
                each["since"],
                each["until"] or "-",
                _evidence(each),
            ]
            for each in found["items"]
        ],
    )
    if found["total"] > len(found["items"]):
        click.echo(f"{found['total'] - len(found['items'])} more: --limit")


def _evidence(item: dict[str, Any]) -> str:
    why = item["evidence"]
    said = " ".join(word for word in (str(why["code"] or ""), why["enhanced"], why["reply"]) if word)
    return (said or item["note"] or (f"by {item['by']}" if item["by"] else ""))[:60]


@suppression.command("show")
@click.argument("id", type=int)
@json_option
@url_option
def show(id: int, as_json: bool) -> None:
    """Show entry ID with its evidence."""
    found = open_control(where()).get(f"/suppression/{id}")
    if as_json:
        print_json(found)
        return
    lines = {**found, **found.pop("evidence")}
    print_table(["FIELD", "VALUE"], [[name, str(value)] for name, value in lines.items() if value not in ("", None, 0)])


@suppression.command("add")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--scope", default="global", show_default=True, help="Whose mail: global, account:NAME or domain:NAME.")
@click.option("--cause", default="operator", show_default=True, metavar="WORD", help="By which it can be undone.")
@click.option("--note", default="", metavar="TEXT", help="Why.")
@click.option("--keep", metavar="DURATION", help='How long, such as "30d"; until it is undone without it.')
@url_option
def add(addresses: tuple[str, ...], scope: str, cause: str, note: str, keep: str | None) -> None:
    """Suppress ADDRESS, or @domain for all of a domain."""
    until = _until(keep) if keep else None
    control = open_control(where())
    for address in addresses:
        body = {"address": address, "scope": scope, "cause": cause, "note": note, "until": until}
        made = control.ask("POST", "/suppression", body=body)
        click.echo(f"{made['address']} is suppressed ({made['scope']}, id {made['id']})")


def _until(keep: str) -> str:
    try:
        seconds = parse_duration(keep)
    except OptionError as error:
        raise Failure(USAGE, f"--keep: {error}") from None
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@suppression.command("remove")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=int)
@_filters
@click.option("--all", "everything", is_flag=True, help="The whole list.")
@click.option("--dry-run", is_flag=True, help="Only say what would be undone.")
@url_option
def remove(ids: tuple[int, ...], everything: bool, dry_run: bool, **given: Any) -> None:
    """Undo entries: by ID, or all that match, such as those of one cause."""
    conditions = _query(given)
    if bool(ids) + bool(conditions) + everything != 1:
        raise Failure(USAGE, "give ids, conditions such as --cause, or --all")
    control = open_control(where())
    queries = [[("id", str(each))] for each in ids] or [conditions or [("all", "1")]]
    total, sample = 0, []
    for query in queries:
        answer = control.ask("DELETE", "/suppression", [*query, *([("dry-run", "1")] if dry_run else [])])
        total += answer["matched"]
        sample += answer["sample"]
    if not total:
        raise Failure(NO_INPUT, "no entry matches")
    click.echo(f"{total} {'entry' if total == 1 else 'entries'} {'would be ' * dry_run}undone")
    for each in sample:
        click.echo(f"  {each['id']} {each['address']} ({each['cause']}, {each['scope']})")
