"""`relayd dkim`: create, dns, check, rotate.

All of it goes through the daemon, which holds the keys; no private key is ever printed.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import Control, open_control
from relayd.cli.failure import BAD_CONFIG, NO_INPUT, UNAVAILABLE, Failure
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

ALGORITHMS = {"rsa": "Rsa", "ed25519": "Ed25519"}
_STRING = 255
"""Octets of a string of a TXT record (RFC 1035 §3.3.14)."""

_LATER = 'In force after "relayd reload"; publish the records first.'


@click.group()
@url_option
def dkim() -> None:
    """Create, publish, check and rotate signing keys."""


@dkim.command()
@click.argument("domain")
@click.option(
    "--algorithm",
    type=click.Choice(["both", *ALGORITHMS]),
    default="both",
    show_default=True,
    help="What the keys are for; Ed25519 alone is not understood everywhere.",
)
@click.option("--selector", help='Where the key is published; with both, "r" and "e" are put behind it.')
@json_option
@url_option
def create(domain: str, algorithm: str, selector: str | None, as_json: bool) -> None:
    """Create keys for DOMAIN, and show the records to publish."""
    control = open_control(where())
    types = list(ALGORITHMS) if algorithm == "both" else [algorithm]
    for type in types:
        own = selector + type[0] if selector and len(types) > 1 else selector
        body = {"id": None, "algorithm": ALGORITHMS[type], "domain": domain, "selector": own}
        control.ask("POST", "/dkim", body=body)
    created = [each for each in _signatures(control, domain) if each["algorithm"].partition("-")[0] in types]
    if as_json:
        print_json(created)
        return
    _print_zone(created)
    print(_LATER, file=sys.stderr)


@dkim.command()
@click.argument("domain")
@click.option("--table", is_flag=True, help="A table in place of lines of a zone file.")
@click.option("--all", "everything", is_flag=True, help="Every record that DOMAIN should have, not only its keys.")
@json_option
@url_option
def dns(domain: str, table: bool, everything: bool, as_json: bool) -> int:
    """Show the DNS records of DOMAIN's keys, as lines of a zone file. Exits 66 when it has none."""
    control = open_control(where())
    records = control.get(f"/dns/records/{quote(domain, safe='')}")
    if not everything:
        records = [each for each in records if "._domainkey." in each["name"]]
    if as_json:
        print_json(records)
    elif table:
        print_table(["type", "name", "content"], [[each["type"], each["name"], each["content"]] for each in records])
    else:
        for each in records:
            print(printable(zone_line(each["type"], each["name"], each["content"])))
    if not records:
        print(f"relayd: there are no keys for {printable(domain)}", file=sys.stderr)
    return 0 if records else NO_INPUT


@dkim.command()
@click.argument("domain", required=False)
@json_option
@url_option
def check(domain: str | None, as_json: bool) -> int:
    """Ask the DNS whether it shows the keys, of DOMAIN or all, as the daemon has them.

    Exits 0 when all is well, 69 when a key that is needed is not shown or cannot be read, 66 when there are none.
    """
    found = _signatures(open_control(where()), domain, check=True)
    if as_json:
        print_json(found)
    else:
        print_table(
            ["id", "record", "state", "found"],
            [[each["id"], each["name"], each["state"], _verdict(each)] for each in found],
        )
    if not found:
        print("relayd: there are no signatures", file=sys.stderr)
        return NO_INPUT
    return UNAVAILABLE if any(_is_wrong(each) for each in found) else 0


@dkim.command()
@click.argument("domain")
@json_option
@url_option
def rotate(domain: str, as_json: bool) -> int:
    """Make new keys in place of those that sign for DOMAIN, and reload.

    The old keys go on signing until the DNS shows the new ones, which the daemon looks for every minute. Their records
    must stay until no mail that they signed can be on its way; "relayd dkim check" says until when. Exits 78 when the
    reload found an error.
    """
    control = open_control(where())
    before = _signatures(control, domain)
    taken = {each["selector"] for each in before}
    replaced = {each["replaces"] for each in before if each["state"] in ("waiting", "new")}
    active = [each for each in before if each["state"] == "active" and each["id"] not in replaced]
    if not active and not replaced - {""}:
        raise Failure(NO_INPUT, f"there is no key that signs for {printable(domain)}")
    for each in active:
        _replace(control, each, taken)
    problems = control.get("/reload/")["errors"]
    waiting = [each for each in _signatures(control, domain) if each["state"] in ("waiting", "new")]
    if as_json:
        print_json(waiting)
    else:
        _print_zone(waiting)
    for key, problem in problems.items():
        print(printable(f"relayd: {key}: {problem['error']}"), file=sys.stderr)
    if problems:
        print("relayd: nothing was applied; the new keys wait for a reload without errors", file=sys.stderr)
        return BAD_CONFIG
    if not as_json:
        print(
            "Publish these, and keep the old records: the old keys sign until the new ones are seen, and mail that "
            'they signed may be on its way for a while. "relayd dkim check" says what is awaited, and until when.',
            file=sys.stderr,
        )
    return 0


def _replace(control: Control, old: dict[str, Any], taken: set[str]) -> None:
    """Make one new key, under the usual selector of this month or the next free one behind it."""
    type = old["algorithm"].partition("-")[0]
    selector = _usual_selector(type)
    number = 1
    while selector in taken:
        number += 1
        selector = f"{_usual_selector(type)}{number}"
    taken.add(selector)
    body = {
        "id": f"{type}-{selector}-{old['domain']}",
        "algorithm": ALGORITHMS[type],
        "domain": old["domain"],
        "selector": selector,
        "replaces": old["id"],
    }
    control.ask("POST", "/dkim", body=body)


def _usual_selector(type: str) -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y%m") + type[0]


def _signatures(control: Control, domain: str | None, check: bool = False) -> list[dict[str, Any]]:
    query = [("domain", domain)] if domain else []
    found: list[dict[str, Any]] = control.get("/dkim", query + ([("check", "1")] if check else []))
    return found


def _is_wrong(each: dict[str, Any]) -> bool:
    return each["state"] != "obsolete" and bool(each["problem"] or each["published"])


def _verdict(each: dict[str, Any]) -> str:
    if each["state"] == "obsolete":
        return "no longer needed: remove the record, and the settings of the signature"
    parts = [each["problem"] or each["published"] or "as it should be"]
    if each["keepUntil"]:
        parts.append(f"keep the record until {each['keepUntil']}")
    return "; ".join(parts)


def _print_zone(signatures: list[dict[str, Any]]) -> None:
    for each in signatures:
        if each["content"]:
            print(printable(zone_line("TXT", each["name"] + ".", each["content"])))


def zone_line(type: str, name: str, content: str) -> str:
    """A record as a line of a zone file; a text in strings of at most 255 octets."""
    if type == "TXT":
        text = content.replace("\\", "\\\\").replace('"', '\\"')
        strings = [f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING)]
        content = strings[0] if len(strings) == 1 else f"( {' '.join(strings)} )"
    return f"{name} IN {type} {content}"
