"""What an operator is told of rules, smarthosts and sources on the road of mail."""

from __future__ import annotations

from collections.abc import Collection

from relayd.delivery.hosts import Hosts
from relayd.delivery.limits import LimitsInForce
from relayd.delivery.options import ReuseOptions
from relayd.delivery.outlook import Outlooks, Roads
from relayd.delivery.ways import Ways
from relayd.resolver.zone import Zone
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router
from relayd.routing.rule import Rules
from relayd.routing.schedule import Schedule
from relayd.routing.smarthost import Standings
from relayd.routing.source import Sources
from relayd.routing.source_options import RuleOptions, SourceOptions, SourcePoolOptions

NOW = 1_800_000_000.0


def outlooks(suspended: Collection[str] = (), given: int = 2) -> Outlooks:
    """suspended: keys of sources.  given: messages of the day's nine that each smarthost had."""
    route = RouteOptions(address="127.0.0.1", hosts=("127.0.0.2:26 weight=0 connections=4",), messages_per_day=9)
    rule = RuleOptions(sender=("news.example",), next_hop="hub", source="bulk")
    sources = {"a": SourceOptions(address="127.0.0.5", ehlo="a.example"), "b": SourceOptions(address_v6="::1")}
    pools = {"bulk": SourcePoolOptions(sources=("a", "b weight=2"))}
    bulk = RuleOptions(order=1, header=("X-Stream: bulk*",), next_hop="hub", source="bulk")
    rules = Rules({"news": rule, "bulk": bulk})
    router = Router(OutboundOptions(), {"hub": route}, None, rules, Sources(sources, pools))
    standings = Standings((60.0,))
    first, second = router.hosts["hub"]
    standings.spend(first, NOW, given)
    standings.spend(second, NOW, given - 2)
    standings.failed(second, NOW)

    def hosts(resolver: object) -> Hosts:
        return Hosts(Zone({}), ReuseOptions(), allow_private=True, is_self=lambda name, port: False, chance=lambda: 0.0)

    return Outlooks(
        lambda: Roads(
            router=router,
            outbound=OutboundOptions(),
            schedule=Schedule(),
            resolver=Zone({}),
            hosts=hosts,
            lane=lambda destination: None,
            limits=lambda destination, hosts: LimitsInForce(),
            most=20,
            soft_bounce=False,
            standings=standings,
            ways=Ways(
                router,
                standings,
                clock=lambda: NOW,
                chance=lambda: 0.0,
                suspended_until=lambda key: NOW + 3600 if key in suspended else None,
            ).of,
        ),
        lambda: NOW,
    )


async def test_the_rule_its_source_and_the_state_of_the_smarthosts() -> None:
    found = await outlooks().of("b@x.example", "a@news.example")
    assert (found.destination, found.setting) == ("route:hub", 'queue.rule.news.next-hop = "hub"')
    assert found.why == "the rule matches (sender: news.example)"
    assert found.leaves_from == "bulk: 127.0.0.5 as a.example (a, weight 1), ::1 (b, weight 2)"
    assert found.smarthosts == (
        "127.0.0.1:25: weight 1, 7 of 9 messages left this day",
        "127.0.0.2:26: weight 0, 9 of 9 messages left this day, at most 4 connections,"
        " set aside until 2027-01-15T08:01:00Z, failures in a row: 1",
    )


async def test_mail_that_no_rule_matches() -> None:
    found = await outlooks().of("b@x.example", "a@other.example")
    assert (found.destination, found.leaves_from, found.smarthosts) == ("x.example", "", ())


async def test_rules_that_hang_on_more_than_the_envelope_are_named() -> None:
    found = await outlooks().of("b@x.example", "a@other.example")
    assert found.notes[:1] == (
        "queue.rule.bulk would choose next hop hub and source bulk where it matches (header: X-Stream: bulk*)",
    )
    assert not [each for each in (await outlooks().of("b@x.example", "a@news.example")).notes if "bulk" in each]


async def test_what_would_wait_says_for_what() -> None:
    assert (await outlooks({"source:a"}).of("b@x.example", "a@news.example")).waits == ""
    found = await outlooks({"source:a", "source:b"}).of("b@x.example", "a@news.example")
    assert found.waits == (
        "Every source that the mail may leave from is suspended; looked at again at 2027-01-15T08:01:00Z"
    )
    found = await outlooks(given=11).of("b@x.example", "a@news.example")
    assert found.waits.startswith("Every smarthost of the route has had its messages for now; looked at again at 2027-")
