"""`relayd message list`, `relayd message show`: what became of messages, in the queue or long out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.listing import size
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

Message = dict[str, Any]

_HIDDEN = ("to", "from", "size", "spanId")
"""What the head of a message says already."""


@click.command("list")
@click.argument("words", nargs=-1)
@click.option("--address", metavar="ADDRESS|DOMAIN", help="Return path or recipient, or the domain of one.")
@click.option("--message-id", metavar="ID", help="The Message-ID.")
@click.option("--after", metavar="TIME", help="Came at this time or later (RFC 3339).")
@click.option("--before", metavar="TIME", help="Came before this time (RFC 3339).")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Messages.")
@click.option("--page", type=click.IntRange(1), default=1, help="Which page of as many messages; 1 is the newest.")
@json_option
@url_option
def list_(words: tuple[str, ...], as_json: bool, limit: int, page: int, **criteria: str | None) -> None:
    """What became of messages, newest first: of all, or of those that have all WORDS (beginnings of addresses,
    domains, Message-IDs, accounts)."""
    query = [(name.replace("_", "-"), value) for name, value in criteria.items() if value]
    if words:
        query.append(("filter", " ".join(words)))
    found = open_control(where()).get("/telemetry/messages", [*query, ("limit", str(limit)), ("page", str(page))])
    if as_json:
        print_json(found)
        return
    rows = [
        [
            str(each["id"]),
            each["receivedAt"],
            each["state"],
            each["from"] or "<>",
            _some(each["to"]),
            size(each["size"]),
        ]
        for each in found["items"]
    ]
    print_table(["ID", "RECEIVED", "STATE", "FROM", "TO", "SIZE"], rows)
    if found["total"] > page * limit:
        click.echo(f"{found['total']} in all; older ones: --page {page + 1}", err=True)


@click.command("show")
@click.argument("name", metavar="ID|MESSAGE-ID")
@json_option
@url_option
def show(name: str, as_json: bool) -> None:
    """What became of a message, from its first octet to its last outcome: by queue id or Message-ID."""
    found = open_control(where()).get("/telemetry/message/" + quote(name, safe=""))
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        click.echo(printable(line))


def _lines(message: Message) -> Iterator[str]:
    account = f" as {message['account']}" if message["account"] else ""
    came = f"{message['origin'] or 'given'} by {message['client'] or 'relayd'}{account} at {message['receivedAt']}"
    yield f"Message {message['id']} {message['messageId']}".rstrip()
    yield f"{message['state']}; {came}, {size(message['size'])}"
    yield f"from {message['from'] or '<>'}"
    for each in message["recipients"]:
        host = f" by {each['host']}" if each["host"] else ""
        said = f": {each['code'] or ''} {each['details']}".rstrip(": ")
        again = f", next at {each['nextRetry']}" if each["nextRetry"] else ""
        yield f"  to {each['address']}: {each['state']}{host}{said}{again}"
    if message["finishedAt"]:
        yield f"finished at {message['finishedAt']}"
    yield ""
    for event in message["events"]:
        shown = {key: value for key, value in event["data"].items() if key not in _HIDDEN and value not in (None, "")}
        if event["data"].get("to") and not isinstance(event["data"]["to"], list):
            shown = {"to": event["data"]["to"], **shown}
        fields = ", ".join(f"{key} = {value}{'ms' if key == 'elapsed' else ''}" for key, value in shown.items())
        yield f"{event['createdAt']} {event['text']} ({event['type']}) {fields}".rstrip()
    if message["spans"]:
        ids = ",".join(str(each) for each in message["spans"])
        yield ""
        yield f"Its session and attempts: relayd api GET /telemetry/trace/{ids}"


def _some(addresses: list[str]) -> str:
    first = addresses[0] if addresses else ""
    return f"{first} and {len(addresses) - 1} more" if len(addresses) > 1 else first
