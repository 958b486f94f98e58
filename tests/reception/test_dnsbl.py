"""Lists in the DNS as a source of tags: side by side, within a budget, and left alone where they do not answer."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

from relayd.events.event import Event, EventStream, Span
from relayd.mailauth.findings import DkimFinding, Findings, Result
from relayd.reception.assessing import Subject
from relayd.reception.dnsbl import DnsLists
from relayd.resolver.answer import Answer, Resolver
from relayd.resolver.zone import Zone
from relayd.spam.dnsbl_lists import KNOWN
from relayd.spam.dnsbl_options import DnsblOptions
from relayd.spam.facts import Facts, Scanned

ADDRESS = ipaddress.ip_address("198.51.100.7")


class World:
    """Lists over a zone in a dict, and a clock."""

    def __init__(self, resolver: Resolver, *ids: str, **given: Any) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        self.span = Span(EventStream(lambda: 0.0, [self.events.append]))
        lists = [KNOWN[id] for id in ids]
        self.lists = DnsLists(lists, DnsblOptions(**given), lambda: resolver, clock=lambda: self.now)

    def subject(self, *, trusted: bool = False) -> Subject:
        return Subject(
            facts=Facts(address=ADDRESS, return_path="a@b.example", is_trusted=trusted),
            findings=Findings(dkim=(DkimFinding(result=Result.PASS, domain="d.example"),)),
            scanned=Scanned(hosts=("www.shop.example.co.uk",), hops=("192.0.2.1",)),
            content=b"",
            span=self.span,
        )

    async def tags(self, *, trusted: bool = False) -> list[str]:
        return [each.name for each in await self.lists.tags(self.subject(trusted=trusted))]

    def stated(self, id: str) -> list[Event]:
        return [each for each in self.events if each.kind.id == id]


async def test_a_host_is_asked_about_before_any_mail_of_it_came() -> None:
    zone = Zone(
        {"7.100.51.198.list.dnswl.org": {"A": ["127.0.5.2"]}, "7.100.51.198.zen.spamhaus.org": {"A": "SERVFAIL"}}
    )
    world = World(zone, "spamhaus", "dnswl")
    assert world.lists.knows_good
    assert await world.lists.is_welcome(ADDRESS, world.span)
    assert not await world.lists.is_welcome(ipaddress.ip_address("198.51.100.8"), world.span)
    assert not World(zone, "spamhaus", "dnswl-dkim").lists.knows_good


async def test_all_kinds_are_asked() -> None:
    zone = Zone(
        {
            "7.100.51.198.zen.spamhaus.org": {"A": ["127.0.0.2"]},
            "1.2.0.192.zen.spamhaus.org": {"A": ["127.0.0.4"]},
            "example.co.uk.multi.uribl.com": {"A": ["127.0.0.2"]},
            "d.example.dwl.dnswl.org": {"A": ["127.0.5.1"]},
            "b.example.multi.uribl.com": {"A": ["127.0.0.4"]},  # of the return path
        }
    )
    world = World(zone, "spamhaus", "spamhaus-received", "uribl", "dnswl-dkim", "msbl")
    assert sorted(await world.tags()) == [
        "DWL_DNSWL_LOW", "RBL_SPAMHAUS_SBL", "RECEIVED_SPAMHAUS_XBL", "URIBL_BLACK", "URIBL_GREY",
    ]  # fmt: skip
    (stated,) = world.stated("spam.dnsbl")
    assert stated.fields["total"] == 6
    assert await world.tags(trusted=True) == []


async def test_one_that_refuses_is_left_alone_for_a_while() -> None:
    zone = Zone({"7.100.51.198.zen.spamhaus.org": {"A": ["127.255.255.254"]}})
    world = World(zone, "spamhaus", pause=60.0)
    assert await world.tags() == ["RBL_SPAMHAUS_BLOCKED_OPENRESOLVER"]
    assert await world.tags() == []
    assert len(world.stated("spam.dnsbl-error")) == 1
    world.now = 61.0
    assert await world.tags() == ["RBL_SPAMHAUS_BLOCKED_OPENRESOLVER"]


async def test_a_zone_that_somebody_took_over_is_left_alone() -> None:
    zone = Zone({"7.100.51.198.bl.spamcop.net": {"A": ["198.51.100.1"]}})
    world = World(zone, "spamcop")
    assert await world.tags() == []
    assert "no list answers" in world.stated("spam.dnsbl-error")[0].fields["reason"]


async def test_a_list_that_is_down_costs_its_tags_and_the_others_count() -> None:
    class Slow(Zone):
        async def addresses(self, name: str, family: int) -> Answer[str]:
            if "spamcop" in name:
                await asyncio.Event().wait()
            return await super().addresses(name, family)

    world = World(Slow({"7.100.51.198.zen.spamhaus.org": {"A": ["127.0.0.2"]}}), "spamhaus", "spamcop", timeout=0.05)
    world.lists._clock = asyncio.get_running_loop().time
    assert await world.tags() == ["RBL_SPAMHAUS_SBL"]
    assert len(world.stated("spam.dnsbl-error")) == 1


async def test_a_client_that_a_list_knows_for_good_mail_is_told_of() -> None:
    welcome: list[object] = []
    world = World(Zone({"7.100.51.198.list.dnswl.org": {"A": ["127.0.5.2"]}}), "dnswl")
    world.lists.on_welcome = welcome.append
    assert await world.tags() == ["RCVD_IN_DNSWL_MED"]
    assert welcome == [ADDRESS]
