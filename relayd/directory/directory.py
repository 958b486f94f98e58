"""The accounts of the configuration, and signing in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from relayd.directory.account import Account
from relayd.directory.options import AccountOptions
from relayd.directory.password import is_hash, matches

THREADS = 2
"""Secrets checked at once."""

MAX_WAITING = 64
"""Sign-ins that wait for a thread; further ones are told to come back."""

REMEMBERED_FOR = 300.0
"""Seconds for which a good sign-in is not checked again."""

MAX_REMEMBERED = 10_000


class TooBusy(Exception):
    """More sign-ins wait than are taken at once; try again later."""


class _Entry:
    """An account and its secret, which no repr shows."""

    __slots__ = ("account", "secret")

    def __init__(self, account: Account, secret: str) -> None:
        self.account = account
        self.secret = secret

    def __repr__(self) -> str:
        return f"<_Entry {self.account.name}>"


class Directory:
    """Accounts by name.  clock: seconds, only differences matter."""

    def __init__(self, accounts: Mapping[str, AccountOptions], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key = os.urandom(32)
        self._threads = ThreadPoolExecutor(THREADS, "sign-in")
        self._waiting = 0
        self._good: OrderedDict[bytes, tuple[float, _Entry]] = OrderedDict()
        self._entries: dict[str, _Entry] = {}
        self._decoy = ""
        self.reconfigure(accounts)

    def reconfigure(self, accounts: Mapping[str, AccountOptions]) -> None:
        """Take other accounts; what was remembered of the old ones is forgotten."""
        self._entries = {
            name: _Entry(
                Account(
                    name=name,
                    type=options.type_,
                    emails=options.emails,
                    roles=options.roles,
                    enabled_permissions=options.enabled_permissions,
                    disabled_permissions=options.disabled_permissions,
                ),
                options.secret,
            )
            for name, options in accounts.items()
        }
        self._good.clear()
        hashes = [entry.secret for entry in self._entries.values() if is_hash(entry.secret)]
        self._decoy = hashes[0] if hashes else ""

    def get(self, name: str) -> Account | None:
        """The account of that name."""
        entry = self._entries.get(name)
        return entry.account if entry is not None else None

    async def authenticate(self, login: str, secret: str) -> Account | None:
        """The account that `login` and `secret` are good for, or None; TooBusy, UnknownHash.

        A login that does not exist takes as long as one that does: where any secret is a hash, one hash is computed
        for every sign-in, the account's own or another.
        """
        entry = self._entries.get(login)
        mark = hmac.digest(
            self._key, f"{len(login)}:{login}:{secret}".encode("utf-8", "surrogateescape"), hashlib.sha256
        )
        now = self._clock()
        remembered = self._good.get(mark)
        if remembered is not None and remembered[1] is entry and 0 <= now - remembered[0] < REMEMBERED_FOR:
            return remembered[1].account
        good = await self._check(entry.secret if entry is not None else "", secret, entry is not None)
        if not good or entry is None or not entry.account.may_sign_in:
            return None
        if self._entries.get(login) is entry:
            self._good[mark] = (now, entry)
            self._good.move_to_end(mark)
            if len(self._good) > MAX_REMEMBERED:
                self._good.popitem(last=False)
        return entry.account

    async def _check(self, stored: str, secret: str, exists: bool) -> bool:
        if self._waiting >= MAX_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, _check, stored, secret, exists, self._decoy
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _check(stored: str, secret: str, exists: bool, decoy: str) -> bool:
    """Blocks: compare, at the cost of one hash where there is a decoy."""
    if exists and is_hash(stored):
        return matches(secret, stored)
    if decoy:
        matches(secret, decoy)
    return matches(secret, stored) and exists and bool(stored)
