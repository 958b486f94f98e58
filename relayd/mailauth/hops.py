"""The client before our own relays, from the Received fields that they wrote (RFC 5321 §4.4).

A relay of ours that forwards to us hides who gave it the message.  It says so in its Received field, which stands on
top; a field below is believed only while everything above it was written by our own.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS = 20
"""Relays of ours in a row that are looked through."""
_MAX_LENGTH = 4096

_FROM = re.compile(r"\s*from\s+([^\s()\[\];]+|\[[^\[\]\s]*\])", re.I)
_BY = re.compile(r"\sby\s", re.I)
_HELO = re.compile(r"\(\s*(?:[^()\s]*\s+)?helo[=\s]\s*([^\s()]+)\s*\)", re.I)
_BRACKETED = re.compile(r"\[(?:ipv6:)?([0-9a-f.:]+)\]", re.I)
_BARE = re.compile(r"\(\s*(?:ipv6:)?([0-9a-f.:]+)\s*\)", re.I)


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """Who gave the message to our relays.

    address: None when that cannot be read; problem then says why.  helo: the name it gave, "" when there is none to
    see.  passed: how many relays of ours it went through.
    """

    address: Address | None
    helo: str = ""
    passed: int = 0
    problem: str = ""


def first_stranger(received: Sequence[bytes], ours: Iterable[Network]) -> Hop:
    """The first hop from the top that is in none of our networks.

    received: values of the Received fields as they came, the topmost first, none of them written by this host.  A
    loopback address is the relay itself, at work with a filter beside it.
    """
    networks = tuple(ours)
    for passed, value in enumerate(received[:MAX_HOPS], 1):
        hop = read_hop(value)
        if hop.address is None:
            return Hop(address=None, passed=passed, problem=f"Received field {passed}: {hop.problem}")
        if not hop.address.is_loopback and not any(hop.address in network for network in networks):
            return Hop(address=hop.address, helo=hop.helo, passed=passed)
    if len(received) > MAX_HOPS:
        return Hop(address=None, passed=MAX_HOPS, problem=f"more than {MAX_HOPS} hops through our own relays")
    passed = len(received)
    if not passed:
        return Hop(address=None, problem="our relay wrote no Received field")
    return Hop(address=None, passed=passed, problem="every hop is one of our own relays")


def read_hop(value: bytes) -> Hop:
    """The client that one Received field names, in the forms of the usual servers.

    Its address stands before "by", in brackets or alone in parentheses.  What the client called itself is not looked
    at for it, for that can be an address too.
    """
    text = value[:_MAX_LENGTH].decode("utf-8", "replace")
    start = _FROM.match(text)
    if start is None:
        return Hop(address=None, problem="it does not say from whom")
    end = _BY.search(text, start.end())
    clause = text[start.start(1) : end.start() if end else len(text)]
    name = start[1]
    helo = _HELO.search(clause)
    given = helo[1] if helo else name
    if helo is not None:
        clause = clause[: helo.start(1)] + clause[helo.end(1) :]
    for pattern, place in ((_BRACKETED, len(name)), (_BARE, len(name)), (_BRACKETED, 0)):
        for found in pattern.finditer(clause, place):
            address = _address(found[1])
            if address is not None:
                return Hop(address=address, helo=given)
    return Hop(address=None, problem="it holds no address of the client")


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
