"""`relayd domain`: local domains, the DNS records that each should have, and whether the DNS shows them."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import Control, open_control
from relayd.cli.dkim import zone_line
from relayd.cli.failure import UNAVAILABLE
from relayd.cli.principal import Kind, add_common, create, one
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

DOMAIN = Kind(
    "domain",
    "domain",
    (("NAME", "name"), ("USED BY", "members"), ("NEXT HOP", "nextHop"), ("FOR", "description")),
)

_WRONG = frozenset({"missing", "different"})


@click.group()
def domain() -> None:
    """Local domains and their DNS records."""


add_common(domain, DOMAIN)


@domain.command("add")
@click.argument("name")
@click.option("--description", help="Whose it is.")
@click.option("--next-hop", "nextHop", help='Where its mail goes: the id of a route, or "mx".')
@click.option("--tenant", help="Whose it is.")
@click.option("--allow", "allowances", multiple=True, help='What may be sent from it: "messages:1000/day".')
@url_option
def add(name: str, **values: object) -> None:
    """Make NAME a local domain, and print the DNS records to publish as lines of a zone file."""
    create(DOMAIN, {"name": name, **{_NAMES.get(key, key): value for key, value in values.items()}})
    for each in _records(open_control(where()), name, check=False):
        print(printable(zone_line(each["type"], each["name"], each["content"])))
    print('Publish these; "relayd domain check" asks the DNS for them.', file=sys.stderr)


_NAMES = {"nexthop": "nextHop"}


@domain.command("dns")
@click.argument("name")
@json_option
@url_option
def dns(name: str, as_json: bool) -> None:
    """Print the DNS records that NAME should have, as lines of a zone file."""
    found = _records(open_control(where()), name, check=False)
    if as_json:
        print_json(found)
        return
    for each in found:
        print(printable(zone_line(each["type"], each["name"], each["content"])))


@domain.command("check")
@click.argument("name")
@json_option
@url_option
def check(name: str, as_json: bool) -> int:
    """Ask the DNS, by way of the daemon, for the records that NAME should have.

    Exits 0 when all are there, 69 when one is missing, is another, or could not be asked for.
    """
    control = open_control(where())
    one(DOMAIN, control, name)
    found = _records(control, name, check=True)
    if as_json:
        print_json(found)
    else:
        print_table(
            ["STATE", "TYPE", "NAME", "FOUND"],
            [[each["state"], each["type"], each["name"], each["found"] or _expected(each)] for each in found],
        )
    return UNAVAILABLE if any(each["state"] in (*_WRONG, "unknown") for each in found) else 0


def _expected(each: dict[str, Any]) -> str:
    return f"expected {each['content']}" if each["state"] in _WRONG else ""


def _records(control: Control, name: str, *, check: bool) -> list[dict[str, Any]]:
    query = [("check", "1")] if check else []
    found: list[dict[str, Any]] = control.get(f"/dns/records/{quote(name, safe='')}", query)
    return found
