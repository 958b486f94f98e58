"""`relayd tls`: what is remembered of the TLS of hosts, and what came of the sessions with a domain's."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import click

from relayd.cli.control import open_control
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where


@click.group()
@url_option
def tls() -> None:
    """The TLS of the hosts that mail goes to."""


@tls.command("hosts")
@click.argument("text", required=False)
@click.option("--broken", is_flag=True, help="Only hosts with which TLS is not tried now.")
@click.option("--gone", is_flag=True, help="Only hosts that had TLS before and were last found without.")
@json_option
@url_option
def hosts(text: str | None, broken: bool, gone: bool, as_json: bool) -> None:
    """Show what is remembered of hosts, of those with TEXT in their names."""
    query = {"text": text, "broken": "1" if broken else None, "gone": "1" if gone else None}
    found = open_control(where()).get("/tls/hosts?" + urlencode({key: each for key, each in query.items() if each}))
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo("No such host is known")
        return
    print_table(["HOST", "TLS", "STATE"], [_row(each) for each in found["items"]])


def _row(host: dict[str, Any]) -> list[str]:
    state = []
    if host["brokenUntil"]:
        state.append(f"failed since {host['brokenSince']}, left out until {host['brokenUntil']}: {host['reason']}")
    if host["gone"]:
        state.append(f"no STARTTLS on {host['gone']}")
    used = f"{host['version']}, {host['secured'][:10]}" if host["secured"] else "never"
    return [host["host"], used, "; ".join(state) or "as it should be"]


@tls.command("forget")
@click.argument("names", metavar="HOST...", nargs=-1, required=True)
@url_option
def forget(names: tuple[str, ...]) -> None:
    """Forget what is known of HOST: TLS is tried again, and nothing is expected of it."""
    control = open_control(where())
    for name in names:
        control.ask("DELETE", "/tls/hosts/" + quote(name, safe=""))
        click.echo(f"{name} is forgotten")


@tls.command("retry")
@url_option
def retry() -> None:
    """Try TLS again with every host whose TLS counts as broken."""
    total = open_control(where()).ask("POST", "/tls/hosts/retry")
    click.echo(f"TLS is tried again with {total} host{'' if total == 1 else 's'}")


@tls.command("results")
@click.argument("domain", required=False)
@click.option("--day", metavar="YYYY-MM-DD", help="The UTC day, today by default.")
@json_option
@url_option
def results(domain: str | None, day: str | None, as_json: bool) -> None:
    """Show the domains with results of TLS sessions, or what DOMAIN would be told."""
    query = "?" + urlencode({"day": day}) if day else ""
    control = open_control(where())
    if domain is None:
        domains = control.get("/tls/results" + query)
        if as_json:
            print_json(domains)
        else:
            click.echo("\n".join(domains) or "No results")
        return
    found = control.get("/tls/results/" + quote(domain, safe="") + query)
    if as_json:
        print_json(found)
        return
    for each in found["policies"]:
        policy, summary = each["policy"], each["summary"]
        good, bad = summary["total-successful-session-count"], summary["total-failure-session-count"]
        click.echo(f"{policy['policy-type']}: {good} session{'' if good == 1 else 's'} went well, {bad} did not")
        for line in policy.get("policy-string", ()):
            click.echo(f"  {line}")
        rows = [
            [
                str(failure["failed-session-count"]),
                failure["result-type"],
                failure.get("receiving-mx-hostname", ""),
                failure.get("failure-reason-code", ""),
            ]
            for failure in each["failure-details"]
        ]
        if rows:
            print_table(["SESSIONS", "RESULT", "HOST", "REASON"], rows)
