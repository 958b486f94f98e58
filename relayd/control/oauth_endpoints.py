"""The endpoints of OAuth beside `/auth/token`: devices, introspection, who somebody is, and where all of them are.

`/auth/device` and the documents below `/.well-known` ask for no credentials; `/auth/introspect` and `/auth/userinfo`
do, as everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from relayd.control.answers import Problem
from relayd.control.auth import MAX_FORM, Refused, parse_grant
from relayd.control.origin import ORIGIN
from relayd.control.requests import read_body
from relayd.control.routes import BODY, CALLER, Door
from relayd.control.signing_in import Identity, SigningIn
from relayd.directory.device_codes import INTERVAL, DeviceCodes
from relayd.directory.tokens import Realm, TokenKind, TokenRefused

DEVICE = "/auth/device"
INTROSPECT = "/auth/introspect"
USERINFO = "/auth/userinfo"
KEYS = "/auth/jwks.json"
SERVER_DOCUMENT = "/.well-known/oauth-authorization-server"
OPENID_DOCUMENT = "/.well-known/openid-configuration"

MAX_CLIENT_ID = 20

_GRANTS = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
_UNSTORED = {"Cache-Control": "no-store"}


class OAuthEndpoints:
    """Answers them.  timeout: seconds for a form to arrive."""

    def __init__(self, signing_in: SigningIn, devices: DeviceCodes, timeout: Callable[[], float]) -> None:
        self._signing_in = signing_in
        self._devices = devices
        self._timeout = timeout

    def doors(self) -> Iterator[Door]:
        """What is open to all."""
        yield Door(method="POST", path=DEVICE, handler=self.device)
        yield Door(method="GET", path=SERVER_DOCUMENT, handler=self.server_document)
        yield Door(method="GET", path=OPENID_DOCUMENT, handler=self.openid_document)
        yield Door(method="GET", path=KEYS, handler=self.keys)

    def add_to(self, app: web.Application) -> None:
        """Add what asks for credentials."""
        app.router.add_post(INTROSPECT, self.introspect)
        app.router.add_get(USERINFO, self.userinfo)

    async def device(self, request: web.Request) -> web.Response:
        """RFC 8628 section 3.1: codes for a device."""
        octets = await read_body(request, MAX_FORM, self._timeout())
        try:
            form = parse_grant(request.headers.get("Content-Type", ""), octets)
        except Refused as refused:
            return _json({"error": refused.error}, 400)
        client_id = form.get("client_id", "")
        if not 0 < len(client_id) <= MAX_CLIENT_ID:
            return _json({"error": "invalid_client"}, 400)
        code, user_code = self._devices.issue(client_id)
        where = f"{_base(request)}/authorize"
        return _json(
            {
                "device_code": code,
                "user_code": user_code,
                "verification_uri": where,
                "verification_uri_complete": f"{where}/?code={user_code}",
                "expires_in": int(self._devices.lifetime),
                "interval": INTERVAL,
            }
        )

    async def introspect(self, request: web.Request) -> web.Response:
        """RFC 7662: whether a token is good, and whose.  Of one that is not, nothing else is told."""
        try:
            form = parse_grant(request.headers.get("Content-Type", ""), request.get(BODY, b""))
        except Refused as refused:
            return _json({"error": refused.error}, 400)
        token = form.get("token", "")
        try:
            claims = self._signing_in.tokens.open(token, (TokenKind.ACCESS, TokenKind.REFRESH))
        except TokenRefused:
            return _json({"active": False})
        account = await self._signing_in.account(claims.realm, claims.account)
        if account is None or account.version != claims.version:
            return _json({"active": False})
        return _json(
            {
                "active": True,
                "client_id": claims.client_id,
                "username": account.name,
                "token_type": "bearer" if claims.kind is TokenKind.ACCESS else "refresh_token",
                "exp": claims.expires,
                "iat": claims.issued,
            }
        )

    async def userinfo(self, request: web.Request) -> web.Response:
        """Who asks, as OpenID Connect Core section 5.3 has it."""
        identity = request[CALLER].identity
        if not isinstance(identity, Identity) or identity.realm is Realm.LOCAL:
            raise Problem(404, "Not Found", "There is no account of that kind.")
        account = identity.account
        found: dict[str, Any] = {"sub": account.name, "preferred_username": account.name, "name": account.name}
        email = next((each for each in account.emails if not each.startswith("@")), None)
        if email is not None:
            found |= {"email": email, "email_verified": True}
        return _json(found)

    async def server_document(self, request: web.Request) -> web.Response:
        """RFC 8414: where the endpoints are."""
        return _json(_document(_base(request)))

    async def openid_document(self, request: web.Request) -> web.Response:
        """OpenID Connect Discovery; no id tokens are given out, so none is signed."""
        base = _base(request)
        return _json(
            _document(base)
            | {
                "userinfo_endpoint": base + USERINFO,
                "jwks_uri": base + KEYS,
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [],
                "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified"],
            }
        )

    async def keys(self, request: web.Request) -> web.Response:
        """The keys by which others check what is signed here: none is."""
        return _json({"keys": []})


def _document(base: str) -> dict[str, Any]:
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/authorize/code",
        "token_endpoint": f"{base}/auth/token",
        "device_authorization_endpoint": base + DEVICE,
        "introspection_endpoint": base + INTROSPECT,
        "grant_types_supported": _GRANTS,
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "offline_access"],
        "token_endpoint_auth_methods_supported": ["none"],
    }


def _base(request: web.Request) -> str:
    """Scheme and host by which we were asked; the host is one of ours, which was checked before."""
    return f"{'https' if request[ORIGIN].is_tls else 'http'}://{request.host}"


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=_UNSTORED
    )
