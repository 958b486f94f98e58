"""`relayd list`, `relayd group`, `relayd role` and `relayd tenant`."""

from __future__ import annotations

import click

from relayd.cli.control import open_control
from relayd.cli.principal import Kind, add_common, create, one, patch
from relayd.cli.show import printable
from relayd.cli.where import url_option, where

LIST = Kind("list", "list", (("NAME", "name"), ("ADDRESSES", "emails"), ("FOR", "description")))
GROUP = Kind("group", "group", (("NAME", "name"), ("ADDRESSES", "emails"), ("FOR", "description")))
ROLE = Kind("role", "role", (("NAME", "name"), ("GIVES", "enabledPermissions"), ("TAKES", "disabledPermissions")))
TENANT = Kind("tenant", "tenant", (("NAME", "name"), ("MEMBERS", "members"), ("FOR", "description")))


@click.group("list")
def mailing_list() -> None:
    """Mailing lists: mail to one goes to its members, and bounces to its owner."""


@click.group()
def group() -> None:
    """Groups: mail to one goes to its members, and bounces to who sent it."""


@click.group()
def role() -> None:
    """Roles: permissions under a name."""


@click.group()
def tenant() -> None:
    """Tenants: whose accounts and domains are kept apart from others'."""


def _add_members(of: click.Group, kind: Kind) -> None:
    """Give a group of commands `create`, `add` and `remove`."""

    @of.command("create", help=f"Create the {kind.noun} NAME.")
    @click.argument("name")
    @click.option("--email", "emails", multiple=True, help="An address of it.")
    @click.option("--member", "members", multiple=True, help="An account or group by name, or an address elsewhere.")
    @click.option("--description", help="What for.")
    @click.option("--tenant", help="Whose it is.")
    @url_option
    def create_(name: str, members: tuple[str, ...], **values: object) -> None:
        inside, outside = _parted(members)
        create(kind, {"name": name, "members": inside, "externalMembers": outside, **values})

    @of.command("add", help=f"Add members to the {kind.noun} NAME.")
    @click.argument("name")
    @click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
    @url_option
    def add(name: str, members: tuple[str, ...]) -> None:
        _change(kind, name, members, "addItem")

    @of.command("remove", help=f"Remove members from the {kind.noun} NAME.")
    @click.argument("name")
    @click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
    @url_option
    def remove(name: str, members: tuple[str, ...]) -> None:
        _change(kind, name, members, "removeItem")


def _parted(members: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Names of principals, and addresses elsewhere: those that no principal has as its name."""
    control = open_control(where())
    inside: list[str] = []
    outside: list[str] = []
    for each in members:
        known = "@" not in each or control.get("/principal", [("filter", each), ("count", "1")])["total"]
        (inside if known else outside).append(each)
    return inside, outside


def _change(kind: Kind, name: str, members: tuple[str, ...], action: str) -> None:
    control = open_control(where())
    one(kind, control, name)
    inside, outside = _parted(members)
    changes = [{"action": action, "field": "members", "value": each} for each in inside]
    changes += [{"action": action, "field": "externalMembers", "value": each} for each in outside]
    patch(control, name, changes)
    click.echo(f"{kind.noun} {printable(name)} changed")


@role.command("create")
@click.argument("name")
@click.option("--permission", "enabledPermissions", multiple=True, help="A permission that it gives.")
@click.option("--without", "disabledPermissions", multiple=True, help="A permission that it takes away.")
@click.option("--role", "roles", multiple=True, help="A role whose permissions it has too.")
@click.option("--description", help="What for.")
@url_option
def create_role(name: str, **values: object) -> None:
    """Create the role NAME."""
    names = {"enabledpermissions": "enabledPermissions", "disabledpermissions": "disabledPermissions"}
    create(ROLE, {"name": name, **{names.get(key, key): value for key, value in values.items()}})


@tenant.command("create")
@click.argument("name")
@click.option("--description", help="Who it is.")
@click.option("--allow", "allowances", multiple=True, help='What it may send: "messages:10000/day".')
@url_option
def create_tenant(name: str, **values: object) -> None:
    """Create the tenant NAME."""
    create(TENANT, {"name": name, **values})


for _commands, _kind in ((mailing_list, LIST), (group, GROUP), (role, ROLE), (tenant, TENANT)):
    add_common(_commands, _kind)
for _commands, _kind in ((mailing_list, LIST), (group, GROUP)):
    _add_members(_commands, _kind)
