"""`relayd greylist` and `relayd reputation`: what is remembered of strangers, and forgetting it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where

Row = Callable[[dict[str, Any]], Sequence[str]]


def _group(name: str, about: str, columns: Sequence[str], row: Row) -> click.Group:
    """A group with `list` and `reset`."""

    @click.group(name, help=about)
    @url_option
    def group() -> None:
        pass

    @group.command("list", help="Show what is remembered.")
    @click.option("--filter", "text", default="", help="Only what holds this text.")
    @click.option("--limit", default=100, show_default=True, help="Entries at most; 0: all.")
    @json_option
    @url_option
    def list_(text: str, limit: int, as_json: bool) -> None:
        found = open_control(where()).get(f"/{name}?limit={limit}&filter={quote(text, safe='')}")
        if as_json:
            print_json(found)
            return
        if not found["enabled"]:
            click.echo(f"It is off: {name}.enabled")
        if found["items"]:
            print_table(list(columns), [list(row(each)) for each in found["items"]])
        click.echo(f"{len(found['items'])} of {found['total']}")

    @group.command("reset", help="Forget KEY, as `list` shows it.")
    @click.argument("key", required=False, default="")
    @click.option("--all", "everything", is_flag=True, help="Forget everything.")
    @url_option
    def reset(key: str, everything: bool) -> None:
        if bool(key) == everything:
            raise click.UsageError("name a KEY, or --all")
        total = open_control(where()).ask("DELETE", f"/{name}?key={quote(key, safe='')}")
        click.echo(f"{total} forgotten")

    return group


greylist = _group(
    "greylist",
    "Who is let in past greylisting, and who was asked to come again.",
    ("KEY", "UNTIL", "WAITS SINCE", "FROM", "TO"),
    lambda each: (
        each["key"], each["until"] or "", each["since"] or "", each["sender"] or "", each["recipient"] or "",
    ),
)  # fmt: skip
reputation = _group(
    "reputation",
    "What the mail of senders was scored before.",
    ("KEY", "HAM", "SPAM", "GOODNESS"),
    lambda each: (each["key"], f"{each['ham']:.1f}", f"{each['spam']:.1f}", f"{each['goodness']:+.2f}"),
)
