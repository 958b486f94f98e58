"""Signing in: which account a name and secret are good for."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from relayd.directory.account import API_KEY, Account, Refusal
from relayd.directory.options import AccountOptions
from relayd.directory.password import is_slow, matches
from relayd.directory.principal import FileAccounts, Principal, PrincipalSource, proof_of
from relayd.directory.secrets import app_secret, is_app
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


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a client gave: the secret, and the same without the code behind it (where the account asks for one)."""

    whole: str
    without_code: str


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
        self._good: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
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

        An API key signs in nowhere by this.  An account that asks for one-time codes wants `secret$code`; an app
        password needs none.  Whether the account has the permission `authenticate` is for the caller to see: its
        credentials are good.

        A login that does not exist takes as long as one that does: where any secret is a slow hash, one such hash is
        computed for every sign-in, the account's own or another.
        """
        principal = await self._find(_normal(login))
        if principal is not None and principal.account.type == API_KEY:
            principal = None
        code, base = "", secret
        if principal is not None and principal.secrets.otp:
            base, code = split_code(secret)
        stored = await self._stored_of(principal, _normal(login), _Offer(secret, base))
        if stored is None or principal is None:
            return Refusal.WRONG
        account = replace(principal.account, proof=proof_of(stored))
        otp = principal.secrets.otp
        if not otp or is_app(stored):
            return account
        if not code:
            return Refusal.NEEDS_TOTP
        return account if self._codes.take(account.name, otp, code, self._clock()) else Refusal.WRONG

    async def api_key(self, name: str, secret: str) -> Account | Refusal:
        """The API key that `name` and `secret` are good for; TooBusy, UnknownHash."""
        principal = await self._find(_normal(name))
        if principal is not None and principal.account.type != API_KEY:
            principal = None
        stored = await self._stored_of(principal, _normal(name), _Offer(secret, secret))
        return Refusal.WRONG if stored is None or principal is None else principal.account

    async def _find(self, name: str) -> Principal | None:
        for source in self._sources:
            found = await source.find(name)
            if found is not None:
                return found
        return None

    async def _stored_of(self, principal: Principal | None, login: str, offer: _Offer) -> str | None:
        """Which stored secret of the principal is the one offered, of memory or by a check; None for none.

        Without a principal the check is a decoy.
        """
        if principal is None:
            await self._check((), (), offer)
            return None
        now = self._clock()
        marks = {is_for_app: self._mark(principal, login, offer, is_for_app) for is_for_app in (False, True)}
        for mark in marks.values():
            at, place = self._good.get(mark, (float("-inf"), 0))
            if 0 <= now - at < REMEMBERED_FOR:
                return principal.secrets.stored[place]
        stored = await self._check(principal.secrets.passwords, principal.secrets.apps, offer)
        if stored is not None:
            mark = marks[is_app(stored)]
            self._good[mark] = (now, principal.secrets.stored.index(stored))
            self._good.move_to_end(mark)
            if len(self._good) > MAX_REMEMBERED:
                self._good.popitem(last=False)
        return stored

    def _mark(self, principal: Principal, login: str, offer: _Offer, is_for_app: bool) -> bytes:
        """By what a good sign-in is remembered: no secret can be found from it, and other secrets make another."""
        what = ("app", offer.whole) if is_for_app else ("password", offer.without_code)
        told = (login, *what, *principal.secrets.stored)
        text = "".join(f"{len(each)}:{each}" for each in told)
        return hmac.digest(self._key, text.encode("utf-8", "surrogateescape"), hashlib.sha256)

    async def _check(self, passwords: Sequence[str], apps: Sequence[str], offer: _Offer) -> str | None:
        if self._waiting >= MAX_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, _check, passwords, apps, offer, self._decoy
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _normal(login: str) -> str:
    return login.strip().lower()


def _check(passwords: Sequence[str], apps: Sequence[str], offer: _Offer, decoy: str) -> str | None:
    """Blocks: the stored secret that is the one offered, at the cost of one slow hash where there is a decoy."""
    if decoy and not any(is_slow(each) for each in passwords):
        matches(offer.without_code, decoy)
    for stored in passwords:
        if matches(offer.without_code, stored):
            return stored
    return next((stored for stored in apps if matches(offer.whole, app_secret(stored))), None)
