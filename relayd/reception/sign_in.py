"""Signing in to a session: by password, by SCRAM, by a token; and whether a sign-in still holds.

What a client is told is the same whatever was wrong.  Failures are counted against its address, as those over HTTP
are, and an address that fails too often is shut out of the listeners where one signs in.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from relayd.directory.account import Account, Refusal
from relayd.directory.directory import Challenge, Directory
from relayd.directory.scram import BadExchange, Exchange, parse_first
from relayd.directory.tokens import Realm, TokenExpired, TokenKind, TokenRefused, Tokens
from relayd.events import auth, security
from relayd.mail.reply import Reply
from relayd.reception.client import Client
from relayd.reputation.bans import Bans, site_of

SUCCEEDED = Reply(235, "2.7.0", "Authentication succeeded")
WRONG = Reply(535, "5.7.8", "Authentication credentials invalid")
SUSPENDED = Reply(535, "5.7.13", "The account is suspended")
UNDECODABLE = Reply(501, "5.5.2", "Cannot decode the response")
TEMPORARY = Reply(454, "4.7.0", "Temporary authentication failure")
BANNED = Reply(421, "4.7.0", "Too many failed sign-ins from your address, try again later")
AGAIN = Reply(530, "5.7.0", "The account was changed: sign in again")
NOT_NOW = Reply(451, "4.3.0", "The account cannot be looked up now, try again later")

PLAIN, LOGIN, SCRAM, XOAUTH2, OAUTHBEARER = "PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"

_BOTH = (PLAIN, LOGIN)
_NONCE = 24
"""Octets of chance in the server's part of a nonce."""


@dataclass(frozen=True, slots=True)
class ScramExchange:
    """An exchange under way.  challenge: the server's first message."""

    exchange: Exchange
    challenge: Challenge

    @property
    def first(self) -> bytes:
        """The server's first message."""
        return self.exchange.challenge


@dataclass(slots=True)
class SignIns:
    """Signs sessions in.  tokens: None where none are given out.  has_scram: whether any account has a verifier.

    clock: Unix seconds.
    """

    directory: Directory
    clock: Callable[[], float]
    tokens: Tokens | None = None
    bans: Bans = field(default_factory=Bans)
    has_scram: Callable[[], bool] = lambda: False

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        """What a session may sign in by, the strongest first."""
        if client.role != "submission" or client.account is not None:
            return ()
        if self.tokens is None:
            return (SCRAM, *_BOTH) if self.has_scram() else _BOTH
        return (SCRAM, *_BOTH, OAUTHBEARER, XOAUTH2) if self.has_scram() else (*_BOTH, OAUTHBEARER, XOAUTH2)

    def shut_out(self, client: Client) -> Reply | None:
        """Why a session may not even begin: its address is banned from where one signs in."""
        if client.role != "submission" or client.address is None or client.address.is_loopback:
            return None
        now = self.clock()
        ban = self.bans.banned(client.address, now)
        if ban is None:
            return None
        security.IP_BLOCKED(client.span, remote_ip=client.address_text, reason=ban.reason, expires=ban.until)
        return BANNED

    async def by_password(self, client: Client, login: str, secret: str) -> Reply:
        """PLAIN and LOGIN."""
        try:
            found = await self.directory.authenticate(login, secret, _site(client))
        except Exception as error:  # unknown failure is temporary
            return _failed(client, login, error)
        return self._answer(client, login, found)

    async def begin_scram(self, client: Client, message: bytes) -> ScramExchange | Reply:
        """The client's first message of SCRAM-SHA-256 (RFC 5802, RFC 7677)."""
        try:
            first = parse_first(message)
        except BadExchange:
            return UNDECODABLE
        if first.authorize and first.authorize != first.login:  # to act as another is nobody's right here
            return self._answer(client, first.login, Refusal.WRONG)
        try:
            challenge = await self.directory.challenge(first.login, _site(client))
        except Exception as error:  # unknown failure is temporary
            return _failed(client, first.login, error)
        nonce = secrets.token_urlsafe(_NONCE)
        return ScramExchange(Exchange(first, challenge.verifier, nonce), challenge)

    def prove(self, scram: ScramExchange, message: bytes) -> bytes | Reply:
        """The client's last message: the server's own proof to send, b"" when the client proved nothing.

        Nobody is signed in yet: the client may still turn away from us.
        """
        try:
            return scram.exchange.finish(message) or b""
        except BadExchange:
            return UNDECODABLE

    def conclude(self, client: Client, scram: ScramExchange, *, proved: bool) -> Reply:
        """The end of the exchange, once the client took the server's proof."""
        found = self.directory.conclude(scram.challenge, proved=proved)
        return self._answer(client, scram.challenge.login, found)

    async def by_token(self, client: Client, login: str, token: str) -> Reply:
        """XOAUTH2 and OAUTHBEARER: an access token of ours.  login: whom the client takes itself for, "" for nobody."""
        try:
            found = await self._of_token(login.strip().lower(), token)
        except Exception as error:  # unknown failure is temporary
            return _failed(client, login, error)
        return self._answer(client, login, found)

    async def _of_token(self, login: str, token: str) -> Account | Refusal:
        if self.tokens is None:
            return Refusal.WRONG
        try:
            claims = self.tokens.open(token, (TokenKind.ACCESS,))
        except TokenExpired:
            return Refusal.EXPIRED
        except TokenRefused:
            return Refusal.WRONG
        account = await self.directory.get(claims.account) if claims.realm is Realm.DIRECTORY else None
        if account is None or account.version != claims.version:
            return Refusal.WRONG
        return account if login in ("", account.name, *account.emails) else Refusal.WRONG

    async def renew(self, client: Client) -> Reply | None:
        """See to it that a sign-in still holds after the directory changed; a Reply refuses the command.

        A secret that was changed or taken away ends the sign-in; whether the account may send is asked with each
        message (`submission`).
        """
        if client.signed_in is None:
            return None
        generation = self.directory.generation
        try:
            found = await self.directory.renewed(client.signed_in)
        except Exception as error:  # unknown failure is temporary
            auth.ERROR(client.span, account_name=client.account or "", reason=type(error).__name__)
            return NOT_NOW
        if found is None:
            auth.FAILED(client.span, account_name=client.account or "", type_="changed", remote_ip=client.address_text)
            client.sign_out()
            return AGAIN
        client.sign_in(found, generation)
        return None

    def _answer(self, client: Client, login: str, found: Account | Refusal) -> Reply:
        if isinstance(found, Account) and found.may_send:
            client.sign_in(found, self.directory.generation)
            client.trusted = True
            auth.SUCCESS(client.span, account_name=found.name, span_id=client.session_id, type_="smtp")
            return SUCCEEDED
        if found is Refusal.EXPIRED:
            auth.TOKEN_EXPIRED(client.span, type_="smtp", remote_ip=client.address_text)
            return WRONG
        auth.FAILED(client.span, account_name=login[:128], type_="smtp", remote_ip=client.address_text)
        if isinstance(found, Account):  # its credentials are good
            return SUSPENDED if found.suspended else WRONG
        if found is not Refusal.NEEDS_TOTP:
            self._count(client, login)
        return WRONG

    def _count(self, client: Client, login: str) -> None:
        """Count a wrong secret; it may bring a ban."""
        if client.address is None or client.address.is_loopback:
            return
        now = self.clock()
        is_known = self.directory.attempts.is_known(login.strip().lower(), _site(client), now)
        ban = self.bans.failed(client.address, "" if is_known else login, now)
        if ban is not None:
            security.AUTHENTICATION_BAN(client.span, remote_ip=str(ban.network), reason=ban.reason, expires=ban.until)


def _site(client: Client) -> str:
    """Where a try comes from."""
    return "" if client.address is None else str(site_of(client.address))


def _failed(client: Client, login: str, error: Exception) -> Reply:
    auth.ERROR(client.span, account_name=login[:128], reason=type(error).__name__)
    return TEMPORARY
