"""`/auth/token`: the exchange of codes and refresh tokens, and the forms it is asked by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from relayd.control.answers import TOO_MANY, Problem, problem
from relayd.control.auth import DEVICE_CODE, MAX_FORM, PATH, Refused, TokenAnswer, TokenEndpoint, parse_grant
from relayd.control.forms import FORM, MULTIPART
from relayd.control.options import FallbackAdminOptions
from relayd.control.routes import SPAN
from relayd.control.signing_in import Identity, SigningIn
from relayd.directory.codes import Codes, Grant
from relayd.directory.device_codes import DeviceCodes
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions, CodeOptions, ExpiryOptions
from relayd.directory.tokens import TokenKind, Tokens
from relayd.events.event import Event, EventStream, Span
from tests.directory.test_directory import Clock

URI = "stalwart://auth"
DAY = 86400.0
ACCOUNTS = {"ann": AccountOptions(secret="plain")}
FALLBACK = FallbackAdminOptions(user="root", secret="s3cret")


@dataclass
class House:
    directory: Directory
    signing_in: SigningIn
    codes: Codes
    endpoint: TokenEndpoint
    clock: Clock
    charged: list[str]

    async def code(self, login: str = "ann", secret: str = "plain") -> str:
        found = await self.signing_in.basic(login, secret)
        assert isinstance(found, Identity)
        return self.codes.issue(
            Grant(
                realm=found.realm,
                account=found.name,
                version=found.account.version,
                client_id="webadmin",
                redirect_uri=URI,
            )
        )

    async def exchange(self, **form: str) -> dict[str, object] | str:
        """The answer, or the name of the error."""
        try:
            answer = await self.endpoint.exchange(form)
        except Refused as refused:
            return refused.error
        return {name: getattr(answer, name) for name in answer.__struct_fields__}

    async def redeem(self, code: str, /, **other: str) -> dict[str, object] | str:
        form = {"grant_type": "authorization_code", "client_id": "webadmin", "code": code, "redirect_uri": URI}
        return await self.exchange(**{**form, **other})

    async def tokens(self, login: str = "ann", secret: str = "plain") -> tuple[str, str]:
        """An access and a refresh token."""
        answer = await self.redeem(await self.code(login, secret))
        assert isinstance(answer, dict)
        return str(answer["access_token"]), str(answer["refresh_token"])

    async def refresh(self, token: str, **other: str) -> dict[str, object] | str:
        return await self.exchange(grant_type="refresh_token", refresh_token=token, **other)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = Clock()
    directory = Directory(ACCOUNTS, clock)
    signing_in = SigningIn(directory, FALLBACK, Tokens(bytes(32), clock), clock)
    expiry = ExpiryOptions()
    codes = Codes(expiry, CodeOptions(), clock)
    charged: list[str] = []

    def limit(request: web.Request) -> None:
        charged.append(request.path)
        if len(charged) > 5:
            raise Problem(*TOO_MANY)

    yield House(
        directory,
        signing_in,
        codes,
        TokenEndpoint(signing_in, codes, DeviceCodes(expiry, CodeOptions(), clock), expiry, limit, 0.2),
        clock,
        charged,
    )
    signing_in.close()
    directory.close()


@pytest.mark.parametrize(("login", "secret"), [("ann", "plain"), ("root", "s3cret")])
async def test_a_code_is_exchanged_once_for_tokens(house: House, login: str, secret: str) -> None:
    code = await house.code(login, secret)
    answer = await house.redeem(code)
    assert isinstance(answer, dict)
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 3600)
    found = await house.signing_in.bearer(str(answer["access_token"]))
    assert isinstance(found, Identity)
    assert (found.name, found.client_id, found.is_fallback) == (login, "webadmin", login == "root")
    claims = house.signing_in.tokens.open(str(answer["refresh_token"]), (TokenKind.REFRESH,))
    assert claims.expires - claims.issued == 30 * DAY
    assert await house.redeem(code) == "access_denied"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"code": "x" * 40}, "access_denied"),
        ({"code": ""}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"client_id": "other"}, "invalid_client"),
        ({"redirect_uri": ""}, "invalid_client"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_client"),
        ({"grant_type": "password"}, "invalid_grant"),
        ({"grant_type": ""}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": DEVICE_CODE}, "invalid_client"),
        ({"grant_type": DEVICE_CODE, "device_code": "x" * 40}, "expired_token"),
    ],
)
async def test_what_is_refused(house: House, form: dict[str, str], error: str) -> None:
    code = await house.code()
    assert await house.redeem(code, **form) == error
    assert isinstance(await house.redeem(code), dict)  # the code itself is as good as before


async def test_a_code_is_too_old_after_ten_minutes_or_a_change_of_the_account(house: House) -> None:
    old = await house.code()
    house.clock.now += 600
    assert await house.redeem(old) == "access_denied"
    for accounts in (
        {"ann": AccountOptions(secret="new")},
        {"ann": AccountOptions(secret="plain", disabled_permissions=("authenticate",))},
        {},
    ):
        house.directory.reconfigure(ACCOUNTS)
        code = await house.code()
        house.directory.reconfigure(accounts)
        assert await house.redeem(code) == "access_denied"


async def test_a_refresh_token_makes_access_tokens_and_a_new_one_near_its_end(house: House) -> None:
    _, refresh = await house.tokens()
    house.clock.now += 26 * DAY - 1
    early = await house.refresh(refresh)
    house.clock.now += 1
    late = await house.refresh(refresh, client_id="webadmin")
    assert isinstance(early, dict)
    assert isinstance(late, dict)
    assert (early["refresh_token"], early["expires_in"]) == (None, 3600)
    assert isinstance(await house.signing_in.bearer(str(early["access_token"])), Identity)
    assert isinstance(await house.refresh(str(late["refresh_token"])), dict)
    house.clock.now += 4 * DAY
    assert await house.refresh(refresh) == "invalid_grant"
    assert isinstance(await house.refresh(str(late["refresh_token"])), dict)


async def test_a_refresh_token_is_void_where_its_account_or_client_changed(house: House) -> None:
    access, refresh = await house.tokens()
    assert await house.refresh(access) == "invalid_grant"
    assert await house.refresh(refresh, client_id="other") == "invalid_grant"
    for accounts in (
        {"ann": AccountOptions(secret="new")},
        {"ann": AccountOptions(secret="plain", disabled_permissions=("authenticate",))},
        {},
    ):
        house.directory.reconfigure(accounts)
        assert await house.refresh(refresh) == "invalid_grant"
    house.directory.reconfigure(ACCOUNTS)
    assert isinstance(await house.refresh(refresh), dict)


async def test_the_fallback_administrators_tokens_end_with_his_secret(house: House) -> None:
    _, refresh = await house.tokens("root", "s3cret")
    assert isinstance(await house.refresh(refresh), dict)
    house.signing_in.reconfigure(FallbackAdminOptions(user="root", secret="new"))
    assert await house.refresh(refresh) == "invalid_grant"


@pytest.mark.parametrize(
    ("content_type", "octets"),
    [
        ("", b"a=1"),
        ("application/json", b"{}"),
        (FORM, b"a=1&a=2"),
        (FORM, b"&".join(b"a%d=1" % number for number in range(40))),
        (MULTIPART, b"a=1"),
    ],
)
def test_forms_that_are_none(content_type: str, octets: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_grant(content_type, octets)
    assert refused.value.error == "invalid_request"


@pytest.fixture
async def client(house: House) -> AsyncIterator[tuple[TestClient[web.Request, web.Application], list[Event]]]:
    events: list[Event] = []
    span = Span(EventStream(house.clock, [events.append]))

    @web.middleware
    async def outer(request: web.Request, handler: object) -> web.StreamResponse:
        request[SPAN] = span
        try:
            return await handler(request)  # type: ignore[operator, no-any-return]
        except Problem as error:
            return problem(error)

    app = web.Application(middlewares=[outer])
    app.router.add_post(PATH, house.endpoint.handle)
    async with TestClient(TestServer(app)) as client:
        yield client, events


def test_tokens_are_not_shown_by_repr() -> None:
    answer = TokenAnswer(access_token="hunter2", expires_in=1, token_type="bearer", refresh_token="hunter2")
    assert "hunter2" not in repr(answer)


async def test_over_http(house: House, client: tuple[TestClient[web.Request, web.Application], list[Event]]) -> None:
    http, events = client
    form = {"grant_type": "authorization_code", "client_id": "webadmin", "redirect_uri": URI}
    async with http.post("/auth/token", data={**form, "code": await house.code()}) as answer:
        body = await answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token"}
    parts = aiohttp.FormData(default_to_multipart=True)
    for name, value in {"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}.items():
        parts.add_field(name, value)
    async with http.post("/auth/token", data=parts) as answer:
        assert answer.status == 200
        assert set(await answer.json()) == {"access_token", "token_type", "expires_in"}
    for octets in (b"grant_type=authorization_code&code=" + b"x" * MAX_FORM, b"grant_type=refresh_token"):
        async with http.post("/auth/token", data=octets, headers={"Content-Type": FORM}) as answer:
            assert (answer.status, await answer.json()) == (400, {"error": "invalid_request"})
    assert [each.kind.id for each in events] == ["limit.size-request", "auth.failed", "auth.failed"]
    async with http.get("/auth/token") as answer:
        assert answer.status == 405


async def test_a_form_that_dawdles_and_a_client_that_asks_too_often(
    house: House, client: tuple[TestClient[web.Request, web.Application], list[Event]]
) -> None:
    http, _ = client

    async def slow() -> AsyncIterator[bytes]:
        yield b"grant_type="
        await released.wait()

    released = asyncio.Event()
    async with http.post("/auth/token", data=slow(), headers={"Content-Type": FORM}) as answer:
        assert answer.status == 408
    released.set()
    house.charged += ["before"] * 5
    async with http.post("/auth/token", data={"grant_type": "refresh_token"}) as answer:
        assert answer.status == 429
