"""Aliases and postmaster."""

from __future__ import annotations

import pytest

from relayd.options import OptionError
from relayd.reception.local_names import MAX_DEPTH, LocalNames


def names(*aliases: str, postmaster: str | None = None) -> LocalNames:
    return LocalNames("mx.example", "Origin.Example", postmaster, aliases)


def test_a_local_name_stands_for_its_addresses_in_any_case() -> None:
    table = names("root: ops@far.example, night@far.example")
    assert table.targets("ROOT") == ("ops@far.example", "night@far.example")
    assert table.targets("nobody") is None


def test_a_bare_target_is_qualified_with_the_origin() -> None:
    assert names("cron: somebody").targets("cron") == ("somebody@origin.example",)


def test_aliases_of_aliases_are_followed_and_each_address_is_given_once() -> None:
    table = names("all: root, ops@far.example", "root: ops@far.example, admin@mx.example", "admin: boss@far.example")
    assert table.targets("all") == ("ops@far.example", "boss@far.example")


def test_an_alias_that_leads_back_stops_there() -> None:
    table = names("a: b, x@far.example", "b: a, y@far.example")
    assert table.targets("a") == ("x@far.example", "y@far.example")


@pytest.mark.parametrize(
    "line", ["root", "root:", ": a@b.example", "root: a b@c.example", "ro@ot: a@b.example", "a: b", "a: a"]
)
def test_what_is_no_alias_is_refused(line: str) -> None:
    with pytest.raises(OptionError, match=r"server\.aliases"):
        names(line, "b: a")


def test_a_chain_that_is_too_long_is_refused() -> None:
    chain = [f"n{number}: n{number + 1}" for number in range(MAX_DEPTH + 1)]
    with pytest.raises(OptionError, match="more than"):
        names(*chain, f"n{MAX_DEPTH + 1}: a@far.example")


def test_postmaster_is_the_configured_one_or_the_alias_or_root() -> None:
    assert names("postmaster: a@far.example", postmaster="b@far.example").postmaster == ("b@far.example",)
    assert names("postmaster: a@far.example").postmaster == ("a@far.example",)
    assert names("root: c@far.example").postmaster == ("c@far.example",)
    assert names().postmaster == ()


def test_postmaster_may_be_a_local_name_that_is_an_alias() -> None:
    assert names("root: c@far.example", postmaster="root").postmaster == ("c@far.example",)


def test_a_postmaster_that_is_no_address_is_refused() -> None:
    with pytest.raises(OptionError, match=r"server\.postmaster"):
        names(postmaster="a b@c")
