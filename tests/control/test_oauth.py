"""Operations 1, 3, 25 and 47: codes for clients, and tokens for streams."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from relayd.control.access import Caller
from relayd.control.answers import Failure, Problem
from relayd.control.api.oauth import MAX_NONCE, MAX_REDIRECT_URI, OAuth
from relayd.control.api.stream_tokens import StreamTokens
from relayd.control.routes import BODY, CALLER, SPAN, Route
from relayd.control.signing_in import Identity, local_peer
from relayd.directory.codes import Codes
from relayd.directory.device_codes import DeviceCodes
from relayd.directory.options import AccountOptions, CodeOptions, ExpiryOptions
from relayd.directory.permissions import PERMISSIONS, ROLES
from relayd.directory.tokens import TokenKind
from relayd.events.event import EventStream, Span
from tests.control.test_signing_in import ACCOUNTS, House
from tests.control.test_signing_in import house as house
from tests.directory.test_directory import Clock

SEED = {"type": "code", "client_id": "webadmin", "redirect_uri": "stalwart://auth", "nonce": "ttsaXca3qx"}


class Client:
    """Asks routes as a caller."""

    def __init__(self, routes: list[Route], identity: Identity | None) -> None:
        self.routes = {route.path: route for route in routes}
        self.caller = Caller("x", identity.account.permissions if identity is not None else None, identity)

    async def ask(self, path: str, body: object = None) -> Any:
        """The value under `data`; checks that no cache keeps it."""
        route = self.routes[path]
        request = make_mocked_request(route.method, f"/api{path}")
        request[CALLER] = self.caller
        request[SPAN] = Span(EventStream(Clock()))
        request[BODY] = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer: Any = await route.respond(request)
        assert answer.headers["Cache-Control"] == "no-store"
        return json.loads(answer.body)["data"]


@pytest.fixture
def codes(house: House) -> Codes:
    return Codes(ExpiryOptions(), CodeOptions(), house.clock)


def routes(codes: Codes) -> list[Route]:
    """Those of operation 1; no device waits."""
    return list(OAuth(codes, DeviceCodes(ExpiryOptions(), CodeOptions(), Clock())).routes())


@pytest.fixture
async def ann(house: House, codes: Codes) -> Client:
    return Client(routes(codes), await house.sign_in("ann", "plain"))


async def test_a_code_for_the_caller(house: House, codes: Codes, ann: Client) -> None:
    answer = await ann.ask("/oauth", SEED)
    assert re.fullmatch("[A-Za-z0-9]{40}", answer["code"])
    grant = codes.redeem(answer.pop("code"), "webadmin", "stalwart://auth")
    assert (grant.account, grant.nonce) == ("ann", "ttsaXca3qx")
    assert answer == {"permissions": sorted(PERMISSIONS), "version": "0.11.0", "isEnterprise": True}


async def test_the_permissions_are_the_callers_own(house: House, codes: Codes) -> None:
    bob = Client(routes(codes), await house.sign_in("bob", "plain"))
    assert set((await bob.ask("/oauth", SEED))["permissions"]) == ROLES["user"].enabled
    house.directory.reconfigure(
        ACCOUNTS | {"bob": AccountOptions(secret="plain", disabled_permissions=("authenticate-oauth",))}
    )
    bob = Client(routes(codes), await house.sign_in("bob", "plain"))
    with pytest.raises(Problem) as refused:
        await bob.ask("/oauth", SEED)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("change", "details"),
    [
        ({"client_id": "x" * 21}, "Client ID is invalid."),
        ({"redirect_uri": "http://evil.example/"}, "Redirect URI must be HTTPS."),
        ({"redirect_uri": "HTTP://evil.example/"}, "Redirect URI must be HTTPS."),
        ({"redirect_uri": "https://" + "x" * MAX_REDIRECT_URI}, "Redirect URI is too long."),
        ({"nonce": "x" * (MAX_NONCE + 1)}, "Nonce is too long."),
    ],
)
async def test_clients_that_are_refused(ann: Client, change: dict[str, str], details: str) -> None:
    with pytest.raises(Failure) as refused:
        await ann.ask("/oauth", SEED | change)
    assert refused.value.body == {"error": "other", "details": details, "reason": None}


@pytest.mark.parametrize(
    "change",
    [{"client_id": "x" * 20}, {"redirect_uri": None}, {"redirect_uri": "https://ok.example/"}, {"nonce": None}],
)
async def test_clients_that_are_not(ann: Client, change: dict[str, str | None]) -> None:
    assert "code" in await ann.ask("/oauth", SEED | change)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b'{"type":"other"}',
        b'{"type":"code"}',
        b'{"type":"code","client_id":1}',
        b'{"type":"device"}',
    ],
)
async def test_a_body_that_is_none_is_400(ann: Client, body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        await ann.ask("/oauth", body)
    assert (refused.value.status, refused.value.detail) == (400, "JSON deserialization failed")


async def test_no_device_waits(ann: Client) -> None:
    assert await ann.ask("/oauth", {"type": "device", "code": "ABCD-EFGH"}) is False


@pytest.mark.parametrize("identity", [None, local_peer("root")])
async def test_who_has_no_account_gets_no_code(codes: Codes, identity: Identity | None) -> None:
    with pytest.raises(Failure, match="other"):
        await Client(routes(codes), identity).ask("/oauth", SEED)


@pytest.mark.parametrize(
    ("path", "permission", "kind"),
    [
        ("/telemetry/live/metrics-token", "metrics-live", TokenKind.LIVE_METRICS),
        ("/telemetry/live/tracing-token", "tracing-live", TokenKind.LIVE_TRACING),
        ("/troubleshoot/token", "troubleshoot", TokenKind.TROUBLESHOOT),
    ],
)
async def test_stream_tokens(house: House, path: str, permission: str, kind: TokenKind) -> None:
    routes = list(StreamTokens(house.signing_in).routes())
    token = await Client(routes, await house.sign_in("ann", "plain")).ask(path)
    claims = house.signing_in.tokens.open(token, (kind,))
    assert (claims.account, claims.expires - claims.issued) == ("ann", 60)
    with pytest.raises(Problem) as refused:
        await Client(routes, await house.sign_in("bob", "plain")).ask(path)
    assert refused.value.status == 403
    assert {route.path: route.permission for route in routes}[path] == permission
