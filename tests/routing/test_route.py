"""From an address to its next hop."""

from __future__ import annotations

import pytest

from relayd.routing.next_hop import NextHop, Protocol, TlsMode
from relayd.routing.options import DomainTlsOptions, OutboundOptions, RouteOptions
from relayd.routing.route import Router, UnknownRoute, route_of


def test_direct_delivery_by_domain() -> None:
    router = Router(OutboundOptions(port=2526))
    assert router.destination("b@X.Example") == "x.example"
    hop = router.next_hop("x.example")
    assert hop == NextHop(key="x.example", host="x.example", port=2526)
    assert router.next_hop("x.example") is hop


def test_an_address_literal_has_no_mx() -> None:
    router = Router(OutboundOptions())
    hop = router.next_hop(router.destination("b@[192.0.2.1]"))
    assert (hop.host, hop.use_mx) == ("[192.0.2.1]", False)


def test_an_internationalised_domain_is_its_a_label() -> None:
    router = Router(OutboundOptions(), {"hub": RouteOptions(address="hub.example")}, {"bücher.example": "hub"})
    assert router.destination("b@bücher.example") == "route:hub"
    assert router.destination("b@BÜCHER.example") == "route:hub"
    assert Router(OutboundOptions()).destination("b@bücher.example") == "xn--bcher-kva.example"
    assert Router(OutboundOptions()).destination("b@-ü-.example") == "-ü-.example"


def test_the_default_and_a_domain_of_its_own() -> None:
    routes = {"hub": RouteOptions(address="hub.example"), "box": RouteOptions(address="unix:/run/l", protocol="lmtp")}
    router = Router(OutboundOptions(next_hop="hub"), routes, {"Box.example": "box", "direct.example": "mx"})
    assert router.destination("b@any.example") == "route:hub"
    assert router.destination("b@box.example") == "route:box"
    assert router.destination("b@direct.example") == "direct.example"
    assert router.next_hop("route:hub").host == "hub.example"
    assert router.next_hop("box.example").protocol is Protocol.LMTP
    assert router.next_hop("direct.example").use_mx
    assert router.reroute("b@box.example", "route:hub") == "route:box"
    assert router.reroute("b@box.example", "route:box") is None


def test_where_an_operator_sends_a_message_goes_before_the_configuration() -> None:
    routes = {"hub": RouteOptions(address="hub.example"), "box": RouteOptions(address="box.example")}
    router = Router(OutboundOptions(next_hop="hub"), routes, {"direct.example": "mx"})
    assert router.destination_by("b@any.example", "box") == "route:box"
    assert router.destination_by("b@any.example", None) == "route:hub"
    assert router.destination_by("b@any.example", "gone") == "route:hub"
    assert router.destination_by("b@direct.example", "mx") == "direct.example"
    direct = router.destination_by("b@bücher.example", "mx")
    assert direct == "mx:xn--bcher-kva.example"
    hop = router.next_hop(direct)
    assert (hop.key, hop.host, hop.use_mx) == (direct, "xn--bcher-kva.example", True)
    assert not router.next_hop(router.destination_by("b@[192.0.2.1]", "mx")).use_mx
    assert router.reroute("b@any.example", "route:box", "box") is None
    assert router.reroute("b@any.example", "route:hub", "box") == "route:box"
    assert [router.under(word)("b@any.example") for word in ("mx", "box", None)] == [
        "mx:any.example",
        "route:box",
        "route:hub",
    ]
    with pytest.raises(UnknownRoute, match="gone"):
        router.under("gone")


def test_mail_of_a_route_that_is_gone_takes_the_default() -> None:
    router = Router(OutboundOptions(next_hop="hub"), {"hub": RouteOptions(address="hub.example")})
    assert router.next_hop("route:old").key == "route:hub"
    assert not router.is_known("route:old")
    assert router.is_known("x.example")


@pytest.mark.parametrize("where", ["default", "domain"])
def test_a_route_that_is_not_declared(where: str) -> None:
    with pytest.raises(UnknownRoute, match=r'no route "hbu".*known: hub'):
        Router(
            OutboundOptions(next_hop="hbu" if where == "default" else "mx"),
            {"hub": RouteOptions(address="hub.example")},
            {} if where == "default" else {"x.example": "hbu"},
        )


@pytest.mark.parametrize(
    ("options", "port", "mode"),
    [
        (RouteOptions(address="h"), 25, TlsMode.OPPORTUNISTIC),
        (RouteOptions(address="h", protocol="lmtp"), 24, TlsMode.OPPORTUNISTIC),
        (RouteOptions(address="h", tls_implicit=True), 465, TlsMode.REQUIRED),
        (RouteOptions(address="h", username="u", secret="s"), 587, TlsMode.VERIFIED),
        (RouteOptions(address="h", username="u", secret="s", tls_mode="none", port=26), 26, TlsMode.VERIFIED),
        (RouteOptions(address="h", tls_mode="required"), 25, TlsMode.REQUIRED),
        (RouteOptions(address="h", tls_implicit=True, tls_mode="verified"), 465, TlsMode.VERIFIED),
    ],
)
def test_what_a_route_demands(options: RouteOptions, port: int, mode: TlsMode) -> None:
    hop = route_of("hub", options)
    assert (hop.port, hop.tls, hop.key, hop.route) == (port, mode, "route:hub", "hub")


def test_domains_and_routes_may_ask_for_more_of_tls() -> None:
    router = Router(
        OutboundOptions(),
        {"hub": RouteOptions(address="hub.example", tls_minimum="1.3")},
        tls={
            "Bücher.example": DomainTlsOptions(mode="verified", min_version="1.3"),
            "x.example": DomainTlsOptions(mode="none"),
        },
    )
    found = router.next_hop("xn--bcher-kva.example")
    assert (found.tls, found.tls_minimum) == (TlsMode.VERIFIED, "1.3")
    assert router.next_hop("mx:x.example").tls is TlsMode.NONE
    assert router.next_hop("y.example").tls is TlsMode.OPPORTUNISTIC
    assert router.next_hop("route:hub").tls_minimum == "1.3"


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(route_of("hub", RouteOptions(address="h", username="u", secret="s3cret")))
