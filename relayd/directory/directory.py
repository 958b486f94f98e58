"""Signing in: which account a name and secret are good for."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from relayd.database.interface import DatabaseError
from relayd.directory.account import API_KEY, Account, Refusal
from relayd.directory.attempts import Attempts
from relayd.directory.entry import Type
from relayd.directory.options import AccountOptions
from relayd.directory.password import give_way, hash_secret, is_current, is_slow, matches
from relayd.directory.principal import FileAccounts, Principal, PrincipalSource, proof_of
from relayd.directory.scram import Verifier, decoy, parse_verifier
from relayd.directory.secrets import Secrets, app_secret, is_app, prepared
from relayd.directory.totp import UsedCodes, split_code

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
"""Secrets checked at once."""

MAX_WAITING = 64
"""Sign-ins that wait for a thread; further ones are told to come back."""

REMEMBERED_FOR = 300.0
"""Seconds for which a good sign-in is not checked again."""

MAX_REMEMBERED = 10_000


PACE = 0.1
"""Seconds: a refusal is told at the next multiple of these, however long the checks took that led to it."""

Rehash = Callable[[str, str, Secrets], Awaitable[None]]
"""Keeps a better hash: of which account, in place of which stored secret, what."""


class TooBusy(Exception):
    """More sign-ins wait than are taken at once; try again later."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A SCRAM exchange under way.  account: None where it can but fail."""

    login: str
    site: str
    verifier: Verifier
    account: Account | None


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a client gave: the secret, and the same without the code behind it (where the account asks for one)."""

    whole: str
    without_code: str


class Directory:
    """Accounts by name: those of the configuration first, then those of `further` sources.  clock: Unix seconds.

    generation: counts up whenever anything may have changed; who remembers an account compares it.  rehash: where a
    better hash is kept.  decoys: octets that only this machine knows, the same after a restart.  pause: waits.
    """

    def __init__(
        self,
        accounts: Mapping[str, AccountOptions],
        clock: Callable[[], float],
        further: Sequence[PrincipalSource] = (),
        *,
        rehash: Rehash | None = None,
        decoys: bytes = b"",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.generation = 0
        self.attempts = Attempts()
        self._rehash = rehash
        self._decoys = decoys or os.urandom(32)
        self._pause = pause
        self._clock = clock
        self._key = os.urandom(32)
        self._threads = ThreadPoolExecutor(THREADS, "sign-in", initializer=give_way)
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
        self.changed()
        self._decoy = next((each.secret for each in accounts.values() if is_slow(each.secret)), "")

    def changed(self) -> None:
        """Accounts may be others than they were."""
        self.generation += 1

    async def get(self, name: str) -> Account | None:
        """The account of that name, with its present permissions and version."""
        principal = await self._find(_normal(name))
        return principal.account if principal is not None else None

    async def renewed(self, account: Account) -> Account | None:
        """Somebody who signed in, as the account is now; None when it is gone, or what it signed in with is."""
        principal = await self._find(account.name)
        if principal is None:
            return None
        is_good = principal.proves(account.proof) if account.proof else principal.account.version == account.version
        return replace(principal.account, proof=account.proof) if is_good else None

    async def authenticate(self, login: str, secret: str, site: str = "") -> Account | Refusal:
        """The account that `login` and `secret` are good for; TooBusy, UnknownHash.  site: where from, see `Attempts`.

        An API key signs in nowhere by this.  An account that asks for one-time codes wants `secret$code`; an app
        password needs none.  Whether the account has the permission `authenticate` is for the caller to see: its
        credentials are good.

        A login that does not exist takes as long as one that does: where any secret is a slow hash, one such hash is
        computed for every sign-in, the account's own or another, and a refusal is told at the next full `PACE`.
        """
        began = asyncio.get_running_loop().time()
        login = _normal(login)
        found = await self._authenticate(login, secret, site)
        if isinstance(found, Account):
            self.attempts.succeeded(login, site, self._clock())
        elif found is Refusal.WRONG:
            self.attempts.failed(login, self._clock())
            await self._pause(PACE - (asyncio.get_running_loop().time() - began) % PACE)
        return found

    async def _authenticate(self, login: str, secret: str, site: str) -> Account | Refusal:
        principal = await self._find(login)
        if principal is not None and principal.account.type == API_KEY:
            principal = None
        code, base = "", secret
        if principal is not None and principal.secrets.otp:
            base, code = split_code(secret)
        stored = await self._stored_of(principal, login, _Offer(secret, base), site)
        if stored is None or principal is None:
            return Refusal.WRONG
        account = replace(principal.account, proof=proof_of(stored))
        otp = principal.secrets.otp
        if otp and not is_app(stored):
            if not code:
                return Refusal.NEEDS_TOTP
            if not self._codes.take(account.name, otp, code, self._clock()):
                return Refusal.WRONG
        if self._rehash is not None and principal.is_stored and not is_app(stored) and not is_current(stored):
            account = await self._improved(principal, stored, base) or account
        return account

    async def _improved(self, principal: Principal, stored: str, secret: str) -> Account | None:
        """The account with a hash of our own kind in place of `stored`; None when it has none for now."""
        assert self._rehash is not None
        name = principal.account.name
        try:
            better = await self._run(prepared, Type.INDIVIDUAL, "{PLAIN}" + secret)
            await self._rehash(name, stored, better)
        except (TooBusy, DatabaseError):
            return None  # the next sign-in tries again
        found = await self._find(name)
        return None if found is None else replace(found.account, proof=proof_of(better.stored[0]))

    async def challenge(self, login: str, site: str = "") -> Challenge:
        """What a SCRAM exchange with `login` begins with.

        An account without a verifier, or that is asked for one-time codes, is led as far as one that does not exist.
        """
        login = _normal(login)
        principal = await self._find(login)
        await self._take_turn(login, site)
        if principal is not None and not principal.secrets.otp:
            known = parse_verifier(principal.secrets.scram)
            if known is not None:
                account = replace(principal.account, proof=proof_of(principal.secrets.scram))
                return Challenge(login, site, known, account)
        return Challenge(login, site, decoy(self._decoys, login), None)

    def conclude(self, challenge: Challenge, *, proved: bool) -> Account | Refusal:
        """Whom a SCRAM exchange signed in."""
        if proved and challenge.account is not None:
            self.attempts.succeeded(challenge.login, challenge.site, self._clock())
            return challenge.account
        self.attempts.failed(challenge.login, self._clock())
        return Refusal.WRONG

    async def api_key(self, name: str, secret: str) -> Account | Refusal:
        """The API key that `name` and `secret` are good for; TooBusy, UnknownHash."""
        principal = await self._find(_normal(name))
        if principal is not None and principal.account.type != API_KEY:
            principal = None
        stored = await self._stored_of(principal, _normal(name), _Offer(secret, secret), "")
        return Refusal.WRONG if stored is None or principal is None else principal.account

    async def _find(self, name: str) -> Principal | None:
        for source in self._sources:
            found = await source.find(name)
            if found is not None:
                return found
        return None

    async def _stored_of(self, principal: Principal | None, login: str, offer: _Offer, site: str) -> str | None:
        """Which stored secret of the principal is the one offered, of memory or by a check; None for none.

        Without a principal the check is a decoy.
        """
        if principal is None:
            await self._take_turn(login, site)
            await self._check((), (), offer)
            return None
        now = self._clock()
        marks = {is_for_app: self._mark(principal, login, offer, is_for_app) for is_for_app in (False, True)}
        for mark in marks.values():
            at, place = self._good.get(mark, (float("-inf"), 0))
            if 0 <= now - at < REMEMBERED_FOR:
                return principal.secrets.stored[place]
        await self._take_turn(login, site)
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

    async def _take_turn(self, login: str, site: str) -> None:
        """Wait as long as the failures of a login make a try wait."""
        wait = self.attempts.wait(login, site, self._clock())
        if wait:
            await self._pause(wait)

    async def _check(self, passwords: Sequence[str], apps: Sequence[str], offer: _Offer) -> str | None:
        if not self._decoy and self._further:
            self._decoy = await self._run(hash_secret, "")  # no account has an empty secret
        return await self._run(_check, passwords, apps, offer, self._decoy)

    async def _run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Do what takes long on a thread; TooBusy."""
        if self._waiting >= MAX_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, functools.partial(work, *arguments, **named)
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
