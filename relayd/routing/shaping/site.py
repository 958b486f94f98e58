"""The site that MX hosts belong to: domains whose hosts are one site's are one provider's customers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_HOSTS = 8
"""Hosts that are looked at; who has more is named by these."""


def site_of(hosts: Iterable[str], registrable: Callable[[str], str]) -> str:
    """The name of the site: the registered domain of the hosts, or of each of them, joined by "+".

    hosts: those of best preference, as A-labels.  registrable: the organisational domain of a name.  "" without hosts,
    and for address literals.
    """
    names = {registrable(host) for host in sorted(hosts)[:_HOSTS] if host and not host[-1].isdigit()}
    return "+".join(sorted(names - {""}))


def suffixes(name: str) -> Iterable[str]:
    """A name and the domains that hold it, the nearest first: "a.b.c", "b.c", "c"."""
    while name:
        yield name
        name = name.partition(".")[2]
