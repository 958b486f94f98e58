"""`relayd check`: is the configuration valid, and what does it come to?  With --live: is the machine ready for it?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relayd.cli.failure import BAD_CONFIG, OS_ERROR, UNAVAILABLE, Failure
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import config_option, way_out, where
from relayd.config.configuration import DATABASE, FILE, Config, ConfigError
from relayd.database.interface import DatabaseError, NewerSchema
from relayd.listener.options import PluginOptions
from relayd.options import OptionError


@click.command()
@click.option("--live", is_flag=True, help="Look at DNS, port 25, certificates, clock and disk too.")
@click.option("--target", metavar="HOST[:PORT]", help="With --live: whom to connect to as a test of port 25.")
@click.option("--print-default", is_flag=True, help="Print a configuration with every option commented, and no more.")
@json_option
@config_option
def check(live: bool, target: str | None, print_default: bool, as_json: bool) -> int:
    """Validate the configuration and print what it comes to.

    The settings written through the API are laid over the file, as a start would, where they may be read.  Exits 78
    when it has an error; with --live 69 when something would not work.
    """
    if print_default:
        from relayd.config.generate import render

        click.echo(render(), nl=False)
        return 0
    from relayd.cli.effective import effective
    from relayd.config.load import load

    looked = _Database()
    try:
        config = load(where().path, stored=looked.read)
        _try_plugins(config)
    except ConfigError as error:
        _print_errors(error, as_json)
        return BAD_CONFIG
    except NewerSchema as error:
        raise Failure(BAD_CONFIG, str(error)) from None
    except (DatabaseError, OSError) as error:
        raise Failure(OS_ERROR, f"the settings of the database cannot be read: {error}") from None
    answer = {**effective(config), "database": looked.answer(config)}
    findings = _look(config, target) if live else []
    if as_json:
        print_json({**answer, **({"live": findings} if live else {})})
    else:
        _print(config, answer, looked.line(config))
        _print_findings(findings)
    return UNAVAILABLE if any(each["state"] == "fail" for each in findings) else 0


class _Database:
    """The settings of the database, looked for where the daemon of the configuration keeps them."""

    def __init__(self) -> None:
        self._place: Path | None = None
        self._reason = ""

    def read(self, directory: Path) -> Mapping[str, str]:
        """What is stored; nothing when we may not read it, which `line` says.  Raises DatabaseError, OSError."""
        from relayd.config.places import STATE_DIRECTORY
        from relayd.config.store import SETTINGS, read_stored

        for place in (directory, STATE_DIRECTORY) if directory == _UNWRITTEN else (directory,):
            try:
                if (place / SETTINGS).exists():
                    self._place = place / SETTINGS
                    return read_stored(place)
            except PermissionError as error:
                self._place, self._reason = place / SETTINGS, error.strerror or str(error)
                return {}
        return {}

    def line(self, config: Config) -> str:
        """For people: what was laid over the file."""
        if self._reason:
            return f"NOT looked at, {self._place} cannot be read: {self._reason}"
        if not config.stored:
            return "of the file alone"
        return f"{len(config.stored)} keys of {self._place} are laid over the file"

    def answer(self, config: Config) -> dict[str, Any]:
        """For programs.  keys: of the settings laid over the file."""
        place = None if self._place is None else str(self._place)
        return {"path": place, "keys": sorted(config.stored), "unreadable": self._reason or None}


_UNWRITTEN = Path("relayd-data").absolute()
"""The data directory where neither file nor environment name one: the service's own is known to systemd alone."""


def _try_plugins(config: Config) -> None:
    """Import the plug-ins, which no other command does: their code is the user's.  Raises ConfigError."""
    names = config.section(PluginOptions).plugins
    if not names:
        return
    from relayd.config.load import located
    from relayd.listener.plugins import load_plugins

    try:
        load_plugins(names)
    except OptionError as error:
        raise located(config, error) from error


def _look(config: Config, target: str | None) -> list[dict[str, str]]:
    from relayd.cli.live import look
    from relayd.cli.show import working

    with working("Looking at the machine"):
        return [finding.as_dict() for finding in look(config, target)]


def _print_errors(error: ConfigError, as_json: bool) -> None:
    if as_json:
        rows = [
            {"key": each.key, "line": each.line, "text": each.text, "source": DATABASE if each.stored else FILE}
            for each in error.problems
        ]
        print_json({"file": None if error.path is None else str(error.path), "errors": rows})
        return
    for problem in error.problems:
        print(problem.render(error.path), file=sys.stderr)
    count = len(error.problems)
    print(f"{count} error{'s' * (count != 1)}", file=sys.stderr)
    for line in way_out(error):
        print(line, file=sys.stderr)


def _print(config: Config, answer: dict[str, Any], database: str) -> None:
    click.echo(f"{config.path or 'The development default'}: valid")
    for warning in config.warnings:
        click.echo(f"warning: {warning.render(config.path)}")
    click.echo(f"\nHostname   {answer['hostname'] or 'that of the machine'}\nData       {answer['data-dir']}")
    click.echo(f"Settings   {database}\n")
    rows = [
        [each["id"], each["protocol"], each["role"], " ".join(each["bind"]), each["tls"]]
        for each in answer["listeners"]
    ]
    print_table(["id", "protocol", "role", "bind", "TLS"], rows, title="Listeners")
    _print_sessions(answer["sessions"])
    _print_routes(answer["routes"])
    _print_schedule(answer["schedule"])


def _print_sessions(sessions: dict[str, Any]) -> None:
    click.echo("\nSessions")
    trusted = ", ".join(sessions["trusted"]) or "no network"
    click.echo(f"trusted   {trusted}; who signed in; the submit socket: may send to any domain")
    domains = ", ".join(sessions["relay-domains"]) or "no domain (session.rcpt.relay-domains is empty)"
    click.echo(f"stranger  everybody else: may send to {domains}")
    if sessions["known-recipients"]:
        click.echo()
        words = {"any": "any: EVERY name is taken", "probe": "probe: the next hop is asked"}
        rows = [[domain, words.get(how, how)] for domain, how in sessions["known-recipients"].items()]
        print_table(["relay domain", "its recipients"], rows)


def _print_routes(routes: dict[str, Any]) -> None:
    _print_rules(routes["rules"])
    click.echo()
    mx = f"its MX, port {routes['mx-port']}" + (", private addresses too" if routes["allow-private"] else "")

    def named(route: str) -> str:
        return mx if route == "mx" else f"route {route}"

    rows = [[domain, named(route)] for domain, route in routes["domains"].items()]
    print_table(["domain", "next hop"], [*rows, ["(every other)", named(routes["default"])]], title="Routes")
    if routes["routes"]:
        click.echo()
        table = [
            [name, each["to"], each["protocol"], each["tls"], each["auth"]] for name, each in routes["routes"].items()
        ]
        print_table(["route", "to", "protocol", "TLS", "signs in as"], table)
        _print_pools(routes)
    _print_sources(routes)
    if routes["tls-domains"]:
        click.echo()
        rows = [[domain, each["mode"], each["min-version"]] for domain, each in routes["tls-domains"].items()]
        print_table(["domain", "TLS", "oldest version"], rows, title="TLS of mail hosts")


def _print_rules(rules: list[dict[str, Any]]) -> None:
    if not rules:
        return
    click.echo()
    rows = [[each["id"], each["when"], each["next-hop"] or "", each["source"] or ""] for each in rules]
    print_table(["rule", "when", "next hop", "source"], rows, title="Rules (the first that matches)")


def _print_pools(routes: dict[str, Any]) -> None:
    """The hosts of routes that have several, or budgets."""
    rows = [
        [
            name,
            host["to"],
            str(host["weight"]),
            *(str(host[key] or "") for key in ("messages-per-hour", "messages-per-day", "connections")),
        ]
        for name, each in routes["routes"].items()
        for host in each["hosts"]
    ]
    if rows:
        click.echo()
        print_table(["route", "host", "weight", "an hour", "a day", "connections"], rows)


def _print_sources(routes: dict[str, Any]) -> None:
    """Sources, the pools they are in, and what leaves from where unless a rule says otherwise."""
    if not routes["sources"]:
        return
    click.echo()
    rows = [
        [
            id,
            " ".join(text for text in (each["address"], each["address-v6"]) if text),
            each["ehlo"] or "",
            ", ".join(f"{pool} ({members[id]})" for pool, members in routes["source-pools"].items() if id in members),
        ]
        for id, each in routes["sources"].items()
    ]
    print_table(["source", "address", "EHLO", "in pools (weight)"], rows, title="Sources")
    named = {f"route {name}": each["source"] for name, each in routes["routes"].items()}
    named["all other mail"] = routes["source"]
    for what, source in named.items():
        if source:
            click.echo(f"{what} leaves from {source}")


def _print_schedule(schedule: dict[str, Any]) -> None:
    click.echo()
    rows = [
        [str(each["attempt"]), _age(each["delay"]), _age(each["age"]), each["note"]]
        for each in _shortened(schedule["attempts"])
    ]
    title = f"Retry schedule (expires after {schedule['expire']})"
    print_table(["attempt", "after", "at age", ""], rows, title=title)


def _shortened(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list without the repetitions of the last delay, except where something else happens."""
    kept = []
    for at, each in enumerate(attempts):
        last = at + 1 == len(attempts)
        repeated = at > 1 and each["delay"] == attempts[at - 1]["delay"] == attempts[at - 2]["delay"]
        if last or each["note"] or not repeated:
            kept.append(each)
    return kept


def _age(seconds: float) -> str:
    """A cumulative time for people: "1d 3h 20m"."""
    rest = round(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0"


def _print_findings(findings: list[dict[str, str]]) -> None:
    if not findings:
        return
    click.echo()
    for each in findings:
        click.echo(f"{each['state']:<5} {each['subject']:<13} {each['text']}")
        if each["hint"]:
            click.echo(f"{'':<19} -> {each['hint']}")
