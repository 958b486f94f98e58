"""`relayd account`: accounts of the database, and their secrets.

No secret is taken from the command line, where every user of the machine could read it: passwords are asked for, or
read from the standard input; app passwords and keys of one-time codes are made here and printed once.
"""

from __future__ import annotations

import click

from relayd.cli.access_key import access_key, sending_address
from relayd.cli.control import open_control
from relayd.cli.failure import NO_INPUT, Failure
from relayd.cli.principal import Kind, add_common, asked_secret, create, made_secret, one, patch, secret_list
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

ACCOUNT = Kind(
    "individual",
    "account",
    (("NAME", "name"), ("ADDRESSES", "emails"), ("ROLES", "roles"), ("SUSPENDED", "suspended"), ("FOR", "description")),
)

API_KEY = Kind("apiKey", "API key", (("NAME", "name"), ("ROLES", "roles"), ("FOR", "description")))


@click.group()
def account() -> None:
    """Accounts and their secrets."""


account.add_command(access_key)
account.add_command(sending_address)
add_common(account, ACCOUNT)


@account.command("create")
@click.argument("name")
@click.option("--email", "emails", multiple=True, help="An address of the account; the first is its primary one.")
@click.option("--description", help="Whose it is, or what for.")
@click.option("--role", "roles", multiple=True, help="A role; without any: user.")
@click.option("--group", "groups", multiple=True, help="A group that it is a member of.")
@click.option("--list", "lists", multiple=True, help="A mailing list that it is a member of.")
@click.option("--tenant", help="Whose it is.")
@click.option("--allow", "allowances", multiple=True, help='What it may send: "recipients:300/hour".')
@click.option("--no-password", is_flag=True, help="Ask for none: nobody can sign in yet.")
@url_option
def create_(name: str, no_password: bool, groups: tuple[str, ...], roles: tuple[str, ...], **values: object) -> None:
    """Create the account NAME; its password is asked for, or the first line of the standard input."""
    secret = None if no_password else asked_secret("Password")
    create(ACCOUNT, {"name": name, "secrets": secret, "memberOf": groups, "roles": roles or ("user",), **values})


@account.command("password")
@click.argument("name")
@url_option
def password(name: str) -> None:
    """Set the password of NAME: asked for, or the first line of the standard input.

    What the old one was given for ends at once: tokens, and sessions at their next message.
    """
    control = open_control(where())
    one(ACCOUNT, control, name)
    secret = asked_secret("Password")
    patch(
        control,
        name,
        [
            {"action": "removeItem", "field": "secrets", "value": ""},
            {"action": "addItem", "field": "secrets", "value": secret},
        ],
    )
    click.echo(f"password of {printable(name)} changed")


@account.group("app-password")
def app_password() -> None:
    """Passwords of single programs, which need no one-time code and can be taken back one by one."""


@app_password.command("add")
@click.argument("name")
@click.argument("label")
@json_option
@url_option
def add_app_password(name: str, label: str, as_json: bool) -> None:
    """Make an app password LABEL for the account NAME, and print it: it is shown this once."""
    control = open_control(where())
    one(ACCOUNT, control, name)
    secret = made_secret()
    patch(control, name, [{"action": "addItem", "field": "secrets", "value": f"$app${label}${secret}"}])
    if as_json:
        print_json({"account": name, "name": label, "password": secret})
    else:
        click.echo(secret)


@app_password.command("list")
@click.argument("name")
@json_option
@url_option
def list_app_passwords(name: str, as_json: bool) -> None:
    """Show the names of the account's app passwords."""
    found = one(ACCOUNT, open_control(where()), name)
    labels = [each.split("$")[2] for each in secret_list(found) if each.startswith("$app$")]
    if as_json:
        print_json(labels)
    else:
        print_table(["NAME"], [[each] for each in labels])


@app_password.command("remove")
@click.argument("name")
@click.argument("label")
@url_option
def remove_app_password(name: str, label: str) -> None:
    """Take the app password LABEL of the account NAME away."""
    control = open_control(where())
    found = one(ACCOUNT, control, name)
    if label not in [each.split("$")[2] for each in secret_list(found) if each.startswith("$app$")]:
        raise Failure(NO_INPUT, f"{printable(name)} has no app password {printable(label)}")
    patch(control, name, [{"action": "removeItem", "field": "secrets", "value": f"$app${label}"}])
    click.echo(f"app password {printable(label)} of {printable(name)} removed")


@account.group("totp")
def totp() -> None:
    """One-time codes (RFC 6238): the account then signs in with PASSWORD$CODE."""


@totp.command("enable")
@click.argument("name")
@json_option
@url_option
def enable_totp(name: str, as_json: bool) -> None:
    """Make a key for NAME's one-time codes and print its URL, for an authenticator: it is shown this once."""
    import pyotp

    control = open_control(where())
    one(ACCOUNT, control, name)
    url = pyotp.TOTP(pyotp.random_base32()).provisioning_uri(name=name, issuer_name="relayd")
    patch(
        control,
        name,
        [
            {"action": "removeItem", "field": "secrets", "value": "otpauth://"},
            {"action": "addItem", "field": "secrets", "value": url},
        ],
    )
    if as_json:
        print_json({"account": name, "url": url})
    else:
        click.echo(url)


@totp.command("disable")
@click.argument("name")
@url_option
def disable_totp(name: str) -> None:
    """Ask NAME for no one-time codes any more."""
    control = open_control(where())
    one(ACCOUNT, control, name)
    patch(control, name, [{"action": "removeItem", "field": "secrets", "value": "otpauth://"}])
    click.echo(f"{printable(name)} signs in with the password alone")


@account.group("api-key")
def api_key() -> None:
    """Keys of programs for the control socket: `Authorization: Bearer KEY`."""


add_common(api_key, API_KEY)


@api_key.command("create")
@click.argument("name")
@click.option("--description", help="What for.")
@click.option("--role", "roles", multiple=True, help="A role.")
@click.option("--permission", "permissions", multiple=True, help="A permission; authenticate is among them always.")
@json_option
@url_option
def create_api_key(
    name: str, description: str | None, roles: tuple[str, ...], permissions: tuple[str, ...], as_json: bool
) -> None:
    """Create the API key NAME and print it as it is sent: it is shown this once."""
    import base64

    secret = made_secret()
    body = {
        "type": "apiKey",
        "name": name,
        "secrets": secret,
        "roles": list(roles),
        "enabledPermissions": sorted({"authenticate", *permissions}),
        "description": description,
    }
    open_control(where()).ask("POST", "/principal", body=body)
    key = "api_" + base64.b64encode(f"{name}:{secret}".encode()).decode()
    if as_json:
        print_json({"name": name, "key": key})
    else:
        click.echo(key)


@account.command("hash")
def hash_() -> None:
    """Print the argon2id hash of a secret, to be stored as `account.NAME.secret`.

    The secret is asked for twice at a terminal; else it is the first line of the standard input.
    """
    from relayd.directory.password import hash_secret

    click.echo(hash_secret(asked_secret("Secret")))
