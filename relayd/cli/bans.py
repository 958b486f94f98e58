"""`relayd bans`: the addresses that are shut out, and letting them in again."""

from __future__ import annotations

from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where


@click.group()
@url_option
def bans() -> None:
    """Addresses that are shut out for failed sign-ins, or for trying names out."""


@bans.command("list")
@json_option
@url_option
def list_(as_json: bool) -> None:
    """Show who is banned, and until when."""
    found = open_control(where()).get("/bans")
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo("Nobody is banned")
        return
    print_table(
        ["ADDRESS", "SINCE", "UNTIL", "TIMES", "REASON", "EVIDENCE"],
        [
            [each["address"], each["since"], each["until"], str(each["times"]), each["reason"], each["evidence"]]
            for each in found["items"]
        ],
    )


@bans.command("lift")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@url_option
def lift(addresses: tuple[str, ...]) -> None:
    """Let ADDRESS in again, as `bans list` shows it."""
    control = open_control(where())
    for address in addresses:
        control.ask("DELETE", "/bans/" + quote(address, safe=""))
        click.echo(f"{address} may come again")
