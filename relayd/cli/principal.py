"""Commands that every type of principal has: create, list, show, set, delete."""

from __future__ import annotations

import re
import secrets as chance
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import Control, open_control
from relayd.cli.failure import BAD_DATA, NO_INPUT, Failure
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

Json = dict[str, Any]

_PAGE = 250

_CHANGE = re.compile(r"([A-Za-z](?:[A-Za-z-]*[A-Za-z])?)([+-]?)=(.*)", re.DOTALL)

NUMBERS = frozenset({"quota"})
TEXTS = frozenset({"name", "description", "tenant", "picture", "nextHop", "suspended"})
SECRET = frozenset({"secrets"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of principals on the command line.  type: of the API.  noun: for people.

    columns: heads of the list, each with the field that stands below.
    """

    type: str
    noun: str
    columns: tuple[tuple[str, str], ...]


def one(kind: Kind, control: Control, name: str) -> Json:
    """The principal of that name and kind.  Raises Failure."""
    found: Json = control.get(path_of(name))
    if found.get("type") != kind.type:
        raise Failure(NO_INPUT, f"{printable(name)} is no {kind.noun} but of type {found.get('type')}")
    return found


def path_of(name: str) -> str:
    """Where a principal is in the API."""
    return "/principal/" + quote(name, safe="")


def patch(control: Control, name: str, changes: Sequence[Json]) -> None:
    """Make changes, all or none."""
    control.ask("PATCH", path_of(name), body=list(changes))


def add_common(group: click.Group, kind: Kind) -> None:
    """Give a group its commands `list`, `show`, `set` and `delete`."""

    @group.command("list", help=f"List the {kind.noun}s, by name.")
    @click.option("--filter", "words", help="Words, each in the name, the description or an address.")
    @click.option("--tenant", help="Only of that tenant.")
    @click.option("--limit", type=click.IntRange(1), help="At most so many.")
    @json_option
    @url_option
    def list_(words: str | None, tenant: str | None, limit: int | None, as_json: bool) -> None:
        items = _listed(open_control(where()), kind, [("filter", words), ("tenant", tenant)], limit)
        if as_json:
            print_json(items)
        elif items:
            print_table([head for head, _ in kind.columns], [_row(kind, each) for each in items])
        else:
            click.echo(f"There is no {kind.noun}", err=True)

    @group.command("show", help=f"Show one {kind.noun}.")
    @click.argument("name")
    @json_option
    @url_option
    def show(name: str, as_json: bool) -> None:
        found = one(kind, open_control(where()), name)
        if as_json:
            print_json(found)
            return
        shown = {**found, "secrets": secret_names(found)} if found.get("secrets") else found
        width = max(len(field) for field in shown)
        for field, value in shown.items():
            click.echo(f"{field.ljust(width)}  {printable(text_of(value))}")

    @group.command("set", help=_SET.format(kind.noun))
    @click.argument("name")
    @click.argument("changes", metavar="FIELD=VALUE...", nargs=-1, required=True)
    @url_option
    def set_(name: str, changes: tuple[str, ...]) -> None:
        wanted = [parsed_change(each) for each in changes]
        control = open_control(where())
        one(kind, control, name)
        patch(control, name, wanted)
        click.echo(f"{kind.noun} {printable(name)} changed")

    @group.command("delete", help=f"Delete {kind.noun}s.")
    @click.argument("names", metavar="NAME...", nargs=-1, required=True)
    @url_option
    def delete(names: tuple[str, ...]) -> None:
        control = open_control(where())
        for name in names:
            one(kind, control, name)
            control.ask("DELETE", path_of(name))
            click.echo(f"{kind.noun} {printable(name)} deleted")


_SET = """Change fields of one {}: all of them, or none.

FIELD=VALUE replaces a field (a list: values with commas between; nothing: empty it), FIELD+=VALUE adds one value to a
list, FIELD-=VALUE takes it away. Fields have the names that `show` prints."""


def create(kind: Kind, values: Json) -> None:
    """Create a principal of what is given, and say so."""
    given = {field: value for field, value in values.items() if value not in (None, (), [], "")}
    open_control(where()).ask("POST", "/principal", body={"type": kind.type, **given})
    click.echo(f"{kind.noun} {printable(str(values['name']))} created")


def parsed_change(text: str) -> Json:
    """`field=value`, `field+=value` or `field-=value` as a change of the API.  Raises Failure."""
    match = _CHANGE.fullmatch(text)
    if match is None:
        raise Failure(BAD_DATA, f'expected FIELD=VALUE, FIELD+=VALUE or FIELD-=VALUE, not "{printable(text)}"')
    field = _camel(match[1])
    if field in SECRET:
        raise Failure(BAD_DATA, "secrets do not belong on the command line: use password, app-password or totp")
    action = {"": "set", "+": "addItem", "-": "removeItem"}[match[2]]
    value: Any = match[3]
    if field in NUMBERS:
        value = [_number(each) for each in value.split(",") if each.strip()]
        value = value[0] if len(value) == 1 else value
    elif action == "set" and field not in TEXTS:
        value = [each.strip() for each in value.split(",") if each.strip()]
    return {"action": action, "field": field, "value": value}


def _number(text: str) -> int:
    from relayd.options import OptionError, parse_size

    try:
        return parse_size(text.strip())
    except OptionError as error:
        raise Failure(BAD_DATA, f"quota: {error}") from None


def _camel(name: str) -> str:
    first, *others = name.split("-")
    return first + "".join(each[:1].upper() + each[1:] for each in others)


def _listed(control: Control, kind: Kind, query: Sequence[tuple[str, str | None]], limit: int | None) -> list[Json]:
    """All that a query finds, or `limit` of it, asked for in parts."""
    asked = [("types", kind.type), *((name, value) for name, value in query if value)]
    items: list[Json] = []
    page = 1
    while True:
        part = control.get("/principal", [*asked, ("page", str(page)), ("limit", str(_PAGE))])
        items += part["items"]
        if limit is not None and len(items) >= limit:
            return items[:limit]
        if not part["items"] or len(items) >= part["total"]:
            return items
        page += 1


def _row(kind: Kind, item: Json) -> list[str]:
    return [text_of(item.get(field, "")) for _, field in kind.columns]


def text_of(value: Any) -> str:
    """A value of a field for people."""
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return str(value)


def secret_list(found: Json) -> list[str]:
    """The secrets of a principal as the API shows them."""
    given = found.get("secrets", [])
    return [given] if isinstance(given, str) else list(given)


def secret_names(found: Json) -> list[str]:
    """What secrets a principal has, without any of them."""
    names = []
    for each in secret_list(found):
        if each.startswith("otpauth://"):
            names.append("one-time codes")
        elif each.startswith("$app$"):
            names.append("app password " + each.split("$")[2])
        else:
            names.append("password")
    return names


def asked_secret(what: str) -> str:
    """A secret: typed twice at a terminal, else the first line of the standard input.  Raises Failure."""
    from relayd.directory.password import MAX_SECRET

    if sys.stdin.isatty():
        secret: str = click.prompt(what, hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise Failure(BAD_DATA, "an empty secret lets nobody in")
    if len(secret.encode("utf-8", "surrogateescape")) > MAX_SECRET or "\0" in secret:
        raise Failure(BAD_DATA, f"a secret has at most {MAX_SECRET} octets, none of them NUL")
    return secret


def made_secret() -> str:
    """A secret that nobody could guess, easy to select by a double click."""
    return chance.token_hex(16)
