"""What `relayd check` is told, and options that contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.config.sections import sections_in
from relayd.options import OptionError, section_of
from relayd.reception import options as reception
from relayd.reception.options import RcptOptions
from relayd.reception.policy import _PLACES, Policy
from tests.reception.house import options

POSTMASTER = {"postmaster": "ops@far.example"}


@pytest.mark.parametrize(
    "domain", ["a@b.example", "a.example.", "*", "*.*.example", "a b", "[192.0.2.1]", "ex*mple.org"]
)
def test_what_is_no_domain_is_refused_as_relay_domain(domain: str) -> None:
    with pytest.raises(OptionError, match="relay-domains"):
        section_of(RcptOptions).build({"relay-domains": [domain]})


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"redirect": {"redirect-all": ["a b"]}}, "queue.redirect-all"),
        ({"access": {"x": {"action": "redirect", "to": ["a b"]}}}, "access.x.to"),
        ({"server": {"aliases": ["x"]}}, "server.aliases"),
    ],
)
def test_an_impossible_value_names_its_key(given: dict[str, Any], key: str) -> None:
    with pytest.raises(OptionError, match=key):
        Policy(options(**given))


def test_places_are_remembered_in_bounds() -> None:
    policy = Policy(options(rcpt={"relay-domains": [".a.example"]}))
    for number in range(3 * _PLACES):
        assert policy.place(f"{number}.a.example").relay
    assert len(policy._places) <= _PLACES


def test_a_relay_domain_is_found_in_either_form() -> None:
    policy = Policy(options(rcpt={"relay-domains": ["bücher.example"]}))
    assert policy.place("xn--bcher-kva.example").relay
    assert policy.place("bücher.example").relay
    assert not policy.place("bucher.example").relay


def test_every_section_has_its_defaults() -> None:
    for cls in sections_in(reception):
        section_of(cls).build({})
