"""aiosmtpd's handler interface, for users' own classes."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any

import aiosmtpd.smtp
import pytest

from relayd.listener.options import PluginOptions
from relayd.listener.plugins import Plugins, load_plugins, parse_status
from relayd.mail.reply import Reply
from relayd.options import OptionError
from tests.listener.test_session import send_message
from tests.rig.listener import live
from tests.rig.reception_stub import StubReception

SEEN: list[Any] = []


class Policy:
    """A handler as one writes it for aiosmtpd."""

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> Any:
        assert isinstance(server, aiosmtpd.smtp.SMTP)
        session.host_name = hostname
        return [*responses[:-1], "250-XPOLICY", responses[-1]]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address == "broken@example.com":
            raise RuntimeError("a bug")
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return "550 Not him" if address.startswith("c@") else "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        kind = "map" if isinstance(envelope.content, mmap.mmap) else "bytes"
        SEEN.append((envelope.mail_from, list(envelope.rcpt_tos), kind, len(envelope.content), session.peer[0]))
        return "554 5.7.1 No spam" if envelope.content[:4] == b"spam" else "250 OK"


class OldPolicy:
    """With the four-argument form of handle_EHLO."""

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        return "550 Go away" if hostname == "bad.example" else "250 OK"


def plugins(*names: str) -> PluginOptions:
    return PluginOptions(plugins=tuple(f"tests.listener.test_plugins:{name}" for name in names))


async def test_plugin_is_asked_and_may_refuse() -> None:
    SEEN.clear()
    reception = StubReception()
    async with live(reception, plugins=plugins("Policy")) as server:
        client = await server.dial()
        assert "XPOLICY" in await client.greet()
        assert (await client.ask("MAIL FROM:<broken@example.com>")).startswith("451 4.3.0 ")
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("250 ")
        assert (await client.ask("RCPT TO:<c@example.org>")) == "550 5.7.1 Not him"
        assert (await client.ask("RCPT TO:<x@elsewhere.example>")).startswith("550 5.7.1 ")
        assert (await client.ask("RCPT TO:<b@example.org>")).startswith("250 ")
        await client.ask("DATA")
        client.send(b"spam\r\n.\r\n")
        assert await client.reply() == "554 5.7.1 No spam"
        big = b"x" * 998 + b"\r\n"
        assert (await send_message(client, big * 1100)).startswith("250 ")
        assert "smtp.plugin-error" in server.ids()
    assert SEEN == [
        ("a@example.com", ["b@example.org"], "bytes", 6, "127.0.0.1"),
        ("a@example.com", ["b@example.org"], "map", 1_100_000, "127.0.0.1"),
    ]
    assert [len(tx.content) for tx in reception.messages] == [1_100_000]


async def test_four_argument_ehlo() -> None:
    async with live(StubReception(), plugins=plugins("OldPolicy")) as server:
        client = await server.dial()
        await client.reply()
        assert await client.ask("EHLO bad.example") == "550 Go away"
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("503 ")
        assert "PIPELINING" in await client.ask("EHLO good.example")


async def test_the_example_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "conf"))
    options = PluginOptions(plugins=("plugin_example:RefuseExecutables",))
    async with live(StubReception(), plugins=options) as server:
        client = await server.dial()
        await client.greet()
        content = b'Content-Type: application/octet-stream; name="a.exe"\r\n\r\nx\r\n'
        assert (await send_message(client, content)).startswith("550 5.7.1 ")
        assert (await send_message(client)).startswith("250 ")
    sys.modules.pop("plugin_example", None)


def test_statuses() -> None:
    assert parse_status("250 OK") is None
    assert parse_status("550 5.1.1 Nobody") == Reply(550, "5.1.1", "Nobody")
    assert parse_status("451 later") == Reply(451, "4.7.1", "later")
    assert parse_status("550 4.1.1 odd") == Reply(550, "5.7.1", "odd")
    assert parse_status("550-5.7.1 One\r\n550 5.7.1 Two") == Reply(550, "5.7.1", "One\nTwo")


@pytest.mark.parametrize("name", ["nothing", "no_such_module:X", "tests.listener.test_plugins:Missing"])
def test_what_cannot_be_loaded_is_a_mistake_in_the_configuration(name: str) -> None:
    with pytest.raises(OptionError, match=r"cannot be loaded|expected"):
        load_plugins([name])


def test_no_plugins_are_false() -> None:
    assert not Plugins()
