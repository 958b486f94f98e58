"""Who credentials are good for, by every way."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.control.options import FallbackAdminOptions
from relayd.control.signing_in import Identity, SigningIn, Way, local_peer, parse_pair
from relayd.directory.account import Refusal
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.directory.password import hash_secret
from relayd.directory.permissions import PERMISSIONS
from relayd.directory.tokens import Realm, TokenKind, Tokens
from tests.directory.test_directory import OTP, Clock

ADMIN_HASH = hash_secret("s3cret")
FALLBACK = FallbackAdminOptions(user="Root", secret=ADMIN_HASH)
ACCOUNTS = {
    "ann": AccountOptions(secret="plain", roles=("admin",)),
    "bob": AccountOptions(secret="plain"),
    "otp": AccountOptions(secret="plain", otp=OTP),
    "key": AccountOptions(secret="k:ey", type_="apiKey"),
    "root": AccountOptions(secret="other"),
}
STREAMS = {
    TokenKind.LIVE_TRACING: "tracing-live",
    TokenKind.LIVE_METRICS: "metrics-live",
    TokenKind.TROUBLESHOOT: "troubleshoot",
}


@dataclass
class House:
    directory: Directory
    signing_in: SigningIn
    clock: Clock

    def issue(self, identity: Identity, kind: TokenKind = TokenKind.ACCESS) -> str:
        return self.signing_in.tokens.issue(
            kind, identity.realm, identity.name, identity.account.version, 3600, "webadmin"
        )

    async def sign_in(self, login: str, secret: str) -> Identity:
        found = await self.signing_in.basic(login, secret)
        assert isinstance(found, Identity)
        return found


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = Clock()
    directory = Directory(ACCOUNTS, clock)
    signing_in = SigningIn(directory, FALLBACK, Tokens(bytes(32), clock), clock)
    yield House(directory, signing_in, clock)
    signing_in.close()
    directory.close()


async def test_the_fallback_administrator_wins_over_an_account_of_its_name(house: House) -> None:
    found = await house.sign_in(" ROOT ", "s3cret")
    assert (found.name, found.is_fallback, found.way) == ("root", True, Way.BASIC)
    assert found.account.permissions == PERMISSIONS
    for secret in ("wrong", "", "other"):
        assert await house.signing_in.basic("root", secret) is Refusal.WRONG
    house.signing_in.reconfigure(FallbackAdminOptions(user="root", secret="new"))
    assert await house.signing_in.basic("root", "s3cret") is Refusal.WRONG
    assert (await house.sign_in("root", "new")).is_fallback


async def test_without_user_or_secret_there_is_none(house: House) -> None:
    for options in (FallbackAdminOptions(user="chief"), FallbackAdminOptions(secret="x"), FallbackAdminOptions()):
        house.signing_in.reconfigure(options)
        for login, secret in (("chief", "x"), ("", "x"), ("chief", "")):
            assert await house.signing_in.basic(login, secret) is Refusal.WRONG


async def test_accounts_of_the_directory(house: House) -> None:
    ann, bob = await house.sign_in("Ann", "plain"), await house.sign_in("bob", "plain")
    assert (ann.realm, ann.is_fallback) == (Realm.DIRECTORY, False)
    assert (ann.account.may("logs-view"), bob.account.may("logs-view")) == (True, False)
    assert await house.signing_in.basic("nobody", "plain") is Refusal.WRONG
    assert await house.signing_in.basic("otp", "plain") is Refusal.NEEDS_TOTP


async def test_api_keys(house: House) -> None:
    def key(text: str) -> str:
        return "api_" + base64.b64encode(text.encode()).decode()

    found = await house.signing_in.bearer(key("Key:k:ey"))
    assert isinstance(found, Identity)
    assert (found.name, found.way) == ("key", Way.API_KEY)
    for wrong in (key("key:x"), key("bob:plain"), key("key"), "api_", "api_!", key("root:s3cret")):
        assert await house.signing_in.bearer(wrong) is Refusal.WRONG
    assert await house.signing_in.basic("key", "k:ey") is Refusal.WRONG


@pytest.mark.parametrize(("login", "secret"), [("root", "s3cret"), ("bob", "plain")])
async def test_an_access_token_is_its_owner_until_its_time_ends(house: House, login: str, secret: str) -> None:
    owner = await house.sign_in(login, secret)
    token = house.issue(owner)
    assert await house.signing_in.bearer(token) == replace(owner, way=Way.TOKEN, client_id="webadmin")
    house.clock.now += 3600
    assert await house.signing_in.bearer(token) is Refusal.EXPIRED


@pytest.mark.parametrize("kind", [each for each in TokenKind if each is not TokenKind.ACCESS])
async def test_a_token_of_another_kind_is_no_bearer(house: House, kind: TokenKind) -> None:
    assert await house.signing_in.bearer(house.issue(await house.sign_in("ann", "plain"), kind)) is Refusal.WRONG


async def test_a_changed_secret_or_a_removed_account_voids_access_tokens_at_once(house: House) -> None:
    token = house.issue(await house.sign_in("bob", "plain"))
    house.directory.reconfigure(ACCOUNTS | {"bob": AccountOptions(secret="plain", roles=("admin",))})
    found = await house.signing_in.bearer(token)  # other permissions: the same token, with what is in force now
    assert isinstance(found, Identity)
    assert found.account.may("logs-view")
    for accounts in (ACCOUNTS | {"bob": AccountOptions(secret="new")}, {}):
        house.directory.reconfigure(accounts)
        assert await house.signing_in.bearer(token) is Refusal.WRONG


@pytest.mark.parametrize(
    "fallback",
    [
        FallbackAdminOptions(user="root", secret="other"),
        FallbackAdminOptions(),
        FallbackAdminOptions(user="x", secret=ADMIN_HASH),
    ],
)
async def test_tokens_of_a_former_fallback_administrator_are_void(house: House, fallback: FallbackAdminOptions) -> None:
    token = house.issue(await house.sign_in("root", "s3cret"))
    house.signing_in.reconfigure(fallback)
    assert await house.signing_in.bearer(token) is Refusal.WRONG


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_token_grants_its_stream_for_a_minute(house: House, kind: TokenKind) -> None:
    token = house.signing_in.stream_token(await house.sign_in("ann", "plain"), kind)
    found = await house.signing_in.stream(token, kind)
    assert isinstance(found, Identity)
    assert (found.name, found.way, found.account.permissions) == ("ann", Way.STREAM, frozenset({STREAMS[kind]}))
    assert await house.signing_in.bearer(token) is Refusal.WRONG
    for other in STREAMS.keys() - {kind}:
        assert await house.signing_in.stream(token, other) is Refusal.WRONG
    house.directory.reconfigure(ACCOUNTS | {"ann": AccountOptions(secret="new", roles=("admin",))})
    found = await house.signing_in.stream(token, kind)  # survives the change of password
    assert isinstance(found, Identity)
    assert found.account.permissions == {STREAMS[kind]}
    house.clock.now += 59
    assert isinstance(await house.signing_in.stream(token, kind), Identity)
    house.clock.now += 1
    assert await house.signing_in.stream(token, kind) is Refusal.EXPIRED


async def test_a_stream_token_gives_no_more_than_the_account_has(house: House) -> None:
    kind = TokenKind.LIVE_METRICS
    token = house.signing_in.stream_token(await house.sign_in("ann", "plain"), kind)
    house.directory.reconfigure({"ann": AccountOptions(secret="plain")})
    found = await house.signing_in.stream(token, kind)
    assert isinstance(found, Identity)
    assert found.account.permissions == set()
    house.directory.reconfigure({})
    assert await house.signing_in.stream(token, kind) is Refusal.WRONG


async def test_a_local_peer_has_stream_tokens_and_no_others(house: House) -> None:
    peer = local_peer("root")
    assert (peer.account.permissions, peer.is_fallback, peer.way) == (PERMISSIONS, False, Way.PEER)
    found = await house.signing_in.stream(
        house.signing_in.stream_token(peer, TokenKind.TROUBLESHOOT), TokenKind.TROUBLESHOOT
    )
    assert isinstance(found, Identity)
    assert found.account.permissions == {"troubleshoot"}
    assert await house.signing_in.bearer(house.issue(peer)) is Refusal.WRONG


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann :se:cret ", ("ann", "se:cret ")),
        (":", ("", "")),
        ("ann", None),
    ],
)
def test_name_and_secret_of_base64(text: str, expected: tuple[str, str] | None) -> None:
    assert parse_pair(base64.b64encode(text.encode()).decode()) == expected


@given(st.one_of(st.text(max_size=100), st.binary(max_size=60).map(lambda octets: base64.b64encode(octets).decode())))
def test_no_text_is_more_than_no_pair(text: str) -> None:
    found = parse_pair(text)
    assert found is None or found[0] == found[0].strip().lower()
