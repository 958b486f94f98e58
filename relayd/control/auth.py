"""`POST /auth/token`: a code, a device's code or a refresh token for an access token (RFC 6749, RFC 8628).

No credentials are asked for but those in the form.  What is refused is 400 `{"error": NAME}`, with the names of
RFC 6749 section 5.2 and RFC 8628 section 3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from relayd.control.answers import TOO_LARGE, Problem
from relayd.control.forms import BadForm, form_fields
from relayd.control.requests import read_body
from relayd.control.routes import SPAN
from relayd.control.signing_in import SigningIn
from relayd.directory.account import Account
from relayd.directory.codes import CodeRefused, Codes, WrongClient
from relayd.directory.device_codes import DeviceCodes, Pending
from relayd.directory.options import ExpiryOptions
from relayd.directory.permissions import AUTHENTICATE
from relayd.directory.tokens import Claims, Realm, TokenKind, TokenRefused
from relayd.events import auth

PATH = "/auth/token"

MAX_FORM = 2048
"""Octets of the form."""

MAX_FIELDS = 32

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

_UNSTORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}

Limit = Callable[[web.Request], None]
"""Refuses a request that should not have brought a secret; raises Problem."""


class Refused(Exception):
    """The exchange is refused; error: its name in the answer."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class TokenAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """expires_in: seconds.  refresh_token: None where the client keeps the one it has."""

    access_token: str
    expires_in: int
    token_type: str
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return f"<TokenAnswer {self.token_type}>"


class TokenEndpoint:
    """Answers `/auth/token`.  limit: see `Limit`.  timeout: seconds for the form to arrive."""

    def __init__(
        self,
        signing_in: SigningIn,
        codes: Codes,
        devices: DeviceCodes,
        expiry: ExpiryOptions,
        limit: Limit,
        timeout: float,
    ) -> None:
        self._signing_in = signing_in
        self._codes = codes
        self._devices = devices
        self._limit = limit
        self._timeout = timeout
        self.reconfigure(expiry)

    def reconfigure(self, expiry: ExpiryOptions) -> None:
        """Take other lifetimes, for the tokens from now on."""
        self._expiry = expiry

    async def handle(self, request: web.Request) -> web.Response:
        """The answer to one request; raises Problem."""
        self._limit(request)
        try:
            octets = await self._read(request)
            answer = await self.exchange(parse_grant(request.headers.get("Content-Type", ""), octets))
        except Refused as refused:
            auth.FAILED(request[SPAN], account_name="", type_=f"oauth {refused.error}")
            body = msgspec.json.encode({"error": refused.error})
            return web.Response(status=400, body=body, content_type="application/json", headers=_UNSTORED)
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json", headers=_UNSTORED)

    async def exchange(self, form: Mapping[str, str]) -> TokenAnswer:
        """Tokens for what `form` gives.  Raises Refused."""
        match form.get("grant_type"):
            case "authorization_code":
                return await self._from_code(form)
            case "refresh_token":
                return await self._from_refresh(form)
            case grant if grant == DEVICE_CODE:
                return await self._from_device(form)
            case _:
                raise Refused("invalid_grant")

    async def _from_code(self, form: Mapping[str, str]) -> TokenAnswer:
        code, client_id = form.get("code"), form.get("client_id")
        if not code or not client_id:
            raise Refused("invalid_client")
        try:
            grant = self._codes.redeem(code, client_id, form.get("redirect_uri"))
        except CodeRefused:
            raise Refused("access_denied") from None
        except WrongClient:
            raise Refused("invalid_client") from None
        holder = await self._holder(grant.realm, grant.account, grant.version)
        if holder is None:
            raise Refused("access_denied")
        return self._answer(holder, grant.realm, client_id, with_refresh=True)

    async def _from_device(self, form: Mapping[str, str]) -> TokenAnswer:
        code, client_id = form.get("device_code"), form.get("client_id")
        if not code or not client_id:
            raise Refused("invalid_client")
        try:
            grant = self._devices.redeem(code, client_id)
        except WrongClient:
            raise Refused("invalid_client") from None
        if isinstance(grant, Pending):
            raise Refused(grant.value)
        holder = await self._holder(grant.realm, grant.account, grant.version)
        if holder is None:
            raise Refused("access_denied")
        return self._answer(holder, grant.realm, client_id, with_refresh=True)

    async def _from_refresh(self, form: Mapping[str, str]) -> TokenAnswer:
        token = form.get("refresh_token")
        if not token:
            raise Refused("invalid_request")
        try:
            claims = self._signing_in.tokens.open(token, (TokenKind.REFRESH,))
        except TokenRefused:
            raise Refused("invalid_grant") from None
        if form.get("client_id") not in (None, "", claims.client_id):
            raise Refused("invalid_grant")
        holder = await self._holder(claims.realm, claims.account, claims.version)
        if holder is None:
            raise Refused("invalid_grant")
        return self._answer(holder, claims.realm, claims.client_id, with_refresh=self._is_renewed(claims))

    def _is_renewed(self, claims: Claims) -> bool:
        return claims.expires - self._signing_in.tokens.clock() <= self._expiry.refresh_token_renew

    async def _holder(self, realm: Realm, name: str, version: bytes) -> Account | None:
        """The account as it is now; None when it is gone, has other secrets, or may not sign in."""
        account = await self._signing_in.account(realm, name)
        if account is None or account.version != version or not account.may(AUTHENTICATE):
            return None
        return account

    def _answer(self, account: Account, realm: Realm, client_id: str, *, with_refresh: bool) -> TokenAnswer:
        def issue(kind: TokenKind, lifetime: float) -> str:
            return self._signing_in.tokens.issue(kind, realm, account.name, account.version, lifetime, client_id)

        return TokenAnswer(
            access_token=issue(TokenKind.ACCESS, self._expiry.token),
            expires_in=int(self._expiry.token),
            token_type="bearer",
            refresh_token=issue(TokenKind.REFRESH, self._expiry.refresh_token) if with_refresh else None,
        )

    async def _read(self, request: web.Request) -> bytes:
        try:
            return await read_body(request, MAX_FORM, self._timeout)
        except Problem as error:
            if error.status != TOO_LARGE[0]:
                raise
            raise Refused("invalid_request") from None


def parse_grant(content_type: str, octets: bytes) -> dict[str, str]:
    """The fields of a form of either kind; raises Refused when it is none, or names a field twice."""
    try:
        fields = form_fields(content_type, octets, MAX_FIELDS)
    except BadForm:
        fields = None
    if fields is None or len(form := dict(fields)) != len(fields):
        raise Refused("invalid_request")
    return form
