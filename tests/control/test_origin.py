"""Only a trusted proxy is believed; of others, forwarding headers only take privileges away."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.control.answers import Problem
from relayd.control.hosts import Hosts
from relayd.control.origin import Origin, find_origin, parse_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"))


def origin(peer: str | None, trusted: bool = True, is_tls: bool = False, /, **headers: str | list[str]) -> Origin:
    given: CIMultiDict[str] = CIMultiDict()
    for name, values in headers.items():
        for value in values if isinstance(values, list) else [values]:
            given.add(name.replace("_", "-"), value)
    address = None if peer is None else ip_address(peer)
    return find_origin(address, CIMultiDictProxy(given), PROXIES if trusted else (), is_tls=is_tls)


def test_without_headers_the_peer_is_the_client() -> None:
    assert origin("127.0.0.1").is_local
    assert origin("127.0.0.1").is_private
    assert origin("::1", False).is_local
    assert origin(None).is_local
    assert str(origin(None)) == "unix"
    there = origin("192.0.2.1")
    assert (str(there), there.is_local, there.is_private, there.is_unix) == ("192.0.2.1", False, False, False)
    assert origin("192.0.2.1", True, True).is_private


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.1.2.3, 10.1.2.4", "192.0.2.1"),
        (["127.0.0.1", "192.0.2.1"], "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, unknown", "10.0.0.1"),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
        ("10.3.3.3", "10.3.3.3"),
    ],
)
def test_behind_a_trusted_proxy_the_rightmost_stranger_is_the_client(forwarded: str | list[str], client: str) -> None:
    found = origin("10.0.0.1", X_Forwarded_For=forwarded)
    assert (str(found), found.is_local) == (client, False)


def test_nobody_forwards_himself_into_this_machine() -> None:
    for forwarded in ("127.0.0.1", "::1", "127.0.0.1, 127.0.0.1"):
        assert not origin("10.0.0.1", X_Forwarded_For=forwarded).is_local
        assert not origin("127.0.0.1", X_Forwarded_For=forwarded).is_local


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"]
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.7", None])
def test_of_anybody_else_headers_only_take_away(name: str, peer: str | None) -> None:
    found = origin(peer, False, False, **{name: "https"})
    assert (str(found), found.is_local, found.is_private) == (peer or "unix", False, False)


def test_tls_is_what_the_trusted_proxy_says() -> None:
    assert origin("10.0.0.1", X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https").is_tls
    assert origin("10.0.0.1", X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="HTTPS , https").is_tls
    assert not origin("10.0.0.1", X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https, http").is_tls
    assert not origin("10.0.0.1", X_Forwarded_For="192.0.2.1").is_tls
    assert not origin("192.0.2.2", X_Forwarded_Proto="https").is_tls


def test_a_load_balancer_on_this_machine_is_no_local_client() -> None:
    found = find_origin(ip_address("127.0.0.1"), CIMultiDictProxy(CIMultiDict()), (), is_proxied=True)
    assert not found.is_local


def test_one_client_has_a_whole_network_in_ipv6() -> None:
    assert origin("2001:db8::1").site == origin("2001:db8::ffff").site
    assert origin("192.0.2.1").site != origin("192.0.2.2").site
    assert origin(None, False).site == "unix"


@given(st.text(max_size=60), st.sampled_from(["10.0.0.1", "127.0.0.1", "192.0.2.1"]))
def test_no_header_breaks_it_or_makes_it_local(text: str, peer: str) -> None:
    assert not origin(peer, X_Forwarded_For=text).is_local


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "[", "[::1", "1.2.3.4:x:y", "%", "::1%eth0"])
def test_what_is_no_address(text: str) -> None:
    found = parse_address(text)
    assert found is None or str(found) == "::1"


class TestHosts:
    hosts = Hosts(["Relay.Example.org", "192.0.2.5", "2001:db8::5"])

    @pytest.mark.parametrize(
        "host",
        [
            "relay.example.org",
            "RELAY.example.ORG.:8080",
            "localhost",
            "localhost:1",
            "192.0.2.5:80",
            "[2001:db8::5]",
            "[2001:DB8:0::5]:443",
            "198.51.100.1",
        ],
    )
    def test_ours(self, host: str) -> None:
        self.hosts.check([host], ip_address("198.51.100.1"), False)

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "192.0.2.6", "[::1]", "127.0.0.1", "localhost:x:y", "[", "@"]
    )
    def test_not_ours(self, host: str) -> None:
        with pytest.raises(Problem) as refused:
            self.hosts.check([host], ip_address("198.51.100.1"), False)
        assert refused.value.status == 421

    @pytest.mark.parametrize("given", [[], [""], [" "], ["localhost", "localhost"]])
    def test_there_must_be_one(self, given: list[str]) -> None:
        with pytest.raises(Problem) as refused:
            self.hosts.check(given, None, False)
        assert refused.value.status == 400

    def test_an_old_client_need_not_say(self) -> None:
        self.hosts.check([], None, True)
