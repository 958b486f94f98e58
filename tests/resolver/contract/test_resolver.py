"""What every Resolver promises: the live one, the zone in a dict and the hosts file before either answer alike."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relayd.events.event import EventStream, Span
from relayd.resolver.answer import Bogus, Mx, NoData, NoName, Resolver, Temporary, Tlsa
from relayd.resolver.budget import BudgetResolver
from relayd.resolver.hosts_file import HostsFile, LocalFirst
from relayd.resolver.live import LiveResolver
from relayd.resolver.options import ResolverOptions
from relayd.resolver.zone import FORGED, TIMEOUT, Zone
from tests.rig.dns import BOGUS, serving

NAMES: dict[str, dict[str, Any]] = {
    "Example.org": {"MX": ["20 b.example.org.", "10 A.example.org."], "TXT": ['"v=spf1 " "-all"', '"other"']},
    "a.example.org": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "alias.example.org": {"CNAME": ["example.org."]},
    "half.example.org": {"CNAME": ["alias.example.org."], "HALF": ["yes"]},
    "loop1.example.org": {"CNAME": ["loop2.example.org."]},
    "loop2.example.org": {"CNAME": ["loop1.example.org."]},
    "dangling.example.org": {"CNAME": ["gone.example.org."]},
    "null.example.org": {"MX": ["0 ."]},
    "slow.example.org": {"A": TIMEOUT},
    "forged.example.org": {"A": FORGED},
    "deep.under.example.org": {"A": ["192.0.2.9"]},
    "_25._tcp.a.example.org": {"TLSA": ["3 1 1 " + "ab" * 32]},
    "_25._tcp.b.example.org": {"CNAME": ["_25._tcp.a.example.org."]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["A.Example.ORG."]},
}


def _zone() -> Zone:
    names: dict[str, dict[str, Any]] = {}
    for name, types in NAMES.items():
        names[name] = {key: value for key, value in types.items() if key != "HALF"}
        if "MX" in types:
            names[name]["MX"] = [tuple(record.split(" ")) for record in types["MX"]]
        if "TLSA" in types:
            names[name]["TLSA"] = [Tlsa(3, 1, 1, b"\xab" * 32)]
        if "TXT" in types:
            names[name]["TXT"] = [["v=spf1 ", "-all"], "other"]
    return Zone(names)


@pytest.fixture(params=["zone", "live", "hosts-file-first", "budget"])
async def resolver(request: pytest.FixtureRequest) -> AsyncIterator[Resolver]:
    if request.param == "zone":
        yield _zone()
        return
    if request.param == "hosts-file-first":
        yield LocalFirst(_zone(), HostsFile(Path("/nonexistent/hosts")))
        return
    if request.param == "budget":
        yield BudgetResolver(_zone(), 5.0)
        return
    async with serving({**NAMES, "forged.example.org": {"A": BOGUS}}) as server:
        options = ResolverOptions(custom=(f"udp://127.0.0.1:{server.port}",), timeout=0.1, attempts=1)
        live = LiveResolver(options, Span(EventStream(time.time)))
        yield live
        await live.close()


async def test_mx_records_in_lower_case(resolver: Resolver) -> None:
    answer = await resolver.mx("EXAMPLE.org")
    assert sorted(answer.records, key=lambda mx: mx.preference) == [Mx(10, "a.example.org"), Mx(20, "b.example.org")]
    assert answer.canonical == "example.org"
    assert answer.ttl == 300


async def test_null_mx_is_the_empty_name(resolver: Resolver) -> None:
    assert (await resolver.mx("null.example.org")).records == (Mx(0, ""),)


async def test_addresses_of_both_families(resolver: Resolver) -> None:
    assert sorted((await resolver.addresses("a.example.org", 4)).records) == ["192.0.2.1", "192.0.2.2"]
    assert (await resolver.addresses("a.example.org", 6)).records == ("2001:db8::1",)


async def test_strings_of_a_txt_record_are_joined(resolver: Resolver) -> None:
    assert sorted((await resolver.txt("example.org")).records) == [b"other", b"v=spf1 -all"]


async def test_ptr(resolver: Resolver) -> None:
    assert (await resolver.ptr("192.0.2.1")).records == ("a.example.org",)


@pytest.mark.parametrize("name", ["_25._tcp.a.example.org", "_25._tcp.B.example.org"])
async def test_tlsa(resolver: Resolver, name: str) -> None:
    answer = await resolver.tlsa(name)
    assert answer.records == (Tlsa(3, 1, 1, b"\xab" * 32),)
    assert answer.canonical == "_25._tcp.a.example.org"


@pytest.mark.parametrize("name", ["alias.example.org", "half.example.org"])
async def test_aliases_are_followed(resolver: Resolver, name: str) -> None:
    answer = await resolver.mx(name)
    assert len(answer.records) == 2
    assert answer.canonical == "example.org"


async def test_a_name_that_does_not_exist(resolver: Resolver) -> None:
    with pytest.raises(NoName):
        await resolver.addresses("nowhere.example.org", 4)


async def test_an_alias_to_a_name_that_does_not_exist(resolver: Resolver) -> None:
    with pytest.raises(NoName):
        await resolver.addresses("dangling.example.org", 4)


async def test_a_name_without_that_type(resolver: Resolver) -> None:
    with pytest.raises(NoData):
        await resolver.mx("a.example.org")


async def test_an_alias_to_a_name_without_that_type(resolver: Resolver) -> None:
    with pytest.raises(NoData):
        await resolver.addresses("alias.example.org", 6)


async def test_an_empty_non_terminal_exists(resolver: Resolver) -> None:
    with pytest.raises(NoData):
        await resolver.addresses("under.example.org", 4)


@pytest.mark.parametrize("name", ["slow.example.org", "loop1.example.org"])
async def test_no_answer_is_temporary(resolver: Resolver, name: str) -> None:
    with pytest.raises(Temporary):
        await resolver.addresses(name, 4)


async def test_a_forged_answer_is_bogus(resolver: Resolver) -> None:
    with pytest.raises(Bogus):
        await resolver.addresses("forged.example.org", 4)


async def test_a_zone_says_which_of_its_names_are_signed() -> None:
    zone = Zone(
        {"a.example": {"A": ["192.0.2.1"]}, "b.c.example": {"A": ["192.0.2.1"]}}, secure=True, unsigned=["c.example"]
    )
    assert (await zone.addresses("a.example", 4)).secure
    assert not (await zone.addresses("b.c.example", 4)).secure
