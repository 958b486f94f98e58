"""Rules that choose next hop and source: conditions, order, what is remembered, and what a reload makes of it."""

from __future__ import annotations

import pytest

from relayd.options import OptionError
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router, UnknownRoute
from relayd.routing.rule import MOST_KEPT, Facts, Rules
from relayd.routing.source import Sources, UnknownSource
from relayd.routing.source_options import RuleOptions, SourceOptions

HEADER = b"From: a@news.example\r\nX-Stream: Bulk\r\n mail\r\nx-stream: other\r\nSubject: caf\xc3\xa9\r\n"


def rules(**options: RuleOptions) -> Rules:
    return Rules(options)


def to(**conditions: object) -> RuleOptions:
    return RuleOptions(next_hop="hub", **conditions)  # type: ignore[arg-type]  # each test gives its own


FACTS = Facts(return_path="a@news.example", account="app-7", listener="submission", header=HEADER)


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"sender": ("news.example",)}, True),
        ({"sender": ("A@news.example",)}, True),
        ({"sender": (".example",)}, True),
        ({"sender": ("<>",)}, False),
        ({"sender": ("b@news.example",)}, False),
        ({"account": ("app-*",)}, True),
        ({"account": ("other",)}, False),
        ({"listener": ("submission", "smtp")}, True),
        ({"listener": ("smtp",)}, False),
        ({"header": ("X-Stream: bulk*",)}, True),
        ({"header": ("x-stream:OTHER",)}, True),
        ({"header": ("X-Stream: bulk",)}, False),
        ({"header": ("Subject: café",)}, True),
        ({"header": ("X-None: *",)}, False),
        ({"header": ("X-None: *", "X-Stream: *")}, True),
        ({"sender": ("news.example",), "account": ("other",)}, False),
    ],
)
def test_conditions(conditions: dict[str, tuple[str, ...]], fits: bool) -> None:
    assert rules(r=to(**conditions)).matching(FACTS) == (("r",) if fits else ())


def test_mail_of_nobody_matches_no_account_and_the_null_path() -> None:
    nobody = Facts(return_path="")
    assert rules(r=to(account=("*",))).matching(nobody) == ()
    assert rules(r=to(sender=("<>",))).matching(nobody) == ("r",)


def test_the_first_by_order_and_id_counts_and_those_that_ask_for_recipients_are_kept() -> None:
    found = rules(
        z=to(order=1, recipient=("x.example",)),
        b=to(order=2),
        a=to(order=2, recipient=("y.example",)),
        c=to(order=3),
    )
    assert found.matching(FACTS) == ("z", "a", "b")
    ids = found.matching(FACTS)
    of = {address: found.of(ids, address) for address in ("u@x.example", "u@y.example", "u@w.example")}
    assert {address: rule.id if rule else None for address, rule in of.items()} == {
        "u@x.example": "z",
        "u@y.example": "a",
        "u@w.example": "b",
    }


def test_what_is_remembered_is_bounded() -> None:
    many = {f"r{number:03}": to(recipient=(f"d{number}.example",)) for number in range(100)}
    assert len(Rules(many).matching(FACTS)) == MOST_KEPT


def test_no_rules_are_false() -> None:
    assert not Rules()
    assert rules(r=to())


def test_hostile_headers_come_to_an_end() -> None:
    found = rules(r=to(header=tuple(f"X-{n}: *a*a*a*a*a*b" for n in range(10))))
    header = b"".join(b"X-%d: %s\r\n" % (n % 10, b"a" * 900) for n in range(1000))
    assert found.matching(Facts(return_path="", header=header)) == ()  # a backtracking matcher would never be done


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (RuleOptions(), "queue.rule.r.next-hop: is missing"),
        (RuleOptions(source="s", header=("X-Stream",)), 'queue.rule.r.header: expected "Name: pattern"'),
        (RuleOptions(source="s", header=("X Y: z",)), 'queue.rule.r.header: expected "Name: pattern"'),
    ],
)
def test_bad_rules(options: RuleOptions, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        Rules({"r": options})


ROUTES = {"hub": RouteOptions(address="hub.example"), "box": RouteOptions(address="box.example")}


def router(next_hop: str = "mx", **options: RuleOptions) -> Router:
    sources = Sources({"one": SourceOptions(address="127.0.0.2"), "two": SourceOptions(address="127.0.0.3")})
    return Router(
        OutboundOptions(next_hop=next_hop, source="two"), ROUTES, {"x.example": "box"}, Rules(options), sources
    )


def test_a_rule_comes_before_the_domain_and_an_operator_before_a_rule() -> None:
    now = router(r=RuleOptions(next_hop="hub"), m=RuleOptions(next_hop="mx"))
    assert now.destination_by("u@x.example", None) == "route:box"
    assert now.destination_by("u@x.example", None, ("r",)) == "route:hub"
    assert now.destination_by("u@x.example", None, ("m",)) == "mx:x.example"
    assert now.destination_by("u@x.example", "box", ("r",)) == "route:box"
    assert now.destination_by("u@y.example", "mx", ("r",)) == "mx:y.example"
    assert now.destination_by("u@y.example", None, ("m",)) == "y.example"


def test_queued_mail_follows_its_rule_over_a_reload() -> None:
    assert router(r=RuleOptions(next_hop="hub")).reroute("u@y.example", "route:hub", None, ("r",)) is None
    moved = router(r=RuleOptions(next_hop="box"))
    assert moved.reroute("u@y.example", "route:hub", None, ("r",)) == "route:box"
    gone = router()
    assert gone.reroute("u@y.example", "route:hub", None, ("r",)) == "y.example"
    added = router(early=RuleOptions(next_hop="hub"))
    assert added.reroute("u@y.example", "y.example") is None


def test_the_source_is_of_the_rule_then_of_the_route_then_of_all() -> None:
    now = router(r=RuleOptions(source="one"))
    hop = now.next_hop("y.example")
    by_rule, usual = now.source(hop, ("r",), "u@y.example"), now.source(hop, (), "u@y.example")
    assert by_rule is not None
    assert usual is not None
    assert (by_rule.id, usual.id) == ("one", "two")
    assert now.destination_by("u@x.example", None, ("r",)) == "route:box"  # only the source is another


def test_names_that_are_not_declared() -> None:
    with pytest.raises(UnknownRoute, match='no route "nowhere"'):
        router(r=RuleOptions(next_hop="nowhere"))
    with pytest.raises(UnknownSource, match=r'queue.rule.r.source: no source "three".*known: one, two'):
        router(r=RuleOptions(source="three"))
