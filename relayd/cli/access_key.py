"""`relayd account access-key`, `relayd account sending-address`: what programs sign with, and what they send from."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.failure import USAGE, Failure
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where


@click.group("access-key")
@url_option
def access_key() -> None:
    """Keys with which a program signs requests (the DirectMail dialect)."""


@access_key.command("create")
@click.argument("name")
@json_option
@url_option
def create(name: str, as_json: bool) -> None:
    """Make a key for account NAME; its secret is shown this once."""
    made = open_control(where()).ask("POST", f"/access-keys/{quote(name, safe='')}")
    if as_json:
        print_json(made)
        return
    click.echo(f"access key id      {made['access_key_id']}")
    click.echo(f"access key secret  {made['access_key_secret']}  (shown this once)")


@access_key.command("list")
@click.argument("name")
@json_option
@url_option
def list_(name: str, as_json: bool) -> None:
    """Show the keys of account NAME."""
    found = open_control(where()).get(f"/access-keys/{quote(name, safe='')}")
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo(f"{name} has no access key")
        return
    print_table(["ID", "CREATED"], [[each["access_key_id"], each["created"]] for each in found["items"]])


@access_key.command("revoke")
@click.argument("name")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@url_option
def revoke(name: str, ids: tuple[str, ...]) -> None:
    """Let key ID of account NAME sign nothing any more."""
    control = open_control(where())
    for each in ids:
        control.ask("DELETE", f"/access-keys/{quote(name, safe='')}/{quote(each, safe='')}")
        click.echo(f"{each} is revoked")


@click.group("sending-address")
@url_option
def sending_address() -> None:
    """Addresses that programs made for themselves with an access key."""


@sending_address.command("list")
@click.argument("name")
@json_option
@url_option
def list_addresses(name: str, as_json: bool) -> None:
    """Show the sending addresses of account NAME."""
    found = open_control(where()).get("/sending-addresses", [("account", name)])
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo(f"{name} has no sending address")
        return
    print_table(
        ["ADDRESS", "TYPE", "TODAY", "THIS MONTH", "STATE"],
        [
            [
                each["address"],
                each["type"],
                f"{each['used']['day']}/{each['daily']}",
                f"{each['used']['month']}/{each['monthly']}",
                f"frozen: {each['frozen']}" if each["frozen"] else "normal",
            ]
            for each in found["items"]
        ],
    )


@sending_address.command("freeze")
@click.argument("address")
@click.option("--reason", default="by the operator", show_default=True, metavar="TEXT", help="Shown to who sends.")
@url_option
def freeze(address: str, reason: str) -> None:
    """Refuse mail from ADDRESS."""
    _change(address, {"frozen": reason})
    click.echo(f"{address} is frozen")


@sending_address.command("thaw")
@click.argument("address")
@url_option
def thaw(address: str) -> None:
    """Take mail from ADDRESS again."""
    _change(address, {"frozen": ""})
    click.echo(f"{address} may send")


@sending_address.command("quota")
@click.argument("address")
@click.option("--daily", type=click.IntRange(min=0), help="Messages a day.")
@click.option("--monthly", type=click.IntRange(min=0), help="Messages a month.")
@url_option
def quota(address: str, daily: int | None, monthly: int | None) -> None:
    """Change what ADDRESS may send."""
    if daily is None and monthly is None:
        raise Failure(USAGE, "give --daily or --monthly")
    found = _change(address, {"daily": daily, "monthly": monthly})
    click.echo(f"{address} may send {found['daily']} messages a day, {found['monthly']} a month")


def _change(address: str, body: dict[str, Any]) -> Any:
    return open_control(where()).ask("PATCH", f"/sending-addresses/{quote(address, safe='')}", body=body)
