"""`relayd account`: what the secrets of accounts are stored as."""

from __future__ import annotations

import sys

import click

from relayd.cli.access_key import access_key, sending_address
from relayd.cli.failure import BAD_DATA, Failure


@click.group()
def account() -> None:
    """Accounts and their secrets."""


account.add_command(access_key)
account.add_command(sending_address)


@account.command("hash")
def hash_() -> None:
    """Print the argon2id hash of a secret, to be stored as `account.NAME.secret`.

    The secret is asked for twice at a terminal; else it is the first line of the standard input.
    """
    from relayd.directory.password import MAX_SECRET, hash_secret

    secret = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise Failure(BAD_DATA, "an empty secret lets nobody in")
    if len(secret.encode("utf-8", "surrogateescape")) > MAX_SECRET or "\0" in secret:
        raise Failure(BAD_DATA, f"a secret has at most {MAX_SECRET} octets, none of them NUL")
    click.echo(hash_secret(secret))


def _asked() -> str:
    secret: str = click.prompt("Secret", hide_input=True, confirmation_prompt="Once more", err=True)
    return secret
