"""`relayd quarantine`: held mail, looked at and decided about."""

from __future__ import annotations

from typing import Any

import click

from relayd.cli.control import open_control
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where

report_option = click.option(
    "--report", type=click.Choice(["spam", "ham", "none"]), help="What is learnt of it, other than what this implies."
)


@click.group()
@url_option
def quarantine() -> None:
    """Mail that is held: by rules, filters, spam scoring or an operator."""


@quarantine.command("list")
@click.option("--limit", default=100, show_default=True, help="Messages at most; 0: all.")
@json_option
@url_option
def list_(limit: int, as_json: bool) -> None:
    """Show what is held, the oldest first."""
    found = open_control(where()).get(f"/quarantine?limit={limit}")
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo("Nothing is held")
        return
    print_table(
        ["ID", "SINCE", "FROM", "TO", "REASON"],
        [
            [str(each["id"]), each["since"], each["sender"] or "<>", ", ".join(each["recipients"]), each["reason"]]
            for each in found["items"]
        ],
    )
    click.echo(f"{len(found['items'])} of {found['total']}")


@quarantine.command("show")
@click.argument("id")
@json_option
@url_option
def show(id: str, as_json: bool) -> None:
    """Show the header and the text of a held message."""
    found = open_control(where()).get(f"/quarantine/{id}")
    if as_json:
        print_json(found)
        return
    click.echo(f"held since {found['since']} by {found['by']}: {found['reason']}\n")
    for field in found["header"]:
        click.echo(f"{field['name']}: {field['value']}")
    for part in found["parts"]:
        click.echo(f"\n-- {_titled(part)}")
        if part["text"] is not None:
            click.echo(part["text"])
    if found["is_cut"]:
        click.echo("\n-- there is more of it than is shown")


def _titled(part: dict[str, Any]) -> str:
    return " ".join(filter(None, (part["type"], part["name"], f"{part['size']} octets")))


def _decide(ids: tuple[str, ...], method: str, path: str, report: str | None, done: str) -> None:
    control = open_control(where())
    query = f"?report={report}" if report else ""
    for id in ids:
        control.ask(method, f"/quarantine/{id}{path}{query}")
        click.echo(f"{id} {done}")


@quarantine.command("release")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@report_option
@url_option
def release(ids: tuple[str, ...], report: str | None) -> None:
    """Let held messages go; they are learnt as ham."""
    _decide(ids, "POST", "/release", report, "released")


@quarantine.command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@report_option
@url_option
def delete(ids: tuple[str, ...], report: str | None) -> None:
    """Delete held messages; they are learnt as spam."""
    _decide(ids, "DELETE", "", report, "deleted")


@quarantine.command("report")
@click.argument("verdict", type=click.Choice(["spam", "ham"]))
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@url_option
def report(verdict: str, ids: tuple[str, ...]) -> None:
    """Have held messages learnt; they stay held."""
    _decide(ids, "POST", "/report", verdict, f"reported as {verdict}")
