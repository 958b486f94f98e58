"""Principals as they are kept: an account and its secrets; and where they come from.

The directory asks its sources in order, and the first that knows a name answers for it.  The configuration file is one
source (`FileAccounts`); a database of accounts is another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from relayd.directory.account import Account
from relayd.directory.options import AccountOptions
from relayd.directory.permissions import effective


class Principal:
    """An account with its secrets, which no repr shows.

    secret: as stored, a hash or plain text; empty: nobody signs in with it.  otp: an otpauth:// URL, "" for none.
    The account's version is computed here.
    """

    __slots__ = ("account", "otp", "secret")

    def __init__(self, account: Account, secret: str, otp: str = "") -> None:
        stored = f"{len(secret)}:{secret}:{otp}".encode("utf-8", "surrogateescape")
        self.account = replace(account, version=hashlib.sha256(stored).digest()[:16])
        self.secret = secret
        self.otp = otp

    def __repr__(self) -> str:
        return f"<Principal {self.account.name}>"


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


def _principal(name: str, options: AccountOptions) -> Principal:
    account = Account(
        name=name,
        type=options.type_,
        emails=options.emails,
        roles=options.roles,
        permissions=effective(options.roles, options.enabled_permissions, options.disabled_permissions),
    )
    return Principal(account, options.secret, options.otp or "")
