"""Lists in the DNS of addresses and domains (RFC 5782): what to ask, and what an answer means.  Pure.

A list is asked for names made of what a message shows - the client's address, addresses of Received fields, domains of
links, domains of DKIM signatures that pass, addresses of mail, links - and answers with addresses of 127/8, each of
which the list gives a meaning.  An answer outside 127/8 is no answer of a list (RFC 5782 §2.1), but of somebody who
took over its name.  Lists say in answers, too, that they will not answer: such answers say nothing of the message.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from relayd.spam.dns_list import DnsList
from relayd.spam.tag import Tag

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_NAME = 253

_REFUSALS = ipaddress.IPv4Network("127.255.255.0/24")
_UNLISTED = [
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10", "ff00::/8",
    )
]  # fmt: skip
"""Networks that no list knows anything of."""


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What a message shows.  hops: the nearest first.  domains: registrable ones, of links and of addresses.  dkim: of
    signatures that pass.  urls: normalised.
    """

    client: Address | None = None
    hops: Sequence[str] = ()
    domains: Sequence[str] = ()
    dkim: Sequence[str] = ()
    emails: Sequence[str] = ()
    urls: Sequence[str] = ()


class Lookup(msgspec.Struct, frozen=True):
    """A question: the name to be asked for, and the thing that it stands for."""

    list: DnsList
    name: str
    thing: str


class Read(msgspec.Struct, frozen=True):
    """What answers say.  refusal: why the list does not answer, "" when it does.  is_foreign: they are no answers of a
    list at all.
    """

    tags: tuple[Tag, ...] = ()
    refusal: str = ""
    is_foreign: bool = False


def lookups(lists: Iterable[DnsList], material: Material, most: int) -> list[Lookup]:
    """What to ask, `most` questions of each list at the utmost; nothing is asked twice."""
    found = []
    for each in lists:
        names: dict[str, str] = {}
        for thing in _things(each, material):
            name = _name(each, thing)
            if name and len(names) < most:
                names.setdefault(f"{name}.{each.zone}", thing)
        found += [Lookup(each, name, thing) for name, thing in names.items() if len(name) <= MAX_NAME]
    return found


def _things(each: DnsList, material: Material) -> Iterable[str]:
    if each.about == "client":
        return () if material.client is None else (str(material.client),)
    things: dict[str, Iterable[str]] = {
        "hops": material.hops,
        "domains": material.domains,
        "dkim": material.dkim,
        "emails": material.emails,
        "urls": material.urls,
    }
    return things[each.about]


def _name(each: DnsList, thing: str) -> str:
    """The part in front of the zone; "" for what is not to be asked."""
    if each.about in ("client", "hops"):
        return reversed_address(thing)
    if each.hash:
        text = thing.partition("://")[2] or thing if each.about == "urls" else thing
        return hashlib.new(each.hash, text.lower().encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return thing.lower().strip(".") if thing.isascii() and "." in thing else ""


def reversed_address(text: str) -> str:
    """An address as lists have it (RFC 5782 §2.1, §2.4); "" for one that no list knows."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if any(address in network for network in _UNLISTED if network.version == address.version):
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return ".".join(reversed(str(address).split(".")))
    return ".".join(reversed(address.exploded.replace(":", "")))


def read(lookup: Lookup, answers: Iterable[str]) -> Read:
    """What the addresses that a list answered mean."""
    tags: list[Tag] = []
    refusal = ""
    is_foreign = False
    for answer in answers:
        try:
            octets = ipaddress.IPv4Address(answer).packed
        except ValueError:
            continue
        if octets[0] != 127:
            is_foreign = True
            continue
        fitting = [each for each in lookup.list.meanings if each.fits(octets)]
        if ipaddress.IPv4Address(answer) in _REFUSALS or any(each.refuses for each in fitting):
            refusal = f"{lookup.list.zone} answers {answer}: it does not answer us"
        tags += [
            Tag(
                each.tag,
                f"{lookup.list.zone} does not answer us" if each.refuses else f"listed by {lookup.list.zone}",
                f"{lookup.thing}: {answer}",
            )
            for each in fitting
        ]
    if is_foreign:
        return Read(is_foreign=True)
    return Read(tuple(tags), refusal)
