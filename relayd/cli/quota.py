"""`relayd quota`: what an account, domain or tenant sent, and what it may."""

from __future__ import annotations

from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where


@click.command()
@click.argument("name")
@json_option
@url_option
def quota(name: str, as_json: bool) -> None:
    """Show what the account, domain or tenant NAME sent in this hour, day and month, and what limits it."""
    found = open_control(where()).get("/quota/" + quote(name, safe=""))
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['name']} sent")
    print_table(
        ["IN THIS", "MESSAGES", "RECIPIENTS", "BYTES"],
        [
            [period, *(str(sent[key]) for key in ("messages", "recipients", "bytes"))]
            for period, sent in found["sent"].items()
        ],
    )
    if not found["limits"]:
        click.echo("Nothing limits it")
        return
    print_table(
        ["LIMIT OF", "WHAT", "MOST", "USED", "RESETS"],
        [
            [
                each["name"],
                f"{each['measure']} {'an' if each['period'] == 'hour' else 'a'} {each['period']}",
                str(each["most"]),
                str(each["used"]),
                each["resets"],
            ]
            for each in found["limits"]
        ],
    )
