"""The exchanges of AUTH with accounts of the database behind them: SCRAM and tokens, and what is no exchange."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scramp import ScramClient

from relayd.directory.directory import Directory
from relayd.directory.entry import Type
from relayd.directory.fields import change, draft
from relayd.directory.principals import Principals, open_principals
from relayd.directory.tokens import Realm, TokenKind, Tokens
from relayd.events.event import EventStream, Span
from relayd.mail.reply import Reply
from relayd.reception.client import Client
from relayd.reception.sign_in import SignIns
from relayd.smtp.extension import Extensions
from tests.directory.test_directory import Clock
from tests.rig.listener import Dialogue, Live, listening, live
from tests.rig.reception_stub import StubReception


class Reception(StubReception):
    """The stub, with real sign-ins."""

    def __init__(self, sign_ins: SignIns) -> None:
        super().__init__()
        self._sign_ins = sign_ins

    @property
    def sign_ins(self) -> SignIns:
        return self._sign_ins

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        return self._sign_ins.mechanisms(client)

    def offered(self, client: Client) -> Extensions:
        return Extensions(auth=self.mechanisms(client))

    async def authenticate(self, client: Client, login: str, secret: str) -> Reply:
        return await self._sign_ins.by_password(client, login, secret)


@dataclass
class House:
    principals: Principals
    directory: Directory
    tokens: Tokens
    clock: Clock
    server: Live

    async def dial(self) -> Dialogue:
        client = await self.server.dial()
        await client.greet()
        return client

    async def token(self, kind: TokenKind = TokenKind.ACCESS, realm: Realm = Realm.DIRECTORY) -> str:
        account = await self.directory.get("ann")
        assert account is not None
        return self.tokens.issue(kind, realm, "ann", account.version, 3600)


async def at_once(seconds: float) -> None:
    """In place of waiting."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = Clock()
    principals = await open_principals(tmp_path, Span(EventStream(clock)))
    await principals.create(Type.DOMAIN, draft(Type.DOMAIN, {"name": "example.org"}))
    values = {"name": "ann", "secrets": "pencil", "roles": "user", "emails": "ann@example.org"}
    await principals.create(Type.INDIVIDUAL, draft(Type.INDIVIDUAL, values))
    directory = Directory({}, clock, [principals], decoys=b"k" * 32, pause=at_once)
    tokens = Tokens(bytes(32), clock)
    sign_ins = SignIns(directory, clock, tokens=tokens, has_scram=lambda: principals.has_scram)
    async with live(Reception(sign_ins), listening(role="submission")) as server:
        yield House(principals, directory, tokens, clock, server)
    directory.close()
    await principals.close()


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def challenge(reply: str) -> bytes:
    assert reply.startswith("334 "), reply
    return base64.b64decode(reply[4:])


async def scram(client: Dialogue, login: str, password: str, *, initial: bool = True) -> str:
    """The reply that an exchange ends with; the server's proof is checked."""
    peer = ScramClient(["SCRAM-SHA-256"], login, password)
    first = encoded(peer.get_client_first())
    if initial:
        reply = await client.ask(f"AUTH SCRAM-SHA-256 {first}")
    else:
        assert await client.ask("AUTH SCRAM-SHA-256") == "334 "
        reply = await client.ask(first)
    peer.set_server_first(challenge(reply).decode())
    reply = await client.ask(encoded(peer.get_client_final()))
    if reply.startswith("334"):
        peer.set_server_final(challenge(reply).decode())
        reply = await client.ask("")
    return reply


async def test_what_is_offered_depends_on_what_accounts_have(house: House) -> None:
    client = await house.server.dial()
    assert "AUTH SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2" in await client.greet()
    await house.principals.update("ann", [change(Type.INDIVIDUAL, "set", "secrets", "{SHA256}" + "A" * 43 + "=")])
    client = await house.server.dial()
    assert "AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2" in await client.greet()
    assert (await client.ask("AUTH SCRAM-SHA-256 biws")).startswith("504 5.5.4")


@pytest.mark.parametrize("initial", [True, False])
async def test_scram(house: House, initial: bool) -> None:
    client = await house.dial()
    assert await scram(client, "ann", "pencil", initial=initial) == "235 2.7.0 Authentication succeeded"
    assert (await client.ask("AUTH PLAIN x")).startswith("503 ")
    assert "AUTH" not in await client.ask("EHLO client.example")


@pytest.mark.parametrize(("login", "password"), [("ann", "wrong"), ("nobody", "pencil"), ("ANN", "wrong")])
async def test_scram_that_fails_says_the_same_whoever_it_was(house: House, login: str, password: str) -> None:
    client = await house.dial()
    assert await scram(client, login, password) == "535 5.7.8 Authentication credentials invalid"
    assert await scram(client, "ann", "pencil") == "235 2.7.0 Authentication succeeded"


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["AUTH SCRAM-SHA-256 " + encoded("n,,r=abc")], "501 5.5.2"),
        (["AUTH SCRAM-SHA-256 " + encoded("p=tls-unique,,n=ann,r=abc")], "501 5.5.2"),
        (["AUTH SCRAM-SHA-256 " + encoded("n,a=bob,n=ann,r=abc")], "535 5.7.8"),
        (["AUTH SCRAM-SHA-256 " + encoded("n,,n=ann,r=abc"), encoded("c=biws,r=abc,p=AAAA")], "501 5.5.2"),
        (["AUTH SCRAM-SHA-256 " + encoded("n,,n=ann,r=abc"), "*"], "501 5.7.0"),
        (["AUTH SCRAM-SHA-256 " + encoded("n,,n=ann,r=abc"), "%%%"], "501 5.5.2"),
        (["AUTH XOAUTH2 " + encoded("user=ann\1auth=Bearer \1\1")], "501 5.5.2"),
        (["AUTH XOAUTH2 " + encoded("auth=Bearer x\1\1")], "501 5.5.2"),
        (["AUTH OAUTHBEARER " + encoded("n,a=ann,auth=Bearer x\1\1")], "501 5.5.2"),
        (["AUTH OAUTHBEARER", encoded("n,a=\xff,\1auth=Bearer x\1\1".encode("latin-1"))], "501 5.5.2"),
        (["AUTH XOAUTH2 " + encoded("user=ann\1auth=Bearer x\1\1"), ""], "535 5.7.8"),
        (["AUTH OAUTHBEARER " + encoded("n,,\1auth=Bearer x\1\1"), encoded("\1")], "535 5.7.8"),
        (["AUTH XOAUTH2 " + encoded("user=ann\1auth=Bearer x\1\1"), "*"], "501 5.7.0"),
    ],
)
async def test_what_ends_an_exchange(house: House, lines: list[str], last: str) -> None:
    client = await house.dial()
    replies = [await client.ask(line) for line in lines]
    assert all(reply.startswith("334") for reply in replies[:-1])
    assert replies[-1].startswith(last)
    assert (await client.ask("NOOP")).startswith("250 ")
    assert not [event for event in house.server.events if event.kind.id == "smtp.handler-error"]


async def test_the_client_that_does_not_take_the_servers_proof_is_not_signed_in(house: House) -> None:
    client = await house.dial()
    peer = ScramClient(["SCRAM-SHA-256"], "ann", "pencil")
    peer.set_server_first(
        challenge(await client.ask(f"AUTH SCRAM-SHA-256 {encoded(peer.get_client_first())}")).decode()
    )
    challenge(await client.ask(encoded(peer.get_client_final())))
    assert (await client.ask("*")).startswith("501 5.7.0")
    assert (await client.ask("MAIL FROM:<ann@example.org>")).startswith("530 ")


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("XOAUTH2", "user={user}\1auth=Bearer {token}\1\1"),
        ("OAUTHBEARER", "n,a={user},\1host=mx.example.org\1port=587\1auth=Bearer {token}\1\1"),
    ],
)
async def test_tokens_of_ours(house: House, mechanism: str, message: str) -> None:
    async def reply(token: str, user: str = "ann") -> str:
        client = await house.dial()
        with contextlib.closing(client.writer):
            answer = await client.ask(f"AUTH {mechanism} {encoded(message.format(user=user, token=token))}")
            if not answer.startswith("334"):
                return answer
            assert challenge(answer) == b'{"status":"invalid_token"}'
            return await client.ask("")

    token = await house.token()
    for user in ("ann", "ANN", "ann@example.org"):
        assert (await reply(token, user)).startswith("235 ")
    for bad in (token[:-8] + "AAAAAAA=", await house.token(TokenKind.REFRESH), await house.token(realm=Realm.FALLBACK)):
        assert (await reply(bad)).startswith("535 5.7.8")
    assert (await reply(token, "bob")).startswith("535 5.7.8")
    house.clock.now += 3601
    assert (await reply(token)).startswith("535 5.7.8")
    house.clock.now -= 3601
    await house.principals.update("ann", [change(Type.INDIVIDUAL, "set", "secrets", "other")])
    assert (await reply(token)).startswith("535 5.7.8")


async def test_an_oauthbearer_without_a_name_is_who_the_token_says(house: House) -> None:
    client = await house.dial()
    message = f"n,,\1auth=Bearer {await house.token()}\1\1"
    assert (await client.ask(f"AUTH OAUTHBEARER {encoded(message)}")).startswith("235 ")


async def test_a_suspended_account_with_good_credentials_is_told_so(house: House) -> None:
    await house.principals.update("ann", [change(Type.INDIVIDUAL, "set", "suspended", "spam")])
    client = await house.dial()
    assert await scram(client, "ann", "pencil") == "535 5.7.13 The account is suspended"
    assert (await client.ask(f"AUTH PLAIN {encoded(chr(0) + 'ann' + chr(0) + 'pencil')}")).startswith("535 5.7.13")
    assert (await client.ask(f"AUTH PLAIN {encoded(chr(0) + 'ann' + chr(0) + 'wrong')}")).startswith("535 5.7.8")
