"""The hosts of a route: how they are written, shares, health that worsens and heals, budgets that slide and last."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from relayd.options import OptionError
from relayd.routing.budget import Budget
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router
from relayd.routing.smarthost import Allowance, Busy, Smarthost, Standings

NOW = 1_800_000_000.0


def hosts(*texts: str, **options: object) -> tuple[Smarthost, ...]:
    first, *others = texts
    address, _, attributes = first.partition(" ")
    given = dict(pair.split("=") for pair in attributes.split())
    names = {"weight": "weight", "hour": "messages_per_hour", "day": "messages_per_day"}
    own = {names[key]: int(value) for key, value in given.items()}
    route = RouteOptions(address=address, hosts=tuple(others), **own, **options)  # type: ignore[arg-type]  # each test gives its own
    return Router(OutboundOptions(), {"hub": route}).hosts["hub"]


def test_hosts_as_they_are_written() -> None:
    found = hosts("a.example weight=3", "b.example day=9", "[::1]:27", "::1", "unix:/run/l", messages_per_hour=5)
    assert [(each.hop.host, each.hop.port, each.weight) for each in found] == [
        ("a.example", 25, 3),
        ("b.example", 25, 1),
        ("::1", 27, 1),
        ("::1", 25, 1),
        ("unix:/run/l", 25, 1),
    ]
    assert found[1].allowance == Allowance(hour=5, day=9)
    assert found[0].name == "route:hub a.example:25"


def test_a_route_with_one_address_and_no_budget_keeps_no_state() -> None:
    assert Router(OutboundOptions(), {"hub": RouteOptions(address="a.example")}).hosts == {}
    budget = Router(OutboundOptions(), {"hub": RouteOptions(address="a.example", messages_per_day=7)})
    assert budget.hosts["hub"][0].allowance == Allowance(day=7)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (RouteOptions(address="a", hosts=("a:b",)), "queue.route.hub.hosts: expected a port"),
        (RouteOptions(address="a", hosts=("a:99999",)), "queue.route.hub.hosts: expected a port"),
        (RouteOptions(address="a", hosts=("b speed=3",)), "queue.route.hub.hosts: expected .*weight=NUMBER"),
        (RouteOptions(address="a", hosts=("a:25",)), "queue.route.hub.hosts: a host is named twice"),
    ],
)
def test_bad_routes(options: RouteOptions, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        Router(OutboundOptions(), {"hub": options})


def order(standings: Standings, pool: tuple[Smarthost, ...], now: float = NOW) -> list[str]:
    found = standings.order(pool, now, random.random)
    assert isinstance(found, list)
    return [each.hop.host for each in found]


def test_shares_follow_the_weights() -> None:
    standings, pool = Standings((30.0,)), hosts("a weight=3", "b", "c weight=0")
    firsts = Counter(order(standings, pool)[0] for _ in range(2000))
    assert 0.7 < firsts["a"] / 2000 < 0.8
    assert firsts["c"] == 0
    assert order(standings, pool)[2] == "c"


def test_a_host_that_fails_is_passed_over_for_longer_each_time_and_then_comes_back() -> None:
    standings, pool = Standings((30.0, 60.0)), hosts("a weight=1000", "b")
    now = NOW
    for seconds in (30.0, 60.0, 60.0):
        assert standings.failed(pool[0], now) == now + seconds
        assert standings.failed(pool[0], now + 1) == now + seconds  # another attempt of the same trouble
        assert order(standings, pool, now + seconds - 1) == ["b", "a"]
        now += seconds
        assert Counter(order(standings, pool, now)[0] for _ in range(50))["a"] > 40
    assert standings.succeeded(pool[0])
    assert not standings.succeeded(pool[0])
    assert standings.failed(pool[0], now) == now + 30.0


def test_when_all_are_set_aside_all_are_tried_the_soonest_first() -> None:
    standings, pool = Standings((30.0, 60.0)), hosts("a", "b", "c")
    standings.failed(pool[1], NOW)
    standings.failed(pool[2], NOW + 1)
    standings.failed(pool[0], NOW + 2)
    assert order(standings, pool, NOW + 3) == ["b", "c", "a"]


def test_a_host_without_messages_left_is_not_tried() -> None:
    standings, pool = Standings((30.0,)), hosts("a hour=2", "b hour=1", "c day=1")
    for host in (pool[0], pool[0], pool[1]):
        standings.spend(host, NOW)
    assert order(standings, pool) == ["c"]
    standings.spend(pool[2], NOW)
    busy = standings.order(pool, NOW, random.random)
    assert isinstance(busy, Busy)
    assert NOW + 3300 <= busy.until <= NOW + 3600
    assert set(order(standings, pool, busy.until)) == {"a", "b"}


def test_what_was_set_apart_and_not_used_is_given_back() -> None:
    standings, pool = Standings((30.0,)), hosts("a day=1")
    standings.spend(pool[0], NOW)
    standings.spend(pool[0], NOW, -1)
    assert order(standings, pool) == ["a"]


def test_what_was_spent_outlives_the_process_and_a_reload() -> None:
    pool = hosts("a day=3", "b day=3")
    by_name = {each.name: each for each in pool}
    before = Standings((30.0,))
    before.spend(pool[0], NOW, 3)
    after = Standings((30.0,))
    after.restore(json.loads(json.dumps(before.kept())), by_name)
    assert order(after, pool) == ["b"]
    more = hosts("a day=4")
    after.keep_only({each.name: each for each in more})
    assert after.left(more[0], NOW)
    assert set(after.kept()) == {more[0].name}


def test_the_window_of_a_budget_slides() -> None:
    budget = Budget(24, 86400.0)
    for hour in range(24):
        assert budget.left(NOW + hour * 3600)
        budget.spend(NOW + hour * 3600)
    full = NOW + 23 * 3600
    assert budget.left(full) == 0
    free = budget.free_at(full)
    assert full < free <= full + 3600
    assert budget.left(free) == 1
    assert budget.left(NOW + 10 * 86400) == 24
    assert Budget(0, 60.0).left(NOW) > 10**9


def test_a_clock_that_is_set_back_frees_what_was_spent_in_the_future() -> None:
    budget = Budget(1, 3600.0)
    budget.spend(NOW)
    assert budget.left(NOW - 7200) == 1
