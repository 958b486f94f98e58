"""Routes with several hosts, budgets and sources, tried against peers on loopback."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relayd.delivery import pool
from relayd.delivery.options import ReuseOptions, TimeoutOptions
from relayd.delivery.ways import Wait
from relayd.mail.terms import Terms
from relayd.queue.message import Outcome, Result
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router
from relayd.routing.rule import Rules
from relayd.routing.source import Sources
from relayd.routing.source_options import RuleOptions, SourceOptions, SourcePoolOptions
from tests.delivery.setting import Setting, job
from tests.rig.peer import DROP, SILENT, Peer, Replies, Script, running

START = 1_800_000_000.0


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


def route(*peers: Peer | int, **options: object) -> RouteOptions:
    """A route to peers, or ports where nobody listens; the first takes the mail when all are well."""
    first, *others = [each if isinstance(each, int) else each.port for each in peers]
    return RouteOptions(
        address="127.0.0.1",
        port=first,
        hosts=tuple(f"127.0.0.1:{port} weight=0" for port in others),
        tls_mode="none",
        **options,  # type: ignore[arg-type]  # each test gives its own
    )


def setting(options: RouteOptions, clock: Callable[[], float] | None = None, **changes: object) -> Setting:
    made = Setting(
        router=Router(OutboundOptions(), {"hub": options}),
        timeouts=TimeoutOptions(greeting=0.3, mail=0.3),
        **changes,  # type: ignore[arg-type]
    )
    if clock is not None:
        made.clock = clock
        made.__post_init__()
    return made


async def attempt(made: Setting, **changes: object) -> Outcome:
    [outcome] = await made.run(job(**changes), made.router.next_hop("route:hub"))  # type: ignore[arg-type]
    return outcome


@pytest.mark.parametrize("banner", ["554 5.3.2 Not today", "421 4.3.2 Closing", DROP, SILENT])
async def test_the_next_host_takes_what_the_first_will_not(banner: str) -> None:
    async with running(Script(banner=banner)) as bad, running() as good:
        made = setting(route(bad, good))
        assert (await attempt(made)).result is Result.DELIVERED
        assert len(good.taken) == 1
        [aside] = made.stated("delivery.smarthost-aside")
        assert aside.fields["id"] == f"route:hub 127.0.0.1:{bad.port}"
        assert (await attempt(made)).result is Result.DELIVERED
        assert bad.connections == 1  # passed over for now
        await made.pool.close()


async def test_a_host_that_is_gone_and_comes_back() -> None:
    clock = Clock()
    async with running() as first, running() as second:
        port = first.port
        made = setting(route(first, second), clock, reuse=ReuseOptions(idle=0))
        await first.stop()
        assert (await attempt(made)).result is Result.DELIVERED
        await first.start(port=port)
        assert (await attempt(made)).result is Result.DELIVERED
        assert len(second.taken) == 2
        clock.now += 31
        assert (await attempt(made)).result is Result.DELIVERED
        assert len(first.taken) == 1
        assert len(made.stated("delivery.smarthost-back")) == 1


async def test_what_a_host_refuses_for_good_goes_to_no_other() -> None:
    async with running(Script(rcpt="550 5.1.1 Nobody")) as first, running() as second:
        made = setting(route(first, second))
        assert (await attempt(made)).result is Result.BOUNCED
        assert not second.connections
        assert not made.stated("delivery.smarthost-aside")
        await made.pool.close()


async def test_when_no_host_answers_the_mail_is_deferred_and_counted() -> None:
    async with running(Script(banner=DROP)) as first, running(Script(banner=DROP)) as second:
        made = setting(route(first, second))
        outcome = await attempt(made)
        assert (outcome.result, outcome.uncounted) == (Result.DEFERRED, False)
        assert (first.connections, second.connections) == (1, 1)
        await attempt(made)
        assert (first.connections, second.connections) == (2, 2)  # all set aside: tried all the same


async def test_an_idle_connection_that_hangs_costs_the_host_its_place_and_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "CHECK", 0.2)
    async with running(Script(noop=SILENT)) as first, running() as second:
        made = setting(route(first, second), reuse=ReuseOptions(check_after=0.0))
        assert (await attempt(made)).result is Result.DELIVERED
        first.script.banner = SILENT
        outcome = await attempt(made)
        assert (outcome.result, outcome.maybe_delivered) == (Result.DELIVERED, False)
        assert (len(first.taken), len(second.taken)) == (1, 1)
        assert len(made.stated("delivery.smarthost-aside")) == 1
        await made.pool.close()


async def test_a_spent_budget_sends_the_mail_to_the_next_host_and_then_lets_it_wait() -> None:
    clock = Clock()
    async with running() as first, running() as second:
        made = setting(route(first, second, messages_per_day=2), clock)
        for _ in range(4):
            assert (await attempt(made)).result is Result.DELIVERED
        assert (len(first.taken), len(second.taken)) == (2, 2)
        outcome = await attempt(made)
        assert (outcome.result, outcome.uncounted) == (Result.DEFERRED, True)
        assert outcome.next_attempt is not None
        assert START + 82800 <= outcome.next_attempt <= START + 86400
        assert [each.fields["id"][-5:] for each in made.stated("delivery.smarthost-spent")] == [
            f"{each.port}"[-5:].rjust(5, ":") for each in (first, second)
        ]
        clock.now = outcome.next_attempt
        assert (await attempt(made)).result is Result.DELIVERED
        await made.pool.close()


async def test_side_by_side_no_more_goes_than_the_budget() -> None:
    async with running() as peer:
        made = setting(route(peer, messages_per_hour=3), Clock())
        outcomes = await asyncio.gather(*(attempt(made) for _ in range(10)))
        assert sorted(each.result is Result.DELIVERED for each in outcomes) == [False] * 7 + [True] * 3
        assert len(peer.taken) == 3
        await made.pool.close()


async def test_a_host_that_was_not_reached_was_given_nothing() -> None:
    clock = Clock()
    async with running(Script(banner="421 4.3.2 Later")) as peer:
        made = setting(route(peer, messages_per_day=1), clock)
        assert not (await attempt(made)).uncounted
        assert not (await attempt(made)).uncounted


async def test_no_more_connections_at_once_than_a_host_allows() -> None:
    open_now, most = 0, 0
    gate = asyncio.Event()

    class Counting(Peer):
        async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            await gate.wait()
            await super()._session(reader, writer)
            open_now -= 1

    peer = Counting(Script())
    await peer.start()
    made = Setting(router=Router(OutboundOptions(), {"hub": route(peer, connections=2)}))
    attempts = [asyncio.create_task(attempt(made)) for _ in range(8)]
    while open_now < 2:
        await asyncio.sleep(0)
    attempts[5].cancel()  # one that waits for its turn
    gate.set()
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(each, Outcome) and each.result is Result.DELIVERED for each in outcomes) == 7
    assert most == 2
    await made.pool.close()
    await peer.stop()


def hosts_of(made: Setting) -> list[int]:
    """The ports of the hosts that an attempt would try now, in order."""
    ways = made.ways.of(made.router.next_hop("route:hub"), (), "b@x.example")
    assert not isinstance(ways, Wait)
    return [way.hop.port for way in ways]


async def test_a_host_without_a_free_connection_gives_way_to_its_like_alone() -> None:
    hosts = ("127.0.0.1:2 weight=1", "127.0.0.1:3 weight=0")
    options = RouteOptions(address="127.0.0.1", port=1, weight=1000, hosts=hosts, connections=1)
    made = Setting(router=Router(OutboundOptions(), {"hub": options}), clock=Clock())
    first, second, _ = made.router.hosts["hub"]
    assert hosts_of(made) == [1, 2, 3]
    async with made.ways.slots.one(first):
        assert hosts_of(made) == [2, 1, 3]
        async with made.ways.slots.one(second):
            assert hosts_of(made) == [1, 2, 3]  # the last is not for rush hours
        made.ways.standings.failed(second, START)
        assert hosts_of(made) == [1, 3, 2]


async def test_a_source_that_takes_nothing_makes_nobody_hurry() -> None:
    sources = {"a": SourceOptions(address="127.0.0.2"), "b": SourceOptions(address="127.0.0.3")}
    pools = {"p": SourcePoolOptions(sources=("a", "b weight=0"))}
    router = Router(OutboundOptions(source="p"), None, None, None, Sources(sources, pools))
    made = Setting(router=router, clock=Clock(), suspended={"source:a": math.inf})
    wait = made.ways.of(router.next_hop("x.example"), (), "b@x.example")
    assert isinstance(wait, Wait)
    assert wait.due == START + 60


# Sources


def sourced(peer: Peer, rules: dict[str, RuleOptions] | None = None, **options: object) -> Router:
    sources = Sources(
        {
            "one": SourceOptions(address="127.0.0.2", ehlo="one.relay.example"),
            "two": SourceOptions(address="127.0.0.3", ehlo="two.relay.example"),
            "away": SourceOptions(address="192.0.2.1"),
            "v6": SourceOptions(address_v6="::1"),
        },
        {"both": SourcePoolOptions(sources=("one", "two weight=3"))},
    )
    outbound = OutboundOptions(**options)  # type: ignore[arg-type]
    return Router(outbound, {"hub": route(peer)}, None, Rules(rules), sources)


class Seen(Peer):
    """Notes the address that each session came from."""

    def __init__(self, script: Script | None = None) -> None:
        super().__init__(script or Script())
        self.came_from: list[str] = []

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came_from.append(writer.get_extra_info("peername")[0])
        await super()._session(reader, writer)


async def test_the_source_and_its_name() -> None:
    peer = Seen()
    await peer.start()
    router = sourced(peer, {"r": RuleOptions(source="two")}, source="one")
    made = Setting(router=router)
    assert (await attempt(made)).result is Result.DELIVERED
    assert (await attempt(made, terms=Terms(rules=("r",)))).result is Result.DELIVERED
    assert (await attempt(made)).result is Result.DELIVERED
    assert peer.came_from == ["127.0.0.2", "127.0.0.3"]  # the third went over the idle one of the first
    assert [lines[0] for lines in peer.commands] == ["EHLO one.relay.example", "EHLO two.relay.example"]
    assert len(peer.commands[0]) > len(peer.commands[1])
    await made.pool.close()
    await peer.stop()


async def test_recipients_whose_rules_name_other_sources_go_apart() -> None:
    peer = Seen()
    await peer.start()
    rules = {"a": RuleOptions(source="one", recipient=("b@x.example",)), "b": RuleOptions(source="two")}
    made = Setting(router=sourced(peer, rules))
    terms = Terms(rules=("a", "b"))
    outcomes = await made.run(
        job("a@x.example", "b@x.example", "c@x.example", terms=terms), made.router.next_hop("route:hub")
    )
    assert [each.result for each in outcomes] == [Result.DELIVERED] * 3
    assert sorted(peer.came_from) == ["127.0.0.2", "127.0.0.3"]
    assert sorted(len(each.rcpts) for each in peer.taken) == [1, 2]
    await made.pool.close()
    await peer.stop()


async def test_a_suspended_source_gives_way_and_when_all_are_the_mail_waits() -> None:
    clock, peer = Clock(), Seen()
    await peer.start()
    made = Setting(router=sourced(peer, source="both"), clock=clock, reuse=ReuseOptions(idle=0))
    made.suspended["source:two"] = START + 90
    for _ in range(4):
        assert (await attempt(made)).result is Result.DELIVERED
    assert set(peer.came_from) == {"127.0.0.2"}
    made.suspended["source:one"] = START + 60
    outcome = await attempt(made)
    assert (outcome.result, outcome.uncounted, outcome.next_attempt) == (Result.DEFERRED, True, START + 60)
    assert len(peer.came_from) == 4
    await peer.stop()


@pytest.mark.parametrize(("source", "text"), [("away", "192.0.2.1) cannot be used"), ("v6", "has no IPv4 address")])
async def test_a_source_that_cannot_be_used_defers(source: str, text: str) -> None:
    async with running() as peer:
        made = Setting(router=sourced(peer, source=source))
        outcome = await attempt(made)
        assert outcome.result is Result.DEFERRED
        assert text in outcome.reply.text
        assert not peer.connections
        assert len(made.stated("delivery.source-failed")) == (source == "away")


async def test_the_probe_takes_the_same_ways() -> None:
    from relayd.delivery.prober import NextHopProber

    replies: Replies = "250 2.1.5 Ok"
    async with running(Script(banner="554 5.3.2 No")) as first, running(Script(rcpt=replies)) as second:
        made = setting(route(first, second))
        router = Router(OutboundOptions(next_hop="hub"), {"hub": route(first, second)})
        made.ways.reconfigure(router)
        reply = await NextHopProber(made.road, lambda: router, made.stream).probe("b@x.example")
        assert reply is not None
        assert reply.code == 250
        await made.pool.close()
