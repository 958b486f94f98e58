"""What a rehearsal sets out for: an address, and the next hops that mail to it would be given to now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relayd.delivery.ways import Wait, Way
from relayd.mail.address import AddressError, a_label, parse_address
from relayd.routing.next_hop import NextHop
from relayd.routing.route import Router
from relayd.routing.rule import Facts

WaysOf = Callable[[NextHop, Sequence[str], str], Sequence[Way] | Wait]
"""`delivery.ways`'s Ways.of."""


def only_way(next_hop: NextHop, rules: Sequence[str], address: str) -> Sequence[Way]:
    """The ways where no route has several hosts, and no source is named."""
    return (Way(next_hop),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be tried.  address: "" for a bare domain.  hops: in order, at least one.  problem: why nothing is."""

    address: str
    hops: tuple[NextHop, ...]
    direct: bool
    problem: str = ""


def errand(router: Router, ways: WaysOf, recipient: str, sender: str) -> Errand:
    """On the way that mail from `sender` would go; rules that ask for more of it match nothing here.

    recipient: an address or a domain.
    """
    address, domain, problem = _parsed(recipient)
    if problem:
        return Errand(address=address, hops=(NextHop(key=domain, host=domain),), direct=False, problem=problem)
    whom = address or f"postmaster@{domain}"
    rules = router.rules.matching(Facts(return_path=sender)) if router.rules else ()
    next_hop = router.next_hop(router.destination_by(whom, None, rules))
    found = ways(next_hop, rules, whom)
    if isinstance(found, Wait):
        return Errand(address=address, hops=(next_hop,), direct=False, problem=found.reply.text)
    return Errand(address=address, hops=tuple(way.hop for way in found), direct=False)


def direct_errand(recipient: str, port: int) -> Errand:
    """By MX at `port`, whatever the configuration says."""
    address, domain, problem = _parsed(recipient)
    hop = NextHop(key=domain, host=domain, port=port, use_mx=domain[:1] != "[")
    return Errand(address=address, hops=(hop,), direct=True, problem=problem)


def _parsed(recipient: str) -> tuple[str, str, str]:
    """The address ("" for a bare domain), the domain as the DNS knows it, and what is wrong with them."""
    try:
        address = parse_address(recipient if "@" in recipient else f"x@{recipient}", smtputf8=True)
        domain = address.rpartition("@")[2]
        return address if "@" in recipient else "", domain if domain[:1] == "[" else a_label(domain), ""
    except AddressError as error:
        return "", recipient.rpartition("@")[2], f"expected an address or a domain: {error.text}"
