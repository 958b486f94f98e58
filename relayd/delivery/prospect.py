"""The next hops that mail from a sender to an address would take now, as an attempt would choose them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relayd.delivery.ways import Wait, Way
from relayd.mail.address import AddressError, a_label, mailbox_key, parse_address
from relayd.routing.next_hop import NextHop
from relayd.routing.route import MX, Router
from relayd.routing.rule import Facts

WaysOf = Callable[[NextHop, Sequence[str], str], Sequence[Way] | Wait]
"""`delivery.ways`'s Ways.of."""


def only_way(next_hop: NextHop, rules: Sequence[str], address: str) -> Sequence[Way]:
    """The ways where no route has several hosts, and no source is named."""
    return (Way(next_hop),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """destination: the key of the next hop.  next_hop: what the configuration says.  hops: its hosts in the order in
    which they are tried, with the sources that mail leaves from; of pools those that chance took this time.

    setting: the key that decided and its value; why: the same in words.  problem: why there is no way now, "" when
    there is.
    """

    destination: str
    next_hop: NextHop
    hops: tuple[NextHop, ...]
    setting: str
    why: str
    problem: str = ""


def prospect(router: Router, ways: WaysOf, address: str, sender: str = "", default: str = MX) -> Prospect:
    """For a message of which nothing but its return path is known: rules that ask for more do not match.

    default: `queue.outbound.next-hop`.
    """
    rules = router.rules.matching(Facts(return_path=sender)) if router.rules else ()
    destination = router.destination_by(address, None, rules)
    next_hop = router.next_hop(destination)
    setting, why = _decided(router, address, rules, default)
    found = ways(next_hop, rules, address)
    if isinstance(found, Wait):
        problem = found.reply.text
        return Prospect(destination=destination, next_hop=next_hop, hops=(), setting=setting, why=why, problem=problem)
    hops = tuple(way.hop for way in found)
    return Prospect(destination=destination, next_hop=next_hop, hops=hops, setting=setting, why=why)


def _decided(router: Router, address: str, rules: Sequence[str], default: str) -> tuple[str, str]:
    """The setting that names the next hop, and why it counts."""
    rule = router.rules.of(rules, address) if rules else None
    if rule is not None and rule.next_hop is not None:
        return f'queue.rule.{rule.id}.next-hop = "{rule.next_hop}"', f"the rule is for {rule.conditions()}"
    domain = mailbox_key(address)[1]
    word = router.of_directory.get(domain)
    if word is not None and (word == MX or word in router.routes):
        return f'the domain {domain} of the directory: "{word}"', f"{domain} has a next hop of its own"
    if domain in router.domains:
        hop = router.domains[domain]
        named = MX if hop is None or hop.route is None else hop.route
        return f'queue.outbound.domain.{domain} = "{named}"', f"{domain} has a next hop of its own"
    return f'queue.outbound.next-hop = "{default}"', "no setting names the domain, so the default counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be tried.  address: "" for a bare domain.  hops: in order, at least one.  problem: why nothing is."""

    address: str
    hops: tuple[NextHop, ...]
    direct: bool
    problem: str = ""


def errand(router: Router, ways: WaysOf, recipient: str, sender: str) -> Errand:
    """On the way that mail from `sender` would go.  recipient: an address or a domain."""
    address, domain, problem = _parsed(recipient)
    if problem:
        return Errand(address=address, hops=(NextHop(key=domain, host=domain),), direct=False, problem=problem)
    ahead = prospect(router, ways, address or f"postmaster@{domain}", sender)
    return Errand(address=address, hops=ahead.hops or (ahead.next_hop,), direct=False, problem=ahead.problem)


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
