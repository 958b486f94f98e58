"""`relayd spam`: what the spam filter says of a message, what it learns, and its rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from relayd.cli.control import Control, open_control
from relayd.cli.failure import BAD_DATA, Failure, Refused
from relayd.cli.message_file import read_message
from relayd.cli.show import json_option, print_json, print_table
from relayd.cli.where import url_option, where

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
@url_option
def spam() -> None:
    """What the spam filter says of a message, what it learns, and its rules."""


def _envelope(command: F) -> F:
    """Decorator: the command takes how the message would come."""
    for decorator in (
        click.option("--tls", is_flag=True, help="The client's connection is encrypted."),
        click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="A recipient; may be repeated."),
        click.option("--from", "sender", default="", metavar="ADDRESS", help="The return path. Default: the null one."),
        click.option("--helo", default="", metavar="NAME", help="The name that the client gives in EHLO."),
        click.option("--ip", default="127.0.0.1", metavar="ADDRESS", help="Address of the client."),
        click.argument("file", default="-"),
    ):
        command = decorator(command)
    return command


@spam.command()
@_envelope
@json_option
@url_option
def classify(file: str, as_json: bool, **given: Any) -> None:
    """Score the message in FILE ("-" is standard input) as a stranger's; nothing is learnt."""
    found = _classified(file, explain=False, **given)
    if as_json:
        print_json(found)
        return
    disposition = found["disposition"]
    click.echo(disposition.get("value", "").replace("\r\n", "\n").rstrip())
    if disposition["action"] != "allow":
        click.echo(f"It would be: {disposition['action']}")


@spam.command()
@_envelope
@json_option
@url_option
def explain(file: str, as_json: bool, **given: Any) -> None:
    """The same, with the reason and the evidence of each tag, and what would have changed the verdict."""
    found = _classified(file, explain=True, **given)
    if as_json:
        print_json(found)
        return
    why = found["explain"]
    rows = []
    for name, weight in found["tags"].items():
        counts = f"{weight['value']:.2f}" if "value" in weight else weight["action"]
        if weight.get("value") or weight["action"] != "allow" or not name.startswith("X_"):
            each = why["tags"][name]
            rows.append([counts, name, each["reason"], each["evidence"][:60]])
    print_table(["SCORE", "TAG", "REASON", "EVIDENCE"], list(reversed(rows)))
    click.echo(f"\nscore {found['score']:.2f}, {found['disposition']['action']}")
    if why["flip"]:
        click.echo(f"The verdict would be another without {', '.join(why['flip'])}.")
    else:
        click.echo("No tag's absence would change the verdict.")


def _classified(
    file: str, *, explain: bool, ip: str, helo: str, sender: str, recipients: tuple[str, ...], tls: bool
) -> Any:
    body = {
        "message": read_message(file).decode("utf-8", "replace"),
        "remoteIp": ip,
        "ehloDomain": helo,
        "envFrom": sender,
        "envFromFlags": 0,
        "envRcptTo": list(recipients),
        "isTls": tls,
    }
    query = [("explain", "1")] if explain else []
    return _asked(open_control(where()), "POST", "/spam-filter/classify", query, json.dumps(body).encode())


@spam.command()
@click.argument("kind", type=click.Choice(["spam", "ham"]))
@click.argument("files", nargs=-1)
@click.option("--account", metavar="NAME", help="Into the model of this account. Default: everybody's.")
@click.option("--forget", is_flag=True, help="Take back what was learnt, once.")
@url_option
def train(kind: str, files: tuple[str, ...], account: str | None, forget: bool) -> None:
    """Learn the messages in FILES ("-" is standard input) as spam or as ham."""
    path = f"/spam-filter/train/{kind}" + (f"/{quote(account, safe='')}" if account else "")
    control = open_control(where())
    done = 0
    for file in files or ("-",):
        answer = _asked(control, "DELETE" if forget else "POST", path, [], read_message(file))
        done += 1 if not forget or answer else 0
    click.echo(f"{done} message{'' if done == 1 else 's'} {'forgotten' if forget else 'learnt'} as {kind}")


@spam.command()
@json_option
@url_option
def models(as_json: bool) -> None:
    """Show what was learnt."""
    found = open_control(where()).get("/spam-filter/models")
    if as_json:
        print_json(found)
        return
    rows = [
        [each["account"] or "(everybody)", str(each["spam"]), str(each["ham"]), "yes" if each["speaks"] else "no"]
        for each in found
    ]
    print_table(["MODEL", "SPAM", "HAM", "SPEAKS"], rows) if rows else click.echo("Nothing was learnt")


@spam.command()
@click.option("--force", is_flag=True, help="Even where this version is in force.")
@click.option("--overwrite", is_flag=True, help="Take away scores that were set through the API.")
@url_option
def update(force: bool, overwrite: bool) -> None:
    """Fetch rules from spam-filter.update.source and put them in force."""
    query = [(name, "1") for name, wanted in (("force", force), ("overwrite", overwrite)) if wanted]
    version = _asked(open_control(where()), "GET", "/update/spam-filter", query)
    click.echo("already in force" if version is None else f"version {version} is in force")


@spam.command()
@url_option
def rollback() -> None:
    """Go back to the rules before the last update."""
    version = _asked(open_control(where()), "POST", "/update/spam-filter/rollback")
    click.echo(f"version {version} is in force")


@spam.command()
@json_option
@url_option
def versions(as_json: bool) -> None:
    """Show which rules are in force, and which were before."""
    found = open_control(where()).get("/update/spam-filter/versions")
    if as_json:
        print_json(found)
        return
    click.echo(f"in force  {found['version']}")
    for each in found["previous"]:
        click.echo(f"before    {each or '(as delivered)'}")


def _asked(control: Control, method: str, path: str, query: Any = (), body: object = None) -> Any:
    try:
        return control.ask(method, path, query, body)
    except Refused as refused:
        raise Failure(BAD_DATA, str(refused)) from None
