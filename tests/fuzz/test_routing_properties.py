"""Properties of what routing reads of hostile mail and of operators' words."""

from __future__ import annotations

import contextlib
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from relayd.options import OptionError
from relayd.routing.budget import Budget
from relayd.routing.route import host_and_port
from relayd.routing.rule import Facts, Rules
from relayd.routing.source_options import RuleOptions
from relayd.routing.turns import PATIENCE, Turns
from relayd.routing.weighted import in_turn, parse_member

RULES = Rules(
    {
        "header": RuleOptions(header=("Subject: *a*b*", "X-Y: *"), next_hop="mx", recipient=("x.example",)),
        "sender": RuleOptions(sender=("*@*.example", "<>"), next_hop="mx"),
    }
)


@given(st.binary(max_size=400), st.text(max_size=40), st.text(max_size=40))
def test_rules_look_at_any_header_and_address(header: bytes, sender: str, recipient: str) -> None:
    ids = RULES.matching(Facts(return_path=sender, header=header))
    assert set(ids) <= {"header", "sender"}
    rule = RULES.of(ids, recipient)
    assert rule is None or rule.id in ids


@given(st.text(max_size=60))
def test_members_and_places_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(OptionError):
        name, attributes = parse_member(text, "k", ("weight", "day"))
        assert name
        assert all(value >= 0 for value in attributes.values())
    with contextlib.suppress(OptionError):
        assert 0 < host_and_port(text, 25, "k")[1] < 65536


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_each_member_has_one_turn(weights: list[int], random: Random) -> None:
    order = in_turn(weights, random.random)
    assert sorted(order) == list(range(len(weights)))
    idle = [place for place in order if not weights[place]]
    assert order[len(order) - len(idle) :] == idle


@given(st.integers(1, 20), st.lists(st.floats(0, 7200), max_size=60))
def test_a_budget_is_never_overdrawn_within_its_window(limit: int, steps: list[float]) -> None:
    budget, now, given_at = Budget(limit, 3600.0), 1_800_000_000.0, []
    for step in steps:
        now += step
        if budget.left(now):
            budget.spend(now)
            given_at.append(now)
        else:
            free = budget.free_at(now)
            assert now < free <= now + 3600 + 150
            assert budget.left(free) > 0
            now = free
        within = [each for each in given_at if now - (3600 - 150) < each <= now]
        assert len(within) <= limit


@given(st.lists(st.tuples(st.integers(-9, 9), st.sampled_from("abc")), max_size=80))
def test_turns_lose_nothing_and_starve_nobody(items: list[tuple[int, str]]) -> None:
    turns: Turns[int] = Turns()
    for number, (priority, sender) in enumerate(items):
        turns.put(sender, number, priority)
    taken = turns.drain()
    assert sorted(taken) == list(range(len(items)))
    levels = {priority for priority, _ in items}
    for priority in levels:
        first = next(place for place, number in enumerate(taken) if items[number][0] == priority)
        assert first <= (PATIENCE + 1) * max(1, len(levels))
