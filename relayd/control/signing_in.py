"""Who credentials are good for: the fallback administrator, the accounts of the directory, and tokens of either.

The fallback administrator is a directory of one account of its own, so it works whatever becomes of the other; secrets
are hashed and compared there, in threads.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from relayd.control.options import FallbackAdminOptions
from relayd.directory.account import Account, Refusal
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.directory.permissions import METRICS_LIVE, PERMISSIONS, TRACING_LIVE, TROUBLESHOOT
from relayd.directory.tokens import STREAM_LIFETIME, Realm, TokenExpired, TokenKind, TokenRefused, Tokens

ADMIN = "admin"

API_KEY_PREFIX = "api_"

GRANTS = {
    TokenKind.LIVE_TRACING: frozenset({TRACING_LIVE}),
    TokenKind.LIVE_METRICS: frozenset({METRICS_LIVE}),
    TokenKind.TROUBLESHOOT: frozenset({TROUBLESHOOT}),
}
"""All that a stream token gives, to an account that has it."""


class Way(enum.Enum):
    """How somebody signed in."""

    BASIC = "basic"
    TOKEN = "token"
    API_KEY = "api-key"
    STREAM = "stream-token"
    PEER = "unix-peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed in, and how.

    account: with the permissions that count for this request.  realm: whose account it is.  client_id: of the program
    that a token was given to, "" else.
    """

    account: Account
    realm: Realm
    way: Way
    client_id: str = ""

    @property
    def name(self) -> str:
        """The account's name."""
        return self.account.name

    @property
    def is_fallback(self) -> bool:
        """Whether it is the fallback administrator."""
        return self.realm is Realm.FALLBACK


def local_peer(name: str) -> Identity:
    """A peer of the Unix socket who is an administrator; no account of that name need exist."""
    account = Account(name=name, type="peer", roles=(ADMIN,), permissions=PERMISSIONS)
    return Identity(account=account, realm=Realm.LOCAL, way=Way.PEER)


class SigningIn:
    """Checks credentials.  clock: Unix seconds.

    None of the answers looks at the permission `authenticate`: who lacks it has good credentials, and is to be told
    403.  Every method may raise TooBusy (too many sign-ins wait) and UnknownHash (the stored secret cannot be checked
    on this machine).
    """

    def __init__(
        self, directory: Directory, fallback: FallbackAdminOptions, tokens: Tokens, clock: Callable[[], float]
    ) -> None:
        self.tokens = tokens
        self._directory = directory
        self._fallback = Directory({}, clock)
        self._fallback_user = ""
        self.reconfigure(fallback)

    def reconfigure(self, fallback: FallbackAdminOptions) -> None:
        """Take another fallback administrator; without user or secret there is none."""
        self._fallback_user = (fallback.user or "").strip().lower()
        options = AccountOptions(type_="individual", secret=fallback.secret or "", roles=(ADMIN,))
        named = self._fallback_user and fallback.secret
        self._fallback.reconfigure({self._fallback_user: options} if named else {})

    async def basic(self, login: str, secret: str, site: str = "") -> Identity | Refusal:
        """Who `login` and `secret` are good for.  An API key is not, by this way.  site: where from."""
        is_fallback = bool(self._fallback_user) and login.strip().lower() == self._fallback_user
        found = await (self._fallback if is_fallback else self._directory).authenticate(login, secret, site)
        if isinstance(found, Refusal):
            return found
        return Identity(account=found, realm=Realm.FALLBACK if is_fallback else Realm.DIRECTORY, way=Way.BASIC)

    async def bearer(self, credential: str) -> Identity | Refusal:
        """Who an access token, or an API key (`api_` and the base64 of name:secret), is good for."""
        if credential.startswith(API_KEY_PREFIX):
            given = parse_pair(credential.removeprefix(API_KEY_PREFIX))
            found = await self._directory.api_key(*given) if given is not None else Refusal.WRONG
            if isinstance(found, Refusal):
                return found
            return Identity(account=found, realm=Realm.DIRECTORY, way=Way.API_KEY)
        return await self.token(credential, (TokenKind.ACCESS,))

    async def stream(self, token: str, kind: TokenKind) -> Identity | Refusal:
        """Who a stream token of `kind` is good for, with what it grants and the account has, and no more."""
        return await self.token(token, (kind,))

    async def token(self, token: str, kinds: Collection[TokenKind]) -> Identity | Refusal:
        """Who a token that is one of `kinds` is good for, as the account is now."""
        try:
            claims = self.tokens.open(token, kinds)
        except TokenExpired:
            return Refusal.EXPIRED
        except TokenRefused:
            return Refusal.WRONG
        account = await self.account(claims.realm, claims.account)
        if account is None:
            return Refusal.WRONG
        way = Way.TOKEN
        if claims.kind in GRANTS:
            way = Way.STREAM
            account = replace(account, permissions=account.permissions & GRANTS[claims.kind])
        elif claims.realm is Realm.LOCAL or account.version != claims.version:
            return Refusal.WRONG
        return Identity(account=account, realm=claims.realm, way=way, client_id=claims.client_id)

    async def account(self, realm: Realm, name: str) -> Account | None:
        """The account of that name as it is now, None when it is gone."""
        if realm is Realm.LOCAL:
            return local_peer(name).account
        return await (self._fallback if realm is Realm.FALLBACK else self._directory).get(name)

    def is_known(self, login: str, site: str) -> bool:
        """Whether somebody signed in well with that login from there."""
        login = login.strip().lower()
        of = self._fallback if login == self._fallback_user else self._directory
        return of.attempts.is_known(login, site, self.tokens.clock())

    def stream_token(self, identity: Identity, kind: TokenKind) -> str:
        """A token by which `identity` opens streams of `kind` for a minute."""
        account = identity.account
        return self.tokens.issue(
            kind, identity.realm, account.name, account.version, STREAM_LIFETIME, identity.client_id
        )

    def close(self) -> None:
        """Let the threads go; the directory is closed by its owner."""
        self._fallback.close()


def parse_pair(encoded: str) -> tuple[str, str] | None:
    """Name (trimmed, lower case) and secret of base64(name:secret), None when it is none."""
    try:
        name, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name.strip().lower(), secret) if colon else None
