"""Order of MX hosts and addresses."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest

from relayd.resolver.answer import Mx
from relayd.routing.mx import LoopsToSelf, NullMx, interleaved, is_public, preference_groups, shuffled


def nobody(name: str) -> bool:
    return False


def test_groups_by_preference() -> None:
    records = [Mx(20, "c"), Mx(10, "a"), Mx(10, "b"), Mx(30, "a")]
    assert preference_groups(records, nobody, lambda: 0.99) == [["a", "b"], ["c"]]


def test_null_mx_and_null_beside_others() -> None:
    with pytest.raises(NullMx):
        preference_groups([Mx(0, "")], nobody, lambda: 0.0)
    assert preference_groups([Mx(0, ""), Mx(10, "a")], nobody, lambda: 0.0) == [["a"]]


def test_ourselves() -> None:
    records = [Mx(10, "a"), Mx(20, "us"), Mx(20, "b"), Mx(30, "c")]
    assert preference_groups(records, lambda name: name == "us", lambda: 0.0) == [["a"]]
    with pytest.raises(LoopsToSelf):
        preference_groups(records, lambda name: name == "a", lambda: 0.0)


def test_every_order_is_as_likely() -> None:
    values = [(n + 0.5) / 6 for n in range(6)]
    orders = Counter()  # type: Counter[tuple[str, ...]]
    for first in values:
        for second in values:
            chances = iter([first, second])
            orders[tuple(shuffled(["a", "b", "c"], lambda chances=chances: next(chances)))] += 1  # type: ignore[misc]
    assert orders == Counter(dict.fromkeys(permutations("abc"), 6))


def test_families_take_turns() -> None:
    assert interleaved(["6a", "6b", "6c"], ["4a"], 3) == ["6a", "4a", "6b"]
    assert interleaved([], ["4a", "4b"], 5) == ["4a", "4b"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2a00:1450:4001::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.0.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public
