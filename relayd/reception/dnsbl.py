"""Lists in the DNS asked about a message: all at the same time, within one budget.

A list that is down costs its tags and never more than the budget.  One that says it does not answer us, or whose zone
answers what no list answers, is left alone for a while, and that is stated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from relayd.events import spam as events
from relayd.events.event import Span
from relayd.mailauth.findings import Findings, Result, plain_domain
from relayd.mailauth.orgdomain import SuffixList
from relayd.reception.assessing import Subject
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver
from relayd.resolver.budget import BudgetResolver
from relayd.spam.dns_list import DnsList
from relayd.spam.dnsbl import Address, Lookup, Material, Read, lookups, read
from relayd.spam.dnsbl_options import DnsblOptions
from relayd.spam.facts import Facts, Scanned
from relayd.spam.tag import Tag

WELCOME = "RCVD_IN_DNSWL_"
"""Begin of the tags that say that a client is known for good mail."""

MAX_QUESTIONS = 1000
"""Of one message to all lists."""


class DnsLists:
    """A source of tags.  resolver: the one in force.  clock: seconds, steady."""

    def __init__(
        self,
        lists: Sequence[DnsList],
        options: DnsblOptions,
        resolver: Callable[[], Resolver],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lists = lists
        self.options = options
        self._resolver = resolver
        self._clock = clock
        self._suffixes: SuffixList | None = None
        self._paused: dict[str, float] = {}
        self.on_welcome: Callable[[Address], None] = lambda address: None
        """Told of clients that a list knows for good mail."""

    def __bool__(self) -> bool:
        return bool(self.lists)

    def reconfigure(self, lists: Sequence[DnsList], options: DnsblOptions) -> None:
        """Take other lists and options; lists that were left alone are asked again."""
        self.lists, self.options = lists, options
        self._paused.clear()

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """See `scoring.TagSource`."""
        now = self._clock()
        asked = [each for each in self.lists if self._paused.get(each.id, now) <= now]
        if not asked or subject.facts.is_trusted:
            return ()
        began = now
        wanted = lookups(asked, self._material(subject, asked), self.options.max_queries)[:MAX_QUESTIONS]
        budget = BudgetResolver(self._resolver(), self.options.timeout, questions=MAX_QUESTIONS, clock=self._clock)
        found = await asyncio.gather(*(self._ask(each, budget, subject) for each in wanted))
        tags = [tag for each in found for tag in each.tags]
        if subject.facts.address is not None and any(each.name.startswith(WELCOME) for each in tags):
            self.on_welcome(subject.facts.address)
        if wanted:
            events.DNSBL(
                subject.span,
                queue_id=subject.queue_id,
                total=len(wanted),
                details=[f"{each.name} {each.evidence}" for each in tags],
                elapsed=self._clock() - began,
            )
        return tags

    @property
    def knows_good(self) -> bool:
        """Whether one of the lists tells of clients that are known for good mail."""
        return any(_welcomes(each) for each in self.lists)

    async def is_welcome(self, address: Address, span: Span) -> bool:
        """Whether a list knows a client for good mail, before any of it came.  span: of what is stated."""
        now = self._clock()
        asked = [each for each in self.lists if _welcomes(each) and self._paused.get(each.id, now) <= now]
        resolver = BudgetResolver(self._resolver(), self.options.timeout, questions=MAX_QUESTIONS, clock=self._clock)
        subject = Subject(
            facts=Facts(address=address), findings=Findings(), scanned=Scanned(), content=b"", span=span, is_trial=True
        )
        wanted = lookups(asked, Material(client=address), self.options.max_queries)
        found = await asyncio.gather(*(self._ask(each, resolver, subject) for each in wanted))
        return any(tag.name.startswith(WELCOME) for each in found for tag in each.tags)

    def _material(self, subject: Subject, asked: Sequence[DnsList]) -> Material:
        scanned, facts = subject.scanned, subject.facts
        emails = dict.fromkeys((*((facts.return_path.lower(),) if facts.return_path else ()), *scanned.emails))
        domains: dict[str, None] = {}
        if any(each.about == "domains" for each in asked):
            if self._suffixes is None:
                self._suffixes = SuffixList()
            for host in (*scanned.hosts, *(plain_domain(each.rpartition("@")[2]) for each in emails)):
                domains.setdefault(self._suffixes.organizational(host))
        signatures = subject.findings.dkim or ()
        passing = [each.domain for each in signatures if each.result is Result.PASS and each.domain]
        return Material(
            client=facts.address,
            hops=scanned.hops,
            domains=list(domains),
            dkim=passing,
            emails=list(emails),
            urls=scanned.urls,
        )

    async def _ask(self, lookup: Lookup, resolver: Resolver, subject: Subject) -> Read:
        try:
            answer = await resolver.addresses(lookup.name, 4)
        except (NoName, NoData):
            return Read()
        except ResolveError as error:
            events.DNSBL_ERROR(subject.span, queue_id=subject.queue_id, id=lookup.list.id, reason=str(error))
            return Read()
        found = read(lookup, answer.records)
        reason = found.refusal or ("its zone answers what no list answers" if found.is_foreign else "")
        now = self._clock()
        if reason and self._paused.get(lookup.list.id, now) <= now:
            self._paused[lookup.list.id] = now + self.options.pause
            events.DNSBL_ERROR(subject.span, queue_id=subject.queue_id, id=lookup.list.id, reason=reason)
        return found


def _welcomes(each: DnsList) -> bool:
    return each.about == "client" and any(meaning.tag.startswith(WELCOME) for meaning in each.meanings)
