"""Authorisation codes (RFC 6749 section 4.1): handed to who signed in, exchanged once for tokens.

They are kept in memory: a restart voids those that were not exchanged.
"""

from __future__ import annotations

import secrets
import string
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from relayd.directory.options import CodeOptions, ExpiryOptions
from relayd.directory.tokens import Realm

MAX_CODES = 10_000
"""Codes that wait; the oldest gives way."""

MAX_CODES_PER_ACCOUNT = 32
"""Of one account, so that none drives out the others'."""

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a code stands for.  redirect_uri, nonce: as they came.  version: of the account's secrets."""

    realm: Realm
    account: str
    version: bytes = field(repr=False)
    client_id: str
    redirect_uri: str | None = None
    nonce: str | None = None


class CodeRefused(Exception):
    """A code that is unknown, was used, or is too old."""


class WrongClient(Exception):
    """The code was given to another client or for another redirect URI; after some tries it is void."""


@dataclass(slots=True)
class _Waiting:
    grant: Grant
    expires: float
    tries: int = 0


class Codes:
    """The codes that wait for their exchange.  clock: Unix seconds."""

    def __init__(self, expiry: ExpiryOptions, attempts: CodeOptions, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self.reconfigure(expiry, attempts)

    def reconfigure(self, expiry: ExpiryOptions, attempts: CodeOptions) -> None:
        """Take other options, for the codes from now on."""
        self._lifetime = expiry.auth_code
        self._max_tries = attempts.max_attempts

    def issue(self, grant: Grant) -> str:
        """A new code: 40 letters and digits."""
        self._make_room(grant)
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
        self._waiting[code] = _Waiting(grant, self._clock() + self._lifetime)
        return code

    def redeem(self, code: str, client_id: str, redirect_uri: str | None) -> Grant:
        """What `code` stands for; it is void from now on.  Raises CodeRefused, WrongClient."""
        waiting = self._waiting.get(code)
        if waiting is None:
            raise CodeRefused
        if self._clock() >= waiting.expires:
            del self._waiting[code]
            raise CodeRefused
        grant = waiting.grant
        if client_id != grant.client_id or (redirect_uri or None) != (grant.redirect_uri or None):
            waiting.tries += 1
            if waiting.tries >= self._max_tries:
                del self._waiting[code]
            raise WrongClient
        del self._waiting[code]
        return grant

    def _make_room(self, grant: Grant) -> None:
        now = self._clock()
        for code in [code for code, each in self._waiting.items() if each.expires <= now]:
            del self._waiting[code]
        owner = (grant.realm, grant.account)
        own = [code for code, each in self._waiting.items() if (each.grant.realm, each.grant.account) == owner]
        if len(own) >= MAX_CODES_PER_ACCOUNT:
            del self._waiting[own[0]]
        elif len(self._waiting) >= MAX_CODES:
            self._waiting.popitem(last=False)
