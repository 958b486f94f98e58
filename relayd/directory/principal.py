"""Principals that sign in, with their secrets; and where they come from.

The directory asks its sources in order, and the first that knows a name answers for it.  The configuration file is one
source (`FileAccounts`), the database another (`principals.Principals`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Protocol

from relayd.directory.account import Account
from relayd.directory.editing import Reserved
from relayd.directory.entry import Entry, Type
from relayd.directory.fields import normal_address
from relayd.directory.options import AccountOptions
from relayd.directory.permissions import effective
from relayd.directory.secrets import Secrets
from relayd.mail.address import AddressError


class Principal:
    """An account with its secrets, which no repr shows.

    is_stored: it is kept in the database, where a better hash can take the place of its own.  The account's version,
    of its passwords and key of one-time codes, is computed here.
    """

    __slots__ = ("account", "is_stored", "secrets")

    def __init__(self, account: Account, secrets: Secrets, *, is_stored: bool = False) -> None:
        told = "".join(f"{len(each)}:{each}" for each in (*secrets.passwords, secrets.otp))
        self.account = replace(account, version=_digest(told), has_otp=bool(secrets.otp))
        self.secrets = secrets
        self.is_stored = is_stored

    def proves(self, proof: bytes) -> bool:
        """Whether the stored secret that `proof` is the digest of is still one of its own."""
        return any(proof == proof_of(each) for each in (*self.secrets.stored, self.secrets.scram) if each)

    def is_proof(self, account: Account, stored: str) -> bool:
        """Whether somebody signed in with that stored secret."""
        return account.proof == proof_of(stored)

    def __repr__(self) -> str:
        return f"<Principal {self.account.name}>"


def proof_of(stored: str) -> bytes:
    """A digest of a stored secret, by which a sign-in remembers what it was good for."""
    return _digest(stored)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:16]


class PrincipalSource(Protocol):
    """Where principals are kept."""

    async def find(self, name: str) -> Principal | None:
        """The principal of that name (lower case), None when there is none here.

        What it raises is unknown failure: who signs in is told to come back.
        """


class FileAccounts:
    """The accounts of the configuration."""

    def __init__(self, accounts: Mapping[str, AccountOptions]) -> None:
        self._principals = {
            name.strip().lower(): _principal(name.strip().lower(), options) for name, options in accounts.items()
        }

    async def find(self, name: str) -> Principal | None:
        """See `PrincipalSource`."""
        return self._principals.get(name)


def reserved_by(accounts: Mapping[str, AccountOptions], routes: Collection[str] | None = None) -> Reserved:
    """The names and addresses that the accounts of the configuration take.  routes: see `Reserved`."""
    names = {name.strip().lower(): each for name, each in accounts.items()}
    addresses: dict[str, str] = {}
    for name, each in names.items():
        for address in each.emails:
            with contextlib.suppress(AddressError):
                addresses.setdefault(normal_address(address), name)
    return Reserved({name: _entry(name, each) for name, each in names.items()}, addresses, routes)


def _entry(name: str, options: AccountOptions) -> Entry:
    # Far from the ids of the database, and the same at every start.
    id = 1 << 31 | int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:3], "big")
    return Entry(
        id=id,
        type=Type(options.type_),
        name=name,
        emails=options.emails,
        roles=options.roles,
        enabled_permissions=options.enabled_permissions,
        disabled_permissions=options.disabled_permissions,
        is_configured=True,
    )


def _principal(name: str, options: AccountOptions) -> Principal:
    account = Account(
        name=name,
        type=options.type_,
        emails=options.emails,
        roles=options.roles,
        permissions=effective(options.roles, options.enabled_permissions, options.disabled_permissions),
    )
    return Principal(account, Secrets(tuple(each for each in (options.secret, options.otp) if each)))
