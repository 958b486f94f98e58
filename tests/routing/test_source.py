"""Sources and pools: what may be written, shares, suspension."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from relayd.options import OptionError
from relayd.routing.source import Source, Sources, UnknownSource
from relayd.routing.source_options import SourceOptions, SourcePoolOptions
from relayd.routing.weighted import in_turn, parse_member, pick

ONE = SourceOptions(address="127.0.0.2", ehlo="one.example")
TWO = SourceOptions(address="127.0.0.3", address_v6="::1")


def sources(**pools: tuple[str, ...]) -> Sources:
    return Sources({"one": ONE, "two": TWO}, {id: SourcePoolOptions(sources=each) for id, each in pools.items()})


def test_a_source_is_a_pool_of_one() -> None:
    pool = sources().named("one", "key")
    assert pool is not None
    assert pool.choose(random.random, lambda key: False) == Source(id="one", address="127.0.0.2", ehlo="one.example")
    assert pool.choose(random.random, lambda key: key == "source:one") is None
    assert sources().named(None, "key") is None


def test_shares_follow_the_weights_and_the_suspended_are_left_out() -> None:
    pool = sources(p=("one", "two weight=3")).named("p", "key")
    assert pool is not None
    chance = random.Random(7).random
    taken = Counter(source.id for _ in range(4000) if (source := pool.choose(chance, lambda key: False)) is not None)
    assert 0.7 < taken["two"] / 4000 < 0.8
    left = {source.id for _ in range(50) if (source := pool.choose(chance, lambda key: key == "source:two"))}
    assert left == {"one"}


def test_a_weight_of_0_takes_nothing() -> None:
    pool = sources(p=("one weight=0", "two")).named("p", "key")
    assert pool is not None
    assert {pool.choose(random.random, lambda key: False).id for _ in range(50)} == {"two"}  # type: ignore[union-attr]
    assert pool.choose(random.random, lambda key: key == "source:two") is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (SourceOptions(), "queue.source.s.address: is missing"),
        (SourceOptions(address="::1"), 'queue.source.s.address: expected an IPv4 address, not "::1"'),
        (SourceOptions(address="a.example"), "queue.source.s.address: expected an IPv4 address"),
        (SourceOptions(address_v6="127.0.0.1"), "queue.source.s.address-v6: expected an IPv6 address"),
        (SourceOptions(address="224.0.0.1"), "queue.source.s.address: expected an IPv4 address"),
        (SourceOptions(address="127.0.0.1", ehlo="a b"), "queue.source.s.ehlo: expected a host name"),
    ],
)
def test_bad_sources(options: SourceOptions, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        Sources({"s": options})


def test_bad_pools() -> None:
    with pytest.raises(UnknownSource, match=r'queue.source-pool.p.sources: no source "three"'):
        sources(p=("three",))
    with pytest.raises(OptionError, match="expected a source of a weight over 0"):
        sources(p=("one weight=0",))
    with pytest.raises(OptionError, match="a source has the same id"):
        sources(one=("two",))


def test_members_as_they_are_written() -> None:
    assert parse_member("a weight=3", "k") == ("a", {"weight": 3})
    for text in ("", "weight=3", "a b", "a weight=x", "a weight=-1", "a weight=1 weight=2", "a weight=99999999"):
        with pytest.raises(OptionError, match="k: expected"):
            parse_member(text, "k")


def test_each_place_comes_once_and_those_of_weight_0_last() -> None:
    chance = random.Random(1).random
    firsts = Counter()  # type: Counter[int]
    for _ in range(1000):
        order = in_turn([1, 0, 3], chance)
        assert sorted(order) == [0, 1, 2]
        assert order[2] == 1
        firsts[order[0]] += 1
    assert 0.7 < firsts[2] / 1000 < 0.8
    assert pick([0, 0], lambda: 0.99) == 1
    assert pick([2, 1, 0], lambda: 0.9999999999999999) == 1
