"""`relayd reload`: the daemon takes its configuration anew."""

from __future__ import annotations

import sys
from typing import Any

import click

from relayd.cli.control import open_control
from relayd.cli.failure import BAD_CONFIG
from relayd.cli.show import json_option, print_json, printable
from relayd.cli.where import url_option, where

PARTS = ("certificate", "lookup", "server.blocked-ip")


@click.command()
@click.argument("part", required=False, type=click.Choice(PARTS))
@click.option("--dry-run", is_flag=True, help="Say what would be found; apply nothing.")
@json_option
@url_option
def reload(part: str | None, dry_run: bool, as_json: bool) -> int:
    """Put a changed configuration in force: the file, and the settings written through the API.

    PART reads again only the files of that. No session is dropped. Exits 78 when there is an error: nothing is applied
    then.
    """
    found = open_control(where()).get(f"/reload/{part or ''}", [("dry-run", "1")] if dry_run else [])
    if as_json:
        print_json(found)
    else:
        _print(found, dry_run)
    return BAD_CONFIG if found["errors"] else 0


def _print(found: dict[str, Any], dry_run: bool) -> None:
    for word in ("warnings", "errors"):
        for key, each in found[word].items():
            text = each.get("error") or each.get("default") or each.get("value") or each["type"]
            print(printable(f"{word[:-1]}: {key}: {text}"), file=sys.stderr if word == "errors" else sys.stdout)
    if found["errors"]:
        print("Nothing was applied; what was in force stays.", file=sys.stderr)
    else:
        click.echo("The configuration is valid; nothing was applied." if dry_run else "Reloaded.")
