"""What is known of a message put together and weighed: by the live path, and by an operator who asks.

The content is scanned on the event loop where it is small, which takes a few milliseconds at the worst, else by a
worker process.  Then whoever knows more is asked side by side - DNS, reputation, outside scanners, each within a limit
of its own - and the statistical model, and all of it is weighed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from relayd.database.interface import DatabaseError
from relayd.events import spam as events
from relayd.events.event import Span
from relayd.mailauth.findings import Findings
from relayd.reception.origins import Origins
from relayd.reception.transaction import Refused
from relayd.reputation.bayes import EVERYBODY, Bayes
from relayd.scanning.workers import Overrun, Workers
from relayd.spam.facts import Facts, Scanned
from relayd.spam.options import RecipientOptions, SpamOptions
from relayd.spam.ruleset import Lists
from relayd.spam.scan import Scanner
from relayd.spam.score import Score, Thresholds
from relayd.spam.scoring import Limits, all_tags, bayes_tags
from relayd.spam.tag import Tag
from relayd.spam.verdict import Verdict, Weighed, judge, weigh


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A message about which others are asked.

    content: the whole of it as the client sent it, or the path of its file.  span: of the session.  queue_id: the id
    under which it will be queued.  is_trial: an operator asks (classify): nothing may be learnt from it.
    """

    facts: Facts
    findings: Findings
    scanned: Scanned
    content: bytes | Path
    span: Span
    queue_id: int = 0
    is_trial: bool = False


class TagSource(Protocol):
    """Somebody who knows something of a message that its content does not say: DNS lists, reputation, a scanner."""

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """The tags that it sets.  It keeps to a time limit of its own; `Refused` where it is to be refused or
        deferred at once.  Any other exception is stated and sets no tag.
        """
        ...


class ScoringSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration says of scoring, compiled.

    thresholds: of everybody's mail.  scores: of the rules in force, the operator's among them.  inline: octets up to
    which the event loop scans itself.
    """

    options: SpamOptions
    thresholds: Thresholds
    recipients: tuple[RecipientOptions, ...]
    scanner: Scanner
    scores: Mapping[str, Score]
    limits: Limits
    inline: int

    @property
    def lists(self) -> Lists:
        return self.scanner.ruleset.lists

    def thresholds_of(self, address: str) -> Thresholds:
        """Those of a recipient; "" for those of everybody."""
        own = self._record(address.lower()) if self.recipients and address else None
        return self.thresholds if own is None else self.thresholds.under(own)

    def _record(self, address: str) -> RecipientOptions | None:
        """The record that names the address, else the one that names its domain."""
        domain = "@" + address.rpartition("@")[2]
        for wanted in (address, domain):
            for each in self.recipients:
                if any(wanted == match.lower() for match in each.match):
                    return each
        return None


class Assessor:
    """See the module.  sources: who is asked beside the content.  origins: who knows where clients are.

    account_of: the name of the account that has an address, "" for none; may raise DatabaseError.
    """

    def __init__(
        self, settings: ScoringSettings, workers: Workers, bayes: Bayes, sources: Sequence[TagSource] = ()
    ) -> None:
        self.settings = settings
        self.workers = workers
        self.bayes = bayes
        self.sources = list(sources)
        self.account_of: Callable[[str], Awaitable[str]] = _nobody
        self.origins: Origins | None = None

    async def placed(self, facts: Facts, span: Span) -> Facts:
        """The facts, with where the client is.  span: of the session."""
        if not self.origins or facts.address is None:
            return facts
        return msgspec.structs.replace(facts, origin=await self.origins.of(facts.address, span))

    async def scan(self, content: bytes | Path, facts: Facts, size: int) -> Scanned:
        """What the content gives.  Raises Overrun where it cannot be scanned within the limits, Busy."""
        if isinstance(content, bytes) and size <= self.settings.inline:
            try:
                return self.settings.scanner.scan(content, facts, size)
            except Exception as error:  # a bug in a rule: the message must neither be lost nor pass unscanned
                raise Overrun(f"{type(error).__name__}: {error}") from error
        return await self.workers.scan(content, facts, size)

    async def verdicts(self, subject: Subject, recipients: Sequence[str], account: str = "") -> dict[str, Verdict]:
        """That of each recipient, who has it by his own thresholds and his account's model; one alone, "", where nobody
        has such.  account: who submits it, whose model counts for all then.  Refused.
        """
        others = await self.ask(subject)
        owners = {} if account else await self._owners(recipients)
        addresses = recipients if self.settings.recipients or owners else ()
        weighed: dict[str, tuple[Weighed, ...]] = {}
        verdicts = {}
        for address in addresses or ("",):
            whose = owners.get(address, account)
            if whose not in weighed:
                weighed[whose] = self.weighed(subject, others, await self.model_tags(subject, whose))
            verdicts[address] = judge(weighed[whose], self.settings.thresholds_of(address))
        return verdicts

    async def _owners(self, recipients: Sequence[str]) -> dict[str, str]:
        """The account of each recipient that has one whose model speaks."""
        if not self.bayes.options.enable or self.bayes.learnt.keys() <= {EVERYBODY}:
            return {}
        found = {}
        for address in recipients:
            with contextlib.suppress(DatabaseError):  # everybody's model is asked then
                name = await self.account_of(address)
                if name and self.bayes.has_learnt_enough(name):
                    found[address] = name
        return found

    async def weigh(self, subject: Subject, account: str = EVERYBODY) -> tuple[Weighed, ...]:
        """Every tag of a message and what it counts.  account: whose model is asked first.  Refused."""
        others = await self.ask(subject)
        return self.weighed(subject, others, await self.model_tags(subject, account))

    def weighed(self, subject: Subject, others: Sequence[Tag], model: Sequence[Tag]) -> tuple[Weighed, ...]:
        """The same of tags that were asked for before."""
        settings = self.settings
        tags = all_tags(subject.scanned, subject.findings, subject.facts, settings.lists, [*others, *model])
        return weigh(tags, settings.scores)

    async def ask(self, subject: Subject) -> list[Tag]:
        """What the sources say, side by side.  Refused."""
        if not self.sources:
            return []
        found: list[Tag] = []
        answers = await asyncio.gather(*(each.tags(subject) for each in self.sources), return_exceptions=True)
        refusal: Refused | None = None
        for answer in answers:
            if isinstance(answer, Refused):
                refusal = refusal or answer
            elif isinstance(answer, Exception):
                reason = f"{type(answer).__name__}: {answer}"
                events.CLASSIFY_ERROR(subject.span, queue_id=subject.queue_id, reason=reason)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer
        if refusal is not None:
            raise refusal
        return found

    async def model_tags(self, subject: Subject, account: str = EVERYBODY) -> tuple[Tag, ...]:
        """What the statistical model says."""
        try:
            found = await self.bayes.estimate(subject.scanned.tokens, account)
        except DatabaseError as error:
            events.CLASSIFY_ERROR(subject.span, queue_id=subject.queue_id, reason=f"model: {error}")
            return ()
        return bayes_tags(found[0], self.settings.limits, found[1]) if found is not None else ()


async def _nobody(address: str) -> str:
    return ""
