"""Who asks: the credentials of a request.

In this order: a peer of the Unix socket whose uid is 0 or the daemon's own is an administrator; then what the
Authorization header says, Basic or Bearer; then, for the live endpoints alone, a stream token in the query, where the
header is absent or its Basic credentials are wrong.  Credentials that others could have read on the way are not even
looked at.  The check of a secret is slow by design and happens elsewhere (`SigningIn`), off the loop.

Failed sign-ins are counted by address and by login name, and ban the address; what has no credentials at all, or a
token not seen before, is counted as a stranger's.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass

from aiohttp import web

from relayd.control.answers import (
    FORBIDDEN,
    NEEDS_TLS,
    TOO_MANY,
    TOO_MANY_ATTEMPTS,
    TOTP_REQUIRED,
    UNAUTHORIZED,
    Problem,
)
from relayd.control.connection import connection_of
from relayd.control.limits import Limits
from relayd.control.origin import ORIGIN, Origin
from relayd.control.signing_in import Identity, SigningIn, Way, local_peer, parse_pair
from relayd.directory.account import Refusal
from relayd.directory.directory import TooBusy
from relayd.directory.password import UnknownHash
from relayd.directory.permissions import AUTHENTICATE
from relayd.directory.tokens import MAX_TOKEN, TokenKind
from relayd.events import auth, security
from relayd.events.event import Span
from relayd.reputation.bans import Bans, site_of

STREAMS = {
    "/api/telemetry/metrics": TokenKind.LIVE_METRICS,
    "/api/telemetry/traces": TokenKind.LIVE_TRACING,
    "/api/troubleshoot": TokenKind.TROUBLESHOOT,
}
"""Below which paths which stream token is looked at."""

_REMEMBERED = 10_000
_REMEMBERED_FOR = 3600.0
_LONGEST_NAME = 128

UNCHECKABLE = (500, "Internal Server Error", "The credentials cannot be checked; the log has the reason.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.  permissions: None for all of them.  address: where from, "unix" on a Unix socket."""

    name: str
    permissions: frozenset[str] | None = frozenset()
    identity: Identity | None = None
    address: str = ""

    def may(self, permission: str) -> bool:
        """Whether the caller has `permission`."""
        return self.permissions is None or permission in self.permissions

    @property
    def tenant(self) -> str:
        """The tenant whose things alone the caller may see and change, "" for everybody's."""
        return "" if self.identity is None else self.identity.account.tenant

    def check_unbound(self) -> None:
        """Raise Problem 403 for a caller of a tenant: what is asked for concerns everybody."""
        if self.tenant:
            raise Problem(*FORBIDDEN)

    @property
    def way(self) -> Way | None:
        """How the caller signed in."""
        return None if self.identity is None else self.identity.way


_HOLES = re.compile(
    r"\.(?:php|cgi|asp)|/(?:wp-|php|cgi-bin)|xmlrpc|\.\./|/\.\.|joomla|wordpress|drupal", re.IGNORECASE | re.ASCII
)
"""Paths of programs that have holes."""


class Gate:
    """Finds the caller of a request.  uid: the daemon's own."""

    def __init__(self, signing_in: SigningIn, bans: Bans, limits: Limits, uid: int | None = None) -> None:
        self._signing_in = signing_in
        self._bans = bans
        self._limits = limits
        self._uid = os.geteuid() if uid is None else uid
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def check_banned(self, origin: Origin, span: Span) -> None:
        """Raise Problem 429 when the address is banned."""
        if origin.address is None or origin.is_local:
            return
        now = span.stream.clock()
        ban = self._bans.banned(origin.address, now)
        if ban is not None:
            security.IP_BLOCKED(span, remote_ip=str(origin), reason=ban.reason, expires=ban.until)
            raise Problem(*TOO_MANY_ATTEMPTS, retry_after=ban.until - now)

    def scanned(self, origin: Origin, span: Span, path: str) -> None:
        """Something was asked for that is not here; who looks for holes in other programs is banned for it."""
        if origin.address is None or origin.is_local or not _HOLES.search(path):
            return
        ban = self._bans.offended("scan", origin.address, f"asked for {path[:200]!r}", span.stream.clock())
        if ban is not None:
            security.SCAN_BAN(
                span,
                remote_ip=str(origin),
                reason=ban.reason,
                expires=ban.until,
                details=ban.evidence,
                total=ban.times,
            )

    def check_private(self, request: web.Request) -> None:
        """Raise Problem 403 when credentials of this request could have been read on their way."""
        connection = connection_of(request)
        if not request[ORIGIN].is_private and not (connection and connection.place.options.plain_credentials):
            raise Problem(*NEEDS_TLS)

    async def caller(self, request: web.Request, span: Span) -> Caller:
        """Who asks.  Raises Problem: 401 without good credentials, 402 without the one-time code, 403 without the
        permission `authenticate` and where credentials crossed the network in clear, 429 when too many were tried."""
        origin = request[ORIGIN]
        if origin.is_unix and origin.is_local and (uid := peer_uid(request)) in (0, self._uid):
            return self._admit(local_peer("root" if uid == 0 else "local"), origin)
        headers = request.headers.getall("Authorization", [])
        kind = stream_kind(request.path)
        token = request.query.getall("token", [""])[-1] if kind is not None else ""
        if headers or token:
            self.check_private(request)
        scheme, _, rest = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if scheme.lower() == "bearer" and rest.strip():
            return await self._token(origin, span, rest.strip(), None)
        pair = parse_pair(rest) if scheme.lower() == "basic" else None
        if pair is not None:
            try:
                return await self.sign_in(request, span, *pair)
            except Problem as error:
                if error.status != UNAUTHORIZED[0] or not token:
                    raise
        if token and kind is not None:
            return await self._token(origin, span, token, kind)
        self._limits.stranger(origin, span)
        if headers:
            auth.FAILED(span, account_name="", type_="http", remote_ip=str(origin))
        raise Problem(*UNAUTHORIZED)

    async def sign_in(self, request: web.Request, span: Span, login: str, secret: str) -> Caller:
        """Who `login` and `secret` are good for, wherever in the request they stood.  Raises Problem as `caller`."""
        origin = request[ORIGIN]
        self.check_private(request)
        found = await self._checked(self._signing_in.basic(login, secret, _site(origin)), span, login)
        if isinstance(found, Identity):
            return self._admit(found, origin)
        if found is not Refusal.NEEDS_TOTP:
            self._failed(origin, span, login)
        raise self._refused(found, origin, span, login, Way.BASIC.value)

    async def _token(self, origin: Origin, span: Span, token: str, kind: TokenKind | None) -> Caller:
        """Who a token is good for: a stream token of `kind`, or an access token or API key when kind is None."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        now = span.stream.clock()
        if not now - _REMEMBERED_FOR <= self._known.get(digest, float("-inf")) <= now:
            self._limits.stranger(origin, span)
        if len(token) > MAX_TOKEN:
            raise self._refused(Refusal.WRONG, origin, span, "", "token")
        asked = self._signing_in.bearer(token) if kind is None else self._signing_in.stream(token, kind)
        found = await self._checked(asked, span, "")
        if isinstance(found, Identity):
            self._known[digest] = now
            self._known.move_to_end(digest)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return self._admit(found, origin)
        self._known.pop(digest, None)
        if token.startswith("api_") and kind is None:
            self._failed(origin, span, "")
        raise self._refused(found, origin, span, "", "token")

    @staticmethod
    async def _checked(asked: Awaitable[Identity | Refusal], span: Span, login: str) -> Identity | Refusal:
        """What the check comes to.  Raises Problem: 429 when too many wait, 500 when the stored secret is a hash that
        cannot be checked here (which is no fault of who signs in)."""
        try:
            return await asked
        except TooBusy:
            raise Problem(*TOO_MANY, retry_after=1.0) from None
        except UnknownHash as error:
            auth.ERROR(span, account_name=login[:_LONGEST_NAME], reason=f"the stored secret {error}")
            raise Problem(*UNCHECKABLE) from None

    @staticmethod
    def _admit(identity: Identity, origin: Origin) -> Caller:
        if identity.way is not Way.STREAM and not identity.account.may(AUTHENTICATE):
            raise Problem(*FORBIDDEN)
        return Caller(identity.name, identity.account.permissions, identity, str(origin))

    @staticmethod
    def _refused(refusal: Refusal, origin: Origin, span: Span, login: str, way: str) -> Problem:
        named = login[:_LONGEST_NAME]
        if refusal is Refusal.NEEDS_TOTP:
            auth.MISSING_TOTP(span, account_name=named, type_=way, remote_ip=str(origin))
            return Problem(*TOTP_REQUIRED)
        if refusal is Refusal.EXPIRED:
            auth.TOKEN_EXPIRED(span, type_=way, remote_ip=str(origin))
        else:
            auth.FAILED(span, account_name=named, type_=way, remote_ip=str(origin))
        return Problem(*UNAUTHORIZED)

    def signature_failed(self, origin: Origin, span: Span) -> None:
        """A request was signed with no key of ours, or wrongly; it counts as a wrong secret does."""
        auth.FAILED(span, account_name="", type_="access-key", remote_ip=str(origin))
        self._failed(origin, span, "")

    def _failed(self, origin: Origin, span: Span, login: str) -> None:
        """Count a wrong secret; it may bring a ban."""
        if origin.address is None or origin.is_local:
            return
        if login and self._signing_in.is_known(login, _site(origin)):
            login = ""  # its own failures count for the address, and others' not against it
        ban = self._bans.failed(origin.address, login, span.stream.clock())
        if ban is not None:
            security.AUTHENTICATION_BAN(span, remote_ip=str(ban.network), reason=ban.reason, expires=ban.until)


def _site(origin: Origin) -> str:
    """Where a try comes from; "" on this machine, where one is like the other."""
    return "" if origin.address is None or origin.is_local else str(site_of(origin.address))


def stream_kind(path: str) -> TokenKind | None:
    """Which stream token opens `path`, None where none does."""
    for prefix, kind in STREAMS.items():
        if path.startswith(prefix + "/"):
            return kind
    return None


def peer_uid(request: web.Request) -> int | None:
    """The uid of a peer on a Unix socket, None on TCP."""
    transport = request.transport
    plain = transport.get_extra_info("socket") if transport is not None else None
    if plain is None or plain.family != socket.AF_UNIX:
        return None
    # uvloop's stand-in for a socket has no getsockopt; a duplicate of the descriptor does
    with socket.socket(fileno=os.dup(plain.fileno())) as duplicate:
        credentials = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
