"""Reverse DNS and EHLO names."""

from __future__ import annotations

import ipaddress

import pytest

from relayd.mailauth.findings import Result
from relayd.mailauth.iprev import MAX_NAMES, check_ehlo_name, check_iprev
from relayd.resolver.budget import BudgetResolver
from relayd.resolver.zone import FORGED, TIMEOUT, Records, Zone

ADDRESS = ipaddress.ip_address("192.0.2.1")
REVERSE = "1.2.0.192.in-addr.arpa"


def zone(names: Records, **hosts: Records) -> Zone:
    found: dict[str, dict[str, Records]] = {f"{name}.example": {"A": records} for name, records in hosts.items()}
    return Zone({REVERSE: {"PTR": names}, **found})


@pytest.mark.parametrize(
    ("resolver", "result", "confirmed"),
    [
        (zone(["a.example"], a=["192.0.2.1"]), Result.PASS, ("a.example",)),
        (zone(["b.example", "a.example"], a=["192.0.2.9", "192.0.2.1"]), Result.PASS, ("a.example",)),
        (zone(["a.example"], a=["192.0.2.9"]), Result.FAIL, ()),
        (zone(["a.example"]), Result.FAIL, ()),
        (Zone({}), Result.PERMERROR, ()),
        (Zone({REVERSE: {"TXT": ["no PTR"]}}), Result.PERMERROR, ()),
        (zone(TIMEOUT), Result.TEMPERROR, ()),
        (zone(FORGED), Result.TEMPERROR, ()),
        (zone(["a.example"], a=TIMEOUT), Result.TEMPERROR, ()),
        (zone(["a.example", "b.example"], a=TIMEOUT, b=["192.0.2.1"]), Result.PASS, ("b.example",)),
    ],
)
async def test_results_of_rfc_8601(resolver: Zone, result: Result, confirmed: tuple[str, ...]) -> None:
    found = await check_iprev(resolver, ADDRESS)
    assert (found.result, found.confirmed, found.address) == (result, confirmed, "192.0.2.1")
    assert bool(found.problem) == (result is not Result.PASS)
    assert found.steps


async def test_only_so_many_names_are_looked_up() -> None:
    names = [f"n{number}.example" for number in range(50)]
    resolver = BudgetResolver(zone(names), 10, keep=True)
    assert (await check_iprev(resolver, ADDRESS)).result is Result.FAIL
    assert len(resolver.asked) == 1 + MAX_NAMES


async def test_ipv6() -> None:
    address = ipaddress.ip_address("2001:db8::1")
    names: dict[str, dict[str, Records]] = {
        address.reverse_pointer: {"PTR": ["a.example"]},
        "a.example": {"AAAA": ["2001:DB8:0::1"]},
    }
    assert (await check_iprev(Zone(names), address)).result is Result.PASS


@pytest.mark.parametrize(
    ("helo", "result"),
    [
        ("a.example", Result.PASS),
        ("A.EXAMPLE.", Result.PASS),
        ("b.example", Result.FAIL),
        ("nowhere.example", Result.FAIL),
        ("slow.example", Result.TEMPERROR),
        ("localhost", Result.NEUTRAL),
        ("[192.0.2.1]", Result.PASS),
        ("[192.0.2.2]", Result.FAIL),
        ("[IPv6:2001:db8::1]", Result.FAIL),
        ("[192.0.2]", Result.FAIL),
    ],
)
async def test_what_an_ehlo_name_leads_to(helo: str, result: Result) -> None:
    resolver = Zone(
        {"a.example": {"A": ["192.0.2.1"]}, "b.example": {"A": ["192.0.2.2"]}, "slow.example": {"A": TIMEOUT}}
    )
    found = await check_ehlo_name(resolver, helo, ADDRESS)
    assert found.result is result
    assert bool(found.problem) == (result is not Result.PASS)
