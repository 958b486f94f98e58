"""`mailq`: the queue in the form of Postfix's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import click

from relayd.cli.control import open_control
from relayd.cli.listing import ID_STEP, reason
from relayd.cli.show import json_option, print_json, printable
from relayd.cli.where import url_option, where

_PAGE = 1000


@click.command()
@json_option
@url_option
def mailq(as_json: bool) -> None:
    """List the queue."""
    if as_json:
        print_json([each for page in _pages() for each in page])
        return
    count = total = 0
    for page in _pages():
        for message in page:
            if count == 0:
                click.echo("-Queue ID----------  --Size-- ----Arrival Time---- -Sender/Recipient-------")
            count += 1
            total += message["size"]
            for line in entry(message):
                click.echo(printable(line))
            click.echo()
    if count == 0:
        click.echo("Mail queue is empty")
    else:
        click.echo(f"-- {-(-total // 1024)} Kbytes in {count} Request{'s' * (count != 1)}.")


def entry(message: Mapping[str, Any]) -> list[str]:
    """The lines of one message: "!" marks a held one; the reason stands before the recipients."""
    arrived = datetime.fromisoformat(message["created"]).astimezone()
    mark = "!" if message.get("hold") else " "
    sender = message["return_path"] or "MAILER-DAEMON"
    lines = [f"{message['id']}{mark} {message['size']:>8} {arrived:%a %b %e %H:%M:%S} {sender}"]
    why = reason(message)
    if why:
        lines.append(f"({why})".rjust(40))
    lines += [" " * 40 + each["address"] for domain in message["domains"] for each in domain["recipients"]]
    return lines


def _pages() -> Iterator[list[dict[str, Any]]]:
    """All messages, a page at a time; each starts after the last one seen, so that none is missed meanwhile."""
    control = open_control(where())
    start = 0
    while True:
        query = [("values", "1"), ("limit", str(_PAGE)), ("range-start", str(start))]
        items = control.get("/queue/messages", query)["items"]
        if items:
            yield items
        if len(items) < _PAGE:
            return
        start = items[-1]["id"] + ID_STEP
