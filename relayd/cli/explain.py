"""`relayd explain`: the road of mail to an address, or what the checks find out about a message, step by step."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import open_control
from relayd.cli.explained import print_inbound, print_outbound
from relayd.cli.failure import BAD_DATA, Failure, Refused
from relayd.cli.message_file import read_message
from relayd.cli.rehearsed import print_stages
from relayd.cli.show import json_option, print_json
from relayd.cli.where import url_option, where


@click.command()
@click.option("--to", "recipient", metavar="ADDRESS", help="Show the road of mail to this address.")
@click.option("--ip", metavar="ADDRESS", help="Show the checks of mail from a client with this IP address.")
@click.option("--helo", metavar="NAME", help="With --ip: the name that the client gives in EHLO.")
@click.option("--from", "sender", metavar="ADDRESS", help='The return path; "" is the null one.')
@click.option("--connect", is_flag=True, help="With --to: speak to the hosts too, up to RCPT; nothing is sent.")
@click.option("--direct", is_flag=True, help="With --connect: by MX whatever the configuration says, and strictly.")
@click.option(
    "--timeout", default=30, metavar="SECONDS", type=click.IntRange(1, 600), help="Of each step, with --connect."
)
@click.option("--message", metavar="FILE", help='With --ip: the message, "-" is standard input. Default: a tiny one.')
@json_option
@url_option
def explain(
    recipient: str | None,
    ip: str | None,
    helo: str | None,
    sender: str | None,
    message: str | None,
    as_json: bool,
    **trying: Any,
) -> None:
    """Ask the running daemon what it would do with mail, and why. Only the DNS is asked; nothing is sent.

    \b
    relayd explain --to A [--from B] [--connect]            the way out
    relayd explain --ip I --helo H --from A [--message F]   the checks of what comes in
    """
    if (recipient is None) == (ip is None):
        raise click.UsageError("give --to ADDRESS for the way out, or --ip, --helo and --from for the way in")
    control = open_control(where())
    if recipient is not None:
        if helo is not None or message is not None:
            raise click.UsageError("--helo and --message belong to --ip")
        query = [("to", _bare(recipient))] + ([("from", _bare(sender))] if sender else [])
        data = control.get("/explain/outbound", query)
        if trying["connect"]:
            _connect(_bare(recipient), _bare(sender or ""), data, as_json, **trying)
        else:
            print_json(data) if as_json else print_outbound(data)
        return
    if trying["connect"]:
        raise click.UsageError("--connect belongs to --to")
    assert ip is not None
    if helo is None or sender is None:
        raise click.UsageError('--ip needs --helo and --from (--from "" for the null return path)')
    _check_ip(ip)
    query = [("remote-ip", ip), ("helo", helo), ("from", _bare(sender))]
    body = None if message is None else read_message(message)
    try:
        data = control.ask("POST", "/explain/inbound", query, body)
    except Refused as refused:  # the message cannot be read
        raise Failure(BAD_DATA, str(refused)) from None
    print_json(data) if as_json else print_inbound(data)


def _connect(
    recipient: str, sender: str, data: Any, as_json: bool, *, connect: bool, direct: bool, timeout: int
) -> None:
    """Print the road, and what its hosts say to a delivery without a message, step by step."""
    control = open_control(where(), timeout + 30.0)
    query = [("timeout", str(timeout)), ("from", sender)] + ([("direct", "1")] if direct else [])
    stages = (each[0] for each in control.events(f"/troubleshoot/delivery/{quote(recipient, safe='')}", query))
    if as_json:
        print_json({**data, "stages": list(stages)})
        return
    print_outbound(data)
    click.echo()
    print_stages(stages)


def _bare(address: str) -> str:
    """An address without angle brackets."""
    is_path = address.startswith("<") and address.endswith(">")
    return address[1:-1] if is_path else address


def _check_ip(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise click.UsageError(f'--ip: "{text}" is no IP address') from None
