"""Signing in: which account a name and secret are good for."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from relayd.directory.account import API_KEY, Account, Refusal
from relayd.directory.options import AccountOptions
from relayd.directory.password import is_slow, matches
from relayd.directory.principal import FileAccounts, Principal, PrincipalSource
from relayd.directory.totp import UsedCodes, split_code

THREADS = 2
"""Secrets checked at once."""

MAX_WAITING = 64
"""Sign-ins that wait for a thread; further ones are told to come back."""

REMEMBERED_FOR = 300.0
"""Seconds for which a good sign-in is not checked again."""

MAX_REMEMBERED = 10_000


class TooBusy(Exception):
    """More sign-ins wait than are taken at once; try again later."""


class Directory:
    """Accounts by name: those of the configuration first, then those of `further` sources.  clock: Unix seconds."""

    def __init__(
        self,
        accounts: Mapping[str, AccountOptions],
        clock: Callable[[], float],
        further: Sequence[PrincipalSource] = (),
    ) -> None:
        self._clock = clock
        self._key = os.urandom(32)
        self._threads = ThreadPoolExecutor(THREADS, "sign-in")
        self._waiting = 0
        self._good: OrderedDict[bytes, float] = OrderedDict()
        self._codes = UsedCodes()
        self._further = tuple(further)
        self._sources: tuple[PrincipalSource, ...] = ()
        self._decoy = ""
        self.reconfigure(accounts)

    def reconfigure(self, accounts: Mapping[str, AccountOptions]) -> None:
        """Take other accounts of the configuration; what was remembered is forgotten."""
        self._sources = (FileAccounts(accounts), *self._further)
        self._good.clear()
        self._decoy = next((each.secret for each in accounts.values() if is_slow(each.secret)), "")

    async def get(self, name: str) -> Account | None:
        """The account of that name, with its present permissions and version."""
        principal = await self._find(_normal(name))
        return principal.account if principal is not None else None

    async def authenticate(self, login: str, secret: str) -> Account | Refusal:
        """The account that `login` and `secret` are good for; TooBusy, UnknownHash.

        An API key signs in nowhere by this.  An account that asks for one-time codes wants `secret$code`.  Whether
        the account has the permission `authenticate` is for the caller to see: its credentials are good.

        A login that does not exist takes as long as one that does: where any secret is a slow hash, one such hash is
        computed for every sign-in, the account's own or another.
        """
        principal = await self._find(_normal(login))
        if principal is not None and principal.account.type == API_KEY:
            principal = None
        code = ""
        if principal is not None and principal.otp:
            secret, code = split_code(secret)
        if not await self._is_good(principal, _normal(login), secret) or principal is None:
            return Refusal.WRONG
        if not principal.otp:
            return principal.account
        if not code:
            return Refusal.NEEDS_TOTP
        taken = self._codes.take(principal.account.name, principal.otp, code, self._clock())
        return principal.account if taken else Refusal.WRONG

    async def api_key(self, name: str, secret: str) -> Account | Refusal:
        """The API key that `name` and `secret` are good for; TooBusy, UnknownHash."""
        principal = await self._find(_normal(name))
        if principal is not None and principal.account.type != API_KEY:
            principal = None
        if not await self._is_good(principal, _normal(name), secret) or principal is None:
            return Refusal.WRONG
        return principal.account

    async def _find(self, name: str) -> Principal | None:
        for source in self._sources:
            found = await source.find(name)
            if found is not None:
                return found
        return None

    async def _is_good(self, principal: Principal | None, login: str, secret: str) -> bool:
        """Whether `secret` is the principal's, of memory or by a check; without a principal the check is a decoy."""
        if principal is None:
            await self._check("", secret, False)
            return False
        version = principal.account.version
        text = f"{len(login)}:{login}:{secret}"
        mark = hmac.digest(self._key, text.encode("utf-8", "surrogateescape") + version, hashlib.sha256)
        now = self._clock()
        remembered = self._good.get(mark)
        if remembered is not None and 0 <= now - remembered < REMEMBERED_FOR:
            return True
        if not await self._check(principal.secret, secret, True):
            return False
        self._good[mark] = now
        self._good.move_to_end(mark)
        if len(self._good) > MAX_REMEMBERED:
            self._good.popitem(last=False)
        return True

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


def _normal(login: str) -> str:
    return login.strip().lower()


def _check(stored: str, secret: str, exists: bool, decoy: str) -> bool:
    """Blocks: compare, at the cost of one slow hash where there is a decoy."""
    if exists and is_slow(stored):
        return matches(secret, stored)
    if decoy:
        matches(secret, decoy)
    return matches(secret, stored) and exists
