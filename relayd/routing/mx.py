"""Which hosts of a domain are tried, and in which order (RFC 5321 §5.1, RFC 7505).  Pure: chance comes in."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence

from relayd.resolver.answer import Mx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NullMx(Exception):
    """The domain says that it takes no mail (RFC 7505)."""


class LoopsToSelf(Exception):
    """We are the best of the domain's MX hosts: nobody is left to give the mail to (RFC 5321 §5.1)."""


def preference_groups(
    records: Iterable[Mx], is_self: Callable[[str], bool], chance: Callable[[], float]
) -> list[list[str]]:
    """Hosts to try, best preference first; those of equal preference are one list, shuffled.

    A host that `is_self` names ends the list: it and all of equal or worse preference are dropped.  The same host
    named twice counts at its better preference.  Raises NullMx, and LoopsToSelf when nobody is left.
    """
    ordered = sorted(records, key=lambda record: record.preference)
    if not any(record.exchange for record in ordered):
        raise NullMx
    ours = [record.preference for record in ordered if record.exchange and is_self(record.exchange)]
    groups: dict[int, list[str]] = {}
    seen: set[str] = set()
    for record in ordered:
        if ours and record.preference >= ours[0]:
            break
        if record.exchange and record.exchange not in seen:  # "." beside others is a mistake: skipped
            seen.add(record.exchange)
            groups.setdefault(record.preference, []).append(record.exchange)
    if not groups:
        raise LoopsToSelf
    return [shuffled(hosts, chance) for hosts in groups.values()]


def shuffled(items: Sequence[str], chance: Callable[[], float]) -> list[str]:
    """The items in an order that `chance` (0 <= x < 1) decides, each order equally likely."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = int(chance() * (last + 1))
        result[last], result[other] = result[other], result[last]
    return result


def interleaved(v6: Sequence[str], v4: Sequence[str], limit: int) -> list[str]:
    """At most `limit` addresses of a host, IPv6 first, taking turns, so that one broken family costs one try."""
    mixed: list[str] = []
    for number in range(max(len(v6), len(v4))):
        mixed.extend(family[number] for family in (v6, v4) if number < len(family))
    return mixed[:limit]


def is_public(address: str) -> bool:
    """Whether mail for strangers may be sent there: no private, loopback, link-local, multicast or reserved address.

    IPv4 addresses inside IPv6 (mapped, 6to4, NAT64) count as what they hold.
    """
    parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or _nat64(parsed)
        if inner is not None:
            parsed = inner
        elif parsed.is_site_local:
            return False
    return parsed.is_global and not parsed.is_multicast


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
