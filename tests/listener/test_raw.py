"""The dialogue of a session as events: made while somebody asks, without content and without what signs in."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.events import smtp
from relayd.listener.commands import VERBS
from relayd.listener.raw import raw_command, raw_replies
from tests.rig.listener import Dialogue, Live, listening, live
from tests.rig.reception_stub import StubReception

CONTENT = b"Subject: private\r\n\r\nbody of the message\r\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp.RAW_INPUT, "wanted", True)
    monkeypatch.setattr(smtp.RAW_OUTPUT, "wanted", True)


@asynccontextmanager
async def session(role: str = "mx") -> AsyncIterator[tuple[Dialogue, Live]]:
    async with live(StubReception(), listening(role=role)) as server:
        client = await server.dial()
        await client.greet()
        yield client, server


def told(server: Live, kind: str) -> list[tuple[int | None, str]]:
    return [
        (event.fields["size"], event.fields["contents"])
        for event in server.events
        if event.kind.id == f"smtp.raw-{kind}"
    ]


async def by_data(client: Dialogue) -> None:
    await client.ask("MAIL FROM:<a@example.com>")
    await client.ask("RCPT TO:<b@example.org>")
    await client.ask("DATA")
    client.send(CONTENT + b".\r\nNOOP\r\n")
    await client.reply()
    await client.reply()


@pytest.mark.usefixtures("asked")
async def test_every_line_is_told_and_content_by_its_size() -> None:
    async with session() as (client, server):
        await by_data(client)
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.org>")
        client.send(b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT)
        await client.reply()
    said = told(server, "input")
    assert said[:5] == [
        (21, "EHLO client.example"), (27, "MAIL FROM:<a@example.com>"), (25, "RCPT TO:<b@example.org>"), (6, "DATA"),
        (len(CONTENT) + 3, ""),
    ]  # fmt: skip
    assert said[5] == (6, "NOOP")
    assert said[-2:] == [(14, f"BDAT {len(CONTENT)} LAST"), (len(CONTENT), "")]
    answers = [contents for _, contents in told(server, "output")]
    assert answers[0].startswith("220 mx.example.org")
    assert answers[4].startswith("354 ")
    assert "private" not in str(said) + str(answers)


@pytest.mark.usefixtures("asked")
async def test_what_signs_in_is_never_told() -> None:
    secret = base64.b64encode(b"\0ann\0pencil").decode()
    async with session("submission") as (client, server):
        await client.ask(f"AUTH PLAIN {secret}")
        await client.ask("RSET")
        await client.ask("AUTH LOGIN")
        await client.ask(base64.b64encode(b"nobody").decode())
        await client.ask(base64.b64encode(b"pencil").decode())
        await client.ask(secret)
        await client.ask(f"auth\tplain {secret}")
    said = told(server, "input")
    assert (None, "AUTH PLAIN ***") in said
    assert (None, "***") in said
    lines = [contents for _, contents in said]
    everything = str(lines + [contents for _, contents in told(server, "output")])
    for part in (
        secret,
        secret.rstrip("="),
        base64.b64encode(b"nobody").decode(),
        base64.b64encode(b"pencil").decode(),
    ):
        assert part not in everything


async def test_nothing_is_told_while_nobody_asks() -> None:
    async with session() as (client, server):
        await by_data(client)
    assert not told(server, "input")
    assert not told(server, "output")


def test_what_may_be_shown() -> None:
    assert raw_command(b"AUTH\r\n", VERBS) == "AUTH ***"
    assert raw_command(b"auth XOAUTH2 dG9rZW4=\r\n", VERBS) == "auth XOAUTH2 ***"
    assert raw_command(b"BURL imap://secret LAST\r\n", VERBS) == "BURL ***"
    assert raw_command(b"dG9rZW4=\r\n", VERBS) == raw_command(b" AUTH PLAIN x\r\n", VERBS) == "***"
    assert len(raw_command(b"NOOP " + b"x" * 5000, VERBS)) == 1000
    assert raw_replies(b"250 2.0.0 OK\r\n334 Zm9v\r\n") == "250 2.0.0 OK\r\n334 ***"


@given(
    st.sampled_from(["AUTH", "auth", "Auth"]),
    st.text("PLAINxo2-", min_size=1),
    st.binary(min_size=8).map(base64.b64encode),
)
def test_no_line_of_auth_shows_what_signs_in(verb: str, mechanism: str, secret: bytes) -> None:
    shown = raw_command(f"{verb} {mechanism} {secret.decode()}\r\n".encode(), VERBS)
    assert secret.decode() not in shown
    assert shown.endswith(" ***")


@given(st.binary(max_size=2000))
def test_any_octets_may_be_asked_about(octets: bytes) -> None:
    assert len(raw_command(octets, VERBS)) <= 1100
    assert "334 Z" not in raw_replies(b"334 Z" + octets)
