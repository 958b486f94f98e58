"""All checks of one message together: those of the session first, then those of the content, then DMARC.

An Examiner is made once from the options; nothing in it changes.  `examine` makes every check that is not disabled.
Reception asks in two steps, because it knows the sender long before the content: `of_sender`, then `of_content`.

All questions go to the resolver that is given, a `resolver.budget.BudgetResolver` where time is limited.  Checks wait
for the DNS side by side; a bug in one of them makes that one "temperror" and hurts no other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from relayd.mail.header import HeaderBlock
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.findings import EhloFinding, Findings, IprevFinding, SpfFinding
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.orgdomain import SuffixList
from relayd.mailauth.spf import Address
from relayd.resolver.answer import Resolver

Body = Callable[[BodyDigests], Awaitable[None]]
"""Feeds the body of a message, that is what stands behind the blank line that ends its header."""


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """What the session says.

    address: of the client that is checked; None: it is not known, and `unknown` says why.  helo: as it was given.
    return_path: "" for the null one.
    """

    address: Address | None
    helo: str
    return_path: str
    unknown: str = ""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The message.  header: as received, before anything of ours is added."""

    header: HeaderBlock
    body: Body


class SenderFindings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out before the content; the fields as in Findings."""

    spf_ehlo: SpfFinding | None = None
    spf_mail_from: SpfFinding | None = None
    iprev: IprevFinding | None = None
    ehlo: EhloFinding | None = None


class Examiner:
    """Makes the checks that `options` ask for.  receiver: our own name, for explanations.  chance: 0 to 1."""

    def __init__(
        self, options: AuthOptions, receiver: str, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._options = options
        self._receiver = receiver
        self._chance = chance

    async def examine(self, sender: Sender, content: Content, resolver: Resolver, now: float) -> Findings:
        """Every check that is not disabled.  now: Unix time."""
        raise NotImplementedError

    async def of_sender(self, sender: Sender, resolver: Resolver, now: float) -> SenderFindings:
        """SPF of the EHLO name and of the return path, reverse DNS, the EHLO name."""
        raise NotImplementedError

    async def of_content(
        self, content: Content, known: SenderFindings, resolver: Resolver, now: float
    ) -> Findings:
        """DKIM, ARC, and DMARC with what is known of the sender."""
        raise NotImplementedError


def body_of(octets: bytes) -> Body:
    """A body that is in memory; a large one is fed in a thread."""
    raise NotImplementedError
