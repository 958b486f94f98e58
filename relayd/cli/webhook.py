"""`relayd webhook`: who is told of events, how far they are, and telling them again."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.failure import TRY_AGAIN, USAGE, Failure
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where


@click.group()
@url_option
def webhook() -> None:
    """Web servers that are told of events."""


@webhook.command("list")
@json_option
@url_option
def list_(as_json: bool) -> None:
    """Show the webhooks and how far each is."""
    found = open_control(where()).get("/webhooks")
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo("No webhook is configured")
        return
    print_table(
        ["ID", "URL", "PENDING", "TAKEN", "LAST TAKEN", "STATE"],
        [
            [
                each["id"],
                each["url"],
                str(each["pending"]),
                str(each["taken"]),
                each["last_taken"] or "-",
                _state(each),
            ]
            for each in found["items"]
        ],
    )


def _state(item: dict[str, Any]) -> str:
    if not item["failures"]:
        return "ok"
    return f"failing since {item['failing_since']}: {item['last_error']}"


@webhook.command("show")
@click.argument("id")
@json_option
@url_option
def show(id: str, as_json: bool) -> None:
    """Show webhook ID."""
    found = open_control(where()).get(f"/webhooks/{quote(id, safe='')}")
    if as_json:
        print_json(found)
        return
    print_table(["FIELD", "VALUE"], [[name, _text(value)] for name, value in found.items()])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value in (None, "") else str(value)


@webhook.command("replay")
@click.argument("id")
@click.option("--offset", type=click.IntRange(min=0), help="After the event of this id; 0: everything in the log.")
@click.option("--since", metavar="TIME", help="What was made at this RFC 3339 time or later.")
@url_option
def replay(id: str, offset: int | None, since: str | None) -> None:
    """Send events to webhook ID again."""
    if (offset is None) == (since is None):
        raise Failure(USAGE, "give --offset or --since")
    body = {"offset": offset} if since is None else {"since": since}
    found = open_control(where()).ask("POST", f"/webhooks/{quote(id, safe='')}/replay", body=body)
    click.echo(f"{found['pending']} event{'s' * (found['pending'] != 1)} to be sent to {id}")


@webhook.command("test")
@click.argument("id")
@url_option
def test(id: str) -> None:
    """Post a test event to webhook ID; exit code 75 when it is not taken."""
    found = open_control(where()).ask("POST", f"/webhooks/{quote(id, safe='')}/test")
    if not found["taken"]:
        raise Failure(TRY_AGAIN, f"not taken: {found['reason']}")
    click.echo(f"taken: {found['status']} after {found['elapsed']} ms")
