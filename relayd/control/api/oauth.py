"""Signing in by OAuth: `POST /api/oauth` hands out authorisation codes.

The client that got a code exchanges it at `/auth/token` (`control.auth`).  The caller of the Unix socket is no account,
and nothing that outlives its connection is made for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import msgspec
from aiohttp import web

from relayd.control.answers import data, other
from relayd.control.routes import Call, Route
from relayd.control.signing_in import Identity
from relayd.directory.codes import Codes, Grant
from relayd.directory.device_codes import DeviceCodes
from relayd.directory.permissions import AUTHENTICATE_OAUTH
from relayd.directory.tokens import Realm

API_VERSION = "0.11.0"
"""The version of the API that is spoken here; clients refuse servers of a lower one than they need."""

MAX_CLIENT_ID = 20
MAX_REDIRECT_URI = 1024
MAX_NONCE = 256


class CodeRequest(msgspec.Struct, tag_field="type", tag="code"):
    """A client asks for a code.  nonce: taken, and of no consequence without an id token."""

    client_id: str
    redirect_uri: str | None = None
    nonce: str | None = None


class DeviceRequest(msgspec.Struct, tag_field="type", tag="device"):
    """The caller lets in the device that shows `code` (XXXX-XXXX)."""

    code: str


class CodeAnswer(TypedDict):
    """permissions: of the caller, for the client to know what to show.  isEnterprise: whether the client may show
    traces, metrics and what else is not in every server of this API; all of it is here."""

    code: str
    permissions: list[str]
    version: str
    isEnterprise: bool


class OAuth:
    """The handlers."""

    def __init__(self, codes: Codes, devices: DeviceCodes) -> None:
        self._codes = codes
        self._devices = devices

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="POST",
            path="/oauth",
            permission=AUTHENTICATE_OAUTH,
            handler=self.authorize,
            summary="Obtain an authorisation code, or let a device in",
            area="oauth",
            body=CodeRequest | DeviceRequest,
            answer=CodeAnswer | bool,
            operation=1,
        )

    async def authorize(self, call: Call) -> web.Response:
        """1: a code for the caller; of a device, whether one waited with that code, which is let in now."""
        if isinstance(call.body, DeviceRequest):
            return _unstored(self._approve(call.body.code, call.caller.identity))
        return _unstored(self._issue(call.body, call.caller.identity))

    def _issue(self, body: CodeRequest, identity: Identity | None) -> CodeAnswer:
        if len(body.client_id) > MAX_CLIENT_ID:
            raise other("Client ID is invalid.")
        redirect_uri = body.redirect_uri or ""
        if redirect_uri[:7].lower() == "http://":
            raise other("Redirect URI must be HTTPS.")
        if len(redirect_uri) > MAX_REDIRECT_URI:
            raise other("Redirect URI is too long.")
        if len(body.nonce or "") > MAX_NONCE:
            raise other("Nonce is too long.")
        identity = _holder(identity)
        account = identity.account
        code = self._codes.issue(
            Grant(
                realm=identity.realm,
                account=account.name,
                version=account.version,
                client_id=body.client_id,
                redirect_uri=body.redirect_uri,
                nonce=body.nonce,
            )
        )
        return CodeAnswer(code=code, permissions=sorted(account.permissions), version=API_VERSION, isEnterprise=True)

    def _approve(self, user_code: str, identity: Identity | None) -> bool:
        holder = _holder(identity)
        account = holder.account

        def grant(client_id: str) -> Grant:
            return Grant(realm=holder.realm, account=account.name, version=account.version, client_id=client_id)

        return self._devices.approve(user_code, grant)


def _holder(identity: Identity | None) -> Identity:
    """Who signed in with an account; raises Failure."""
    if identity is None or identity.realm is Realm.LOCAL:
        raise other("A code is for an account: sign in with a name and a secret.")
    return identity


def _unstored(value: CodeAnswer | bool) -> web.Response:
    answer = data(value)
    answer.headers["Cache-Control"] = "no-store"
    return answer
