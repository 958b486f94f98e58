"""Would this recipient be taken?"""

from __future__ import annotations

from typing import Any

import pytest

from relayd.delivery.prober import NextHopProber
from relayd.mail.reply import Reply
from relayd.routing.options import OutboundOptions
from relayd.routing.route import Router
from tests.delivery.setting import Setting
from tests.rig.peer import ALL, DROP, PLAIN, SILENT, Script, running

ZONE: dict[str, dict[str, Any]] = {
    "x.example": {"MX": [(10, "mx.example")]},
    "mx.example": {"A": ["127.0.0.1"]},
    "null.example": {"MX": [(0, "")]},
    "slow.example": {"MX": "TIMEOUT"},
}


def prober(setting: Setting, port: int, timeout: float = 5.0) -> NextHopProber:
    router = Router(OutboundOptions(port=port))
    return NextHopProber(setting.road, lambda: router, setting.stream, timeout=timeout)


@pytest.mark.parametrize("offers", [ALL, ("8BITMIME",)], ids=["pipelining", "one-by-one"])
async def test_the_reply_to_rcpt(offers: tuple[str, ...]) -> None:
    setting = Setting(zone=ZONE)
    replies = ["250 2.1.5 Ok", "550 5.1.1 Nobody", "451 Later", "550"]
    async with running(Script(offers=offers, rcpt=replies)) as peer:
        asked = prober(setting, peer.port)
        assert await asked.probe("b@x.example") == Reply(250, "2.1.5", "Ok")
        assert await asked.probe("b@x.example") == Reply(550, "5.1.1", "Nobody")
        assert await asked.probe("b@x.example") == Reply(451, "4.3.0", "Later")
        assert await asked.probe("b@x.example") == Reply(550, "5.0.0", "")
        assert peer.connections == 1
        assert peer.verbs == ["EHLO", *["MAIL", "RCPT", "RSET"] * 4]
        assert peer.commands[0][1] == "MAIL FROM:<>"
        await setting.pool.close()


@pytest.mark.parametrize(
    "script",
    [
        {"mail": "550 5.7.1 No bounces"},
        {"rcpt": "421 4.3.2 No"},
        {"rcpt": DROP},
        {"banner": "554 No"},
        {"mail": SILENT},
    ],
)
async def test_unknown_when_the_host_does_not_say(script: dict[str, Any]) -> None:
    setting = Setting(zone=ZONE)
    async with running(Script(**script)) as peer:
        assert await prober(setting, peer.port, timeout=0.3).probe("b@x.example") is None
        await setting.pool.close()


async def test_what_the_dns_says() -> None:
    asked = prober(Setting(zone=ZONE), 1)
    gone = await asked.probe("b@gone.example")
    assert gone is not None
    assert gone.enhanced == "5.1.2"
    null = await asked.probe("b@null.example")
    assert null is not None
    assert null.enhanced == "5.1.10"
    assert await asked.probe("b@slow.example") is None
    assert await asked.probe("b\r\nDATA@x.example") is None
    assert await asked.probe("b@x.example") is None  # nobody listens


async def test_internationalised_addresses() -> None:
    setting = Setting(zone=ZONE)
    async with running() as peer:
        found = await prober(setting, peer.port).probe("bø@x.example")
        assert found is not None
        assert found.code == 250
        assert peer.commands[0][1] == "MAIL FROM:<> SMTPUTF8"
        await setting.pool.close()
    async with running(Script(offers=PLAIN)) as peer:
        assert await prober(setting, peer.port).probe("bø@x.example") is None


async def test_a_dead_idle_connection_is_replaced() -> None:
    setting = Setting(zone=ZONE)
    async with running(Script(mail=["250 2.1.0 Ok", DROP, "250 2.1.0 Ok"])) as peer:
        asked = prober(setting, peer.port)
        assert await asked.probe("b@x.example") is not None
        assert await asked.probe("b@x.example") is not None
        assert peer.connections == 2
        await setting.pool.close()
