"""Direct delivery: which hosts and addresses are tried, and what it means when there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from relayd.delivery.options import ReuseOptions
from relayd.delivery.outcome import Trouble
from relayd.events.event import EventStream, Span
from relayd.queue.message import Outcome, Result
from relayd.resolver.zone import FORGED, TIMEOUT
from relayd.routing.next_hop import NextHop
from tests.delivery.setting import Setting, direct, job
from tests.rig.peer import Script, running

GOOD = {"A": ["127.0.0.1"]}


async def endpoints(setting: Setting, hop: NextHop) -> list[tuple[str, str]]:
    span = Span(EventStream(lambda: 0.0))
    return [(endpoint.host, endpoint.address) async for endpoint in setting.road.hosts.find(hop, span)]


async def outcome_for(zone: Mapping[str, Mapping[str, Any]], domain: str = "x.example", **kwargs: Any) -> Outcome:
    [outcome] = await Setting(zone=zone, **kwargs).run(job("b@" + domain), direct(1, domain))
    return outcome


async def test_best_preference_first() -> None:
    zone: dict[str, dict[str, Any]] = {
        "x.example": {"MX": [(20, "b.example"), (10, "a.example"), (30, "c.example")]},
        "a.example": {"A": ["192.0.2.1"]},
        "b.example": {"A": ["192.0.2.2"]},
        "c.example": {"A": ["192.0.2.3"]},
    }
    found = await endpoints(Setting(zone=zone), direct(25))
    assert found == [("a.example", "192.0.2.1"), ("b.example", "192.0.2.2"), ("c.example", "192.0.2.3")]


async def test_equal_preferences_are_shuffled() -> None:
    zone: dict[str, dict[str, Any]] = {"x.example": {"MX": [(10, "a.example"), (10, "b.example")]}}
    zone |= {"a.example": {"A": ["192.0.2.1"]}, "b.example": {"A": ["192.0.2.2"]}}
    low = await endpoints(Setting(zone=zone, chance=lambda: 0.1), direct(25))
    high = await endpoints(Setting(zone=zone, chance=lambda: 0.9), direct(25))
    assert {low[0][0], high[0][0]} == {"a.example", "b.example"}
    assert sorted(low) == sorted(high)


async def test_both_families_take_turns_and_are_limited() -> None:
    zone: dict[str, dict[str, Any]] = {
        "x.example": {"MX": [(10, "a.example")]},
        "a.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1", "2001:db8::2"]},
    }
    assert [address for _, address in await endpoints(Setting(zone=zone), direct(25))] == ["2001:db8::1", "192.0.2.1"]
    setting = Setting(zone=zone, reuse=ReuseOptions(addresses=3))
    assert len(await endpoints(setting, direct(25))) == 3


async def test_hosts_are_limited() -> None:
    zone: dict[str, dict[str, Any]] = {"x.example": {"MX": [(n, f"h{n}.example") for n in range(9)]}}
    zone |= {f"h{n}.example": {"A": [f"192.0.2.{n}"]} for n in range(9)}
    assert len(await endpoints(Setting(zone=zone), direct(25))) == 5


async def test_a_domain_without_mx_is_its_own_host() -> None:
    assert await endpoints(Setting(zone={"x.example": {"A": ["192.0.2.1"]}}), direct(25)) == [
        ("x.example", "192.0.2.1")
    ]


async def test_an_alias_is_followed_and_the_recipient_stays() -> None:
    zone: dict[str, dict[str, Any]] = {
        "x.example": {"CNAME": ["y.example"]},
        "y.example": {"MX": [(10, "a.example")]},
        "a.example": GOOD,
    }
    async with running() as peer:
        setting = Setting(zone=zone)
        [outcome] = await setting.run(job("b@x.example"), direct(peer.port))
        assert outcome.result is Result.DELIVERED
        assert peer.taken[0].rcpts == ["RCPT TO:<b@x.example>"]
        assert outcome.host == "a.example"
        await setting.pool.close()


async def test_an_address_literal() -> None:
    async with running() as peer:
        setting = Setting()
        hop = direct(peer.port, "[127.0.0.1]", use_mx=False)
        [outcome] = await setting.run(job("b@[127.0.0.1]"), hop)
        assert outcome.result is Result.DELIVERED
        await setting.pool.close()
    assert await endpoints(Setting(), direct(25, "[IPv6:2001:db8::1]", use_mx=False)) == [
        ("IPv6:2001:db8::1", "2001:db8::1")
    ]


async def test_the_next_host_is_tried_when_one_is_down() -> None:
    zone: dict[str, dict[str, Any]] = {
        "x.example": {"MX": [(10, "down.example"), (20, "up.example")]},
        "down.example": {"A": ["127.0.0.2"]},
        "up.example": GOOD,
    }
    async with running() as peer:
        setting = Setting(zone=zone)
        [outcome] = await setting.run(job(), direct(peer.port))
        assert (outcome.result, outcome.host) == (Result.DELIVERED, "up.example")
        assert len(setting.stated("delivery.connect-error")) == 1
        await setting.pool.close()


@pytest.mark.parametrize(
    "script",
    [
        Script(banner="554 5.3.2 No"),
        Script(ehlo="421 4.3.2 No"),
        Script(mail="421 4.3.2 No"),
        Script(rcpt="421 4.3.2 No"),
        Script(banner="DROP"),
        Script(mail="what?"),
        Script(offers=("PIPELINING",), mail="DROP"),
        Script(offers=("PIPELINING",), data="DROP"),
    ],
)
async def test_the_next_host_is_tried_when_one_refuses(script: Script) -> None:
    zone: dict[str, dict[str, Any]] = {
        "x.example": {"MX": [(10, "bad.example"), (20, "up.example")]},
        "bad.example": {"A": ["127.0.0.2"]},
        "up.example": GOOD,
    }
    setting = Setting(zone=zone)
    async with running() as good, running(script, address="127.0.0.2", port=good.port) as bad:
        [outcome] = await setting.run(job(), direct(good.port))
        assert bad.connections == 1
        assert (outcome.result, outcome.host) == (Result.DELIVERED, "up.example")
        await setting.pool.close()


@pytest.mark.parametrize("script", [Script(rcpt="550 5.1.1 No"), Script(dot="451 4.3.0 Later"), Script(dot="DROP")])
async def test_the_next_host_is_not_tried_when_the_mail_is_refused(script: Script) -> None:
    zone: dict[str, dict[str, Any]] = {
        "x.example": {"MX": [(10, "bad.example"), (20, "up.example")]},
        "bad.example": {"A": ["127.0.0.2"]},
        "up.example": GOOD,
    }
    setting = Setting(zone=zone)
    async with running() as good, running(script, address="127.0.0.2", port=good.port):
        [outcome] = await setting.run(job(), direct(good.port))
        assert good.connections == 0
        assert outcome.result is not Result.DELIVERED
        await setting.pool.close()


@pytest.mark.parametrize(
    ("zone", "result", "enhanced"),
    [
        ({}, Result.BOUNCED, "5.1.2"),
        ({"x.example": {"MX": [(0, "")]}}, Result.BOUNCED, "5.1.10"),
        ({"x.example": {"TXT": ["no mail here"]}}, Result.BOUNCED, "5.4.4"),
        ({"x.example": {"MX": [(10, "gone.example")]}}, Result.BOUNCED, "5.4.4"),
        ({"x.example": {"MX": TIMEOUT}}, Result.DEFERRED, "4.4.3"),
        ({"x.example": {"MX": FORGED}}, Result.DEFERRED, "4.4.3"),
        ({"x.example": {"MX": [(10, "a.example")]}, "a.example": {"*": TIMEOUT}}, Result.DEFERRED, "4.4.3"),
        ({"x.example": {"A": TIMEOUT}}, Result.DEFERRED, "4.4.3"),
        (
            {"x.example": {"MX": [(10, "a.example"), (10, "gone.example")]}, "a.example": {"*": TIMEOUT}},
            Result.DEFERRED,
            "4.4.3",
        ),
    ],
)
async def test_no_host(zone: Mapping[str, Mapping[str, Any]], result: Result, enhanced: str) -> None:
    outcome = await outcome_for(zone)
    assert (outcome.result, outcome.reply.enhanced) == (result, enhanced)
    assert outcome.status.startswith("DNS lookup failed: ")


async def test_the_name_of_a_route_that_is_gone_defers_and_alarms() -> None:
    setting = Setting()
    hop = NextHop(key="route:hub", host="hub.example", use_mx=False, route="hub")
    [outcome] = await setting.run(job(), hop)
    assert outcome.result is Result.DEFERRED
    assert len(setting.stated("delivery.route-alarm")) == 1


SELF_ZONE: dict[str, dict[str, Any]] = {
    "x.example": {"MX": [(10, "a.example"), (20, "relay.example"), (20, "b.example"), (30, "c.example")]},
    "a.example": {"A": ["192.0.2.1"]},
    "b.example": {"A": ["192.0.2.2"]},
    "c.example": {"A": ["192.0.2.3"]},
    "relay.example": {"A": ["192.0.2.4"]},
}


@pytest.mark.parametrize("own", [{"relay.example"}, {"192.0.2.4"}])
async def test_ourselves_and_all_of_equal_or_worse_preference_are_dropped(own: set[str]) -> None:
    assert await endpoints(Setting(zone=SELF_ZONE, own=own), direct(25)) == [("a.example", "192.0.2.1")]


@pytest.mark.parametrize("own", [{"a.example"}, {"192.0.2.1"}])
async def test_none_left_is_a_loop(own: set[str]) -> None:
    outcome = await outcome_for(SELF_ZONE, own=own)
    assert (outcome.result, outcome.reply.enhanced) == (Result.BOUNCED, "5.4.6")


async def test_our_own_address_as_a_literal_is_a_loop() -> None:
    [outcome] = await Setting(own={"192.0.2.1"}).run(job(), direct(25, "[192.0.2.1]", use_mx=False))
    assert outcome.reply.enhanced == "5.4.6"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.0.0.0"])
async def test_private_addresses_are_refused(address: str) -> None:
    setting = Setting(
        zone={"x.example": {"MX": [(10, "a.example")]}, "a.example": {"A": [address]}}, allow_private=False
    )
    [outcome] = await setting.run(job(), direct(1))
    assert outcome.result is Result.DEFERRED
    assert "allow-private" in outcome.status
    assert not setting.stated("delivery.connect-error")
    assert len(setting.stated("delivery.private-address")) == 1


async def test_a_private_literal_is_refused() -> None:
    setting = Setting(allow_private=False)
    [outcome] = await setting.run(job(), direct(1, "[127.0.0.1]", use_mx=False))
    assert outcome.result is Result.DEFERRED
    assert Trouble.PRIVATE.value == "the addresses are private"
    assert not setting.stated("delivery.connect-error")


async def test_a_route_may_be_private_and_have_mx() -> None:
    zone: dict[str, dict[str, Any]] = {"hub.example": {"MX": [(10, "a.example")]}, "a.example": GOOD}
    async with running() as peer:
        setting = Setting(zone=zone, allow_private=False)
        hop = NextHop(key="route:hub", host="hub.example", port=peer.port, use_mx=True, route="hub")
        [outcome] = await setting.run(job(), hop)
        assert outcome.result is Result.DELIVERED
        await setting.pool.close()
