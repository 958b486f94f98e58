"""Whether the domains that a client names exist to mail: its EHLO name and the return path's domain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from relayd.mail.address import AddressError, a_label
from relayd.reception.assessing import Subject
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver
from relayd.resolver.budget import BudgetResolver
from relayd.spam.tag import Tag

TIMEOUT = 3.0
"""Seconds for all questions of a message."""


class HostsAsked:
    """Sets HELO_NORES_A_OR_MX and FROMHOST_NORES_A_OR_MX.  resolver: asked for each message; is_on: likewise."""

    def __init__(self, resolver: Callable[[], Resolver], is_on: Callable[[], bool]) -> None:
        self._resolver = resolver
        self._is_on = is_on

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """See `TagSource`."""
        facts = subject.facts
        if facts.is_trusted or facts.address is None or not self._is_on():
            return ()
        resolver = BudgetResolver(self._resolver(), TIMEOUT)
        helo = facts.helo.strip().rstrip(".").lower()
        domain = facts.return_path.rpartition("@")[2].rstrip(".").lower()
        found = []
        if _is_domain(helo):
            found.append(_missing(resolver, helo, "HELO_NORES_A_OR_MX", "the EHLO name has neither address nor MX"))
        if _is_domain(domain):
            why = "the domain of the return path has neither address nor MX"
            found.append(_missing(resolver, domain, "FROMHOST_NORES_A_OR_MX", why))
        return [tag for tag in await asyncio.gather(*found) if tag is not None]


def _is_domain(name: str) -> bool:
    return "." in name and not name.startswith("[") and not name.replace(".", "").isdigit()


async def _missing(resolver: Resolver, name: str, tag: str, reason: str) -> Tag | None:
    """The tag when the name has no record of any of the kinds; where the DNS does not say, nobody is blamed."""
    try:
        domain = a_label(name)
    except AddressError:
        return Tag(tag, reason, name)
    questions: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: resolver.addresses(domain, 4),
        lambda: resolver.mx(domain),
        lambda: resolver.addresses(domain, 6),
    )
    for question in questions:
        try:
            await question()
        except (NoName, NoData):
            continue
        except ResolveError:
            return None
        else:
            return None
    return Tag(tag, reason, name)
