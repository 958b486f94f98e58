"""Connections counted in total and by address."""

from __future__ import annotations

import ipaddress

from relayd.listener.limits import ConnectionCounts, counted_as
from tests.rig.listener import listening, live
from tests.rig.reception_stub import StubReception


def test_ipv6_counts_by_its_64() -> None:
    here, near, far = (ipaddress.ip_address(text) for text in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"))
    assert counted_as(here) == counted_as(near) != counted_as(far)
    assert counted_as(ipaddress.ip_address("192.0.2.1")) != counted_as(ipaddress.ip_address("192.0.2.2"))


def test_who_leaves_makes_room() -> None:
    counts = ConnectionCounts()
    address = ipaddress.ip_address("192.0.2.1")
    assert counts.enter_address(address, 1)
    assert not counts.enter_address(address, 1)
    counts.leave_address(address)
    assert counts.enter_address(address, 1)
    assert counts.enter(1)
    assert not counts.enter(1)
    counts.leave()
    assert counts.enter(1)


async def test_total_limit() -> None:
    async with live(StubReception(), listening(max_connections=1)) as server:
        first = await server.dial()
        await first.greet()
        second = await server.dial()
        assert (await second.reply()).startswith("421 4.3.2 ")
        assert await second.at_end()
        await second.close()
        assert (await first.ask("QUIT")).startswith("221")
        await first.close()
        await server.until(lambda: not server.listeners.sessions)
        third = await server.dial()
        await third.greet()
        assert "limit.concurrent-connection" in server.ids()


async def test_limit_of_an_address_and_not_of_trusted_ones() -> None:
    reception = StubReception()
    async with live(reception, listening(max_connections_per_address=1)) as server:
        await (await server.dial()).greet()
        second = await server.dial()
        assert (await second.reply()).startswith("421 4.7.0 ")
        reception.trusted = True
        await (await server.dial()).greet()
