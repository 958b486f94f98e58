"""The live resolver's own: cache, coalescing, TCP, failures."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.resolver.answer import NoName, Temporary
from relayd.resolver.exchange import BadServer, Server, parse_server, servers_of
from relayd.resolver.live import LiveResolver, system_servers
from relayd.resolver.options import ResolverOptions
from tests.rig.dns import GARBAGE, REFUSED, SERVFAIL, TIMEOUT, TRUNCATED, DnsServer, serving


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def live(*servers: DnsServer, clock: Clock | None = None, events: list[Event] | None = None) -> LiveResolver:
    options = ResolverOptions(
        custom=tuple(f"udp://127.0.0.1:{server.port}" for server in servers), timeout=0.15, attempts=2
    )
    stream = EventStream(time.time, [events.append] if events is not None else [])
    return LiveResolver(options, Span(stream), clock=clock or Clock())


async def test_an_answer_is_kept_for_its_ttl() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        clock = Clock()
        resolver = live(server, clock=clock)
        for _ in range(3):
            await resolver.addresses("a.example", 4)
        assert server.questions["a.example", "A"] == 1
        clock.now += 299
        await resolver.addresses("a.example", 4)
        assert server.questions["a.example", "A"] == 1
        clock.now += 2
        await resolver.addresses("a.example", 4)
        assert server.questions["a.example", "A"] == 2
        await resolver.close()


async def test_absence_is_kept_for_what_the_soa_says() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        clock = Clock()
        resolver = live(server, clock=clock)
        for advance in (0, 59, 2):
            clock.now += advance
            with pytest.raises(NoName):
                await resolver.mx("b.example")
        assert server.questions["b.example", "MX"] == 2
        await resolver.close()


@pytest.mark.parametrize("failure", [SERVFAIL, REFUSED, GARBAGE])
async def test_a_failure_is_temporary_and_kept_for_seconds(failure: str) -> None:
    async with serving({"a.example": {"A": failure}}) as server:
        clock = Clock()
        resolver = live(server, clock=clock)
        for _ in range(3):
            with pytest.raises(Temporary):
                await resolver.addresses("a.example", 4)
        assert server.questions["a.example", "A"] == 2  # both attempts of the first
        server.names["a.example"]["A"] = ["192.0.2.1"]
        clock.now += 6
        assert (await resolver.addresses("a.example", 4)).records == ("192.0.2.1",)
        await resolver.close()


async def test_the_next_server_is_asked_when_one_is_silent() -> None:
    async with (
        serving({"a.example": {"*": TIMEOUT}}) as silent,
        serving({"a.example": {"A": ["192.0.2.1"]}}) as server,
    ):
        resolver = live(silent, server)
        assert (await resolver.addresses("a.example", 4)).records == ("192.0.2.1",)
        assert silent.questions["a.example", "A"] == 1
        await resolver.close()


async def test_equal_questions_in_flight_are_one() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        resolver = live(server)
        answers = await asyncio.gather(*(resolver.addresses("a.example", 4) for _ in range(50)))
        assert {answer.records for answer in answers} == {("192.0.2.1",)}
        assert server.questions["a.example", "A"] == 1
        await resolver.close()


async def test_one_caller_that_gives_up_does_not_stop_the_others() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        resolver = live(server)
        first = asyncio.create_task(resolver.addresses("a.example", 4))
        second = asyncio.create_task(resolver.addresses("a.example", 4))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).records == ("192.0.2.1",)
        assert server.questions["a.example", "A"] == 1
        await resolver.close()


async def test_a_truncated_answer_is_asked_for_by_tcp() -> None:
    many = [f'"{number:03d} {"x" * 100}"' for number in range(100)]
    async with serving({"a.example": {"TXT": TRUNCATED, "TXT+": many}}) as server:
        resolver = live(server)
        assert len((await resolver.txt("a.example")).records) == 100
        assert server.questions["a.example", "TXT"] == 2
        await resolver.close()


async def test_a_tcp_resolver_is_never_asked_by_udp() -> None:
    async with serving({"a.example": {"TXT": TRUNCATED, "TXT+": ['"by tcp"']}}) as server:
        options = ResolverOptions(custom=(f"tcp://127.0.0.1:{server.port}",), timeout=0.5)
        resolver = LiveResolver(options, Span(EventStream(time.time)))
        assert (await resolver.txt("a.example")).records == (b"by tcp",)
        assert server.questions["a.example", "TXT"] == 1
        await resolver.close()


async def test_nobody_listens() -> None:
    async with serving({}) as server:
        pass
    resolver = live(server)
    with pytest.raises(Temporary):
        await resolver.mx("a.example")
    await resolver.close()


async def test_ad_is_kept_from_a_loopback_resolver() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        server.secure = True
        resolver = live(server)
        assert (await resolver.addresses("a.example", 4)).secure
        server.secure = False
        resolver.forget()
        assert not (await resolver.addresses("a.example", 4)).secure
        await resolver.close()


async def test_lookups_are_stated() -> None:
    events: list[Event] = []
    zone = {"a.example": {"A": ["192.0.2.1"], "MX": ["10 b.example."], "TXT": ['"v=spf1 -all"']}}
    async with serving(zone) as server:
        resolver = live(server, events=events)
        await resolver.addresses("a.example", 4)
        await resolver.mx("a.example")
        await resolver.txt("a.example")
        with pytest.raises(NoName):
            await resolver.addresses("b.example", 4)
        await resolver.close()
    assert [event.kind.id for event in events] == [*["dns.lookup"] * 3, "dns.lookup-error"]
    assert [(event.fields["key"], event.fields["value"]) for event in events[:3]] == [
        ("A a.example", ["192.0.2.1"]),
        ("MX a.example", ["10 b.example."]),
        ("TXT a.example", ["v=spf1 -all"]),
    ]


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", "." * 3])
async def test_what_is_no_name_does_not_exist(name: str) -> None:
    async with serving({}) as server:
        resolver = live(server)
        with pytest.raises(NoName):
            await resolver.mx(name)
        assert not server.questions
        await resolver.close()


async def test_a_cached_lookup_is_cheap() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        resolver = live(server)
        await resolver.addresses("a.example", 4)
        started = time.process_time()
        for _ in range(2000):
            await resolver.addresses("a.example", 4)
        assert (time.process_time() - started) / 2000 < 50e-6  # some 2 µs on an idle machine
        await resolver.close()


async def test_the_cache_is_bounded() -> None:
    async with serving({f"n{number}.example": {"A": ["192.0.2.1"]} for number in range(12)}) as server:
        options = ResolverOptions(custom=(f"udp://127.0.0.1:{server.port}",), cache_entries=10)
        resolver = LiveResolver(options, Span(EventStream(time.time)))
        for number in range(12):
            await resolver.addresses(f"n{number}.example", 4)
        await resolver.addresses("n11.example", 4)
        await resolver.addresses("n0.example", 4)
        assert server.questions["n11.example", "A"] == 1
        assert server.questions["n0.example", "A"] == 2
        await resolver.close()


async def test_large_answers_fill_the_cache_sooner() -> None:
    large = [f'"{number:02d}{"x" * 200}"' for number in range(20)]  # 4 KB
    async with serving({f"n{number}.example": {"TXT": TRUNCATED, "TXT+": large} for number in range(3)}) as server:
        options = ResolverOptions(custom=(f"udp://127.0.0.1:{server.port}",), cache_entries=10)
        resolver = LiveResolver(options, Span(EventStream(time.time)))
        for number in (0, 1, 2, 2, 0):
            await resolver.txt(f"n{number}.example")
        assert server.questions["n2.example", "TXT"] == 2  # by UDP and TCP, once
        assert server.questions["n0.example", "TXT"] == 4
        await resolver.close()


async def test_case_and_final_dot_make_no_other_question() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        resolver = live(server)
        for name in ("a.example", "A.Example", "a.EXAMPLE."):
            await resolver.addresses(name, 4)
        assert server.questions["a.example", "A"] == 1
        await resolver.close()


async def test_a_server_that_does_not_know_edns_is_asked_without() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        server.edns = False
        resolver = live(server)
        assert (await resolver.addresses("a.example", 4)).records == ("192.0.2.1",)
        await resolver.close()


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("udp://127.0.0.1:5353", Server("127.0.0.1", 5353, trusted=True)),
        ("tcp://192.0.2.1", Server("192.0.2.1", 53, tcp=True)),
        ("192.0.2.1", Server("192.0.2.1")),
        ("2001:db8::1", Server("2001:db8::1")),
        ("udp://[2001:db8::53]:53", Server("2001:db8::53", trusted=True)),
    ],
)
def test_how_a_resolver_is_written(text: str, server: Server) -> None:
    assert parse_server(text, ("2001:db8::53",)) == server


@pytest.mark.parametrize(
    "text", ["[]", "udp://[", "dns.example", "https://192.0.2.1", "udp://192.0.2.1:99999", "udp://192.0.2.1/x", ""]
)
def test_how_a_resolver_is_not_written(text: str) -> None:
    with pytest.raises(BadServer):
        parse_server(text)


def test_the_systems_resolvers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# comment\nsearch example\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver bad\n")
    assert system_servers(ResolverOptions(), file) == [Server("192.0.2.1"), Server("fe80::1")]
    assert system_servers(ResolverOptions(), tmp_path / "absent") == [Server("127.0.0.1", trusted=True)]
    assert servers_of("") == [Server("127.0.0.1", trusted=True)]


async def test_whoever_waits_when_it_is_closed_is_told() -> None:
    async with serving({"slow.example": {"TXT": TIMEOUT}}) as server:
        resolver = live(server)
        asked = asyncio.ensure_future(resolver.txt("slow.example"))
        given_up = asyncio.ensure_future(resolver.txt("slow.example"))
        while not server.questions:
            await asyncio.sleep(0)
        given_up.cancel()
        await resolver.close()
        with pytest.raises(Temporary, match="closed"):
            await asked
        with pytest.raises(asyncio.CancelledError):
            await given_up


async def test_what_it_knows() -> None:
    async with serving({"a.example": {"A": ["192.0.2.1"]}}) as server:
        resolver = live(server)
        assert not resolver.knows("A", "a.example")
        await resolver.addresses("a.example", 4)
        with pytest.raises(NoName):
            await resolver.ptr("192.0.2.1")
        assert resolver.knows("A", "A.Example.")
        assert resolver.knows("PTR", "192.0.2.1")
        assert not resolver.knows("TXT", "a.example")
        await resolver.close()
