"""`relayd forget`: an address is overwritten in all that is kept of the past."""

from __future__ import annotations

import click

from relayd.cli.control import open_control
from relayd.cli.show import json_option, print_json
from relayd.cli.where import url_option, where


@click.command()
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@url_option
def forget(address: str, yes: bool, as_json: bool) -> None:
    """Overwrite ADDRESS in traces, in the history of messages, and in the log files.

    What happened stays, with "forgotten" in its place; addresses with a detail (name+detail@domain), rewritten return
    paths that hold the address, and its pseudonym go too.  Untouched are the queue, the suppression list, greylisting
    and reputation (which have commands of their own), webhooks' logs, the journal, backups, and log files that were
    moved elsewhere.
    """
    control = open_control(where())
    if not yes:
        click.confirm(f"Overwrite {address} in all traces, history and logs? This cannot be undone.", abort=True)
    found = control.ask("POST", "/telemetry/forget", body={"address": address})
    if as_json:
        print_json(found)
        return
    click.echo(
        f"Overwritten in {found['traces']} traces, {found['history']} entries of history, {found['logs']} log files"
    )
