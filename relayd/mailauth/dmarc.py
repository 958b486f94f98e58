"""DMARC: is the domain in From the one that sent this, and what does its owner want when it is not?

Policies and organisational domains are found by walking the DNS tree (RFC 9989 §4.10), or by the public suffix list as
RFC 7489 did.  Nothing raises for what the DNS or the message says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from relayd.mailauth.authors import Authors
from relayd.mailauth.dmarc_discovery import Discovered, Discovery
from relayd.mailauth.dmarc_record import DmarcRecord
from relayd.mailauth.findings import DkimFinding, DmarcFinding, Policy, Result, SpfFinding
from relayd.resolver.answer import ResolveError

MAX_AUTHORS = 4
"""Author domains of one message that are looked at (RFC 9989 §11.5)."""
MAX_IDENTIFIERS = 10
"""Domains that passed, or might have, which are compared with each author domain."""

_BELOW = {Policy.REJECT: Policy.QUARANTINE, Policy.QUARANTINE: Policy.NONE, Policy.NONE: Policy.NONE}
_SEVERITY = (Result.PASS, Result.NONE, Result.PERMERROR, Result.TEMPERROR, Result.FAIL)
_STRICTNESS = tuple(Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """Domains that SPF (of MAIL FROM) and DKIM speak for: those that passed, and those that the DNS kept unknown."""

    spf: str = ""
    spf_unknown: str = ""
    dkim: tuple[str, ...] = ()
    dkim_unknown: tuple[str, ...] = ()


def identifiers_of(spf: SpfFinding | None, dkim: Sequence[DkimFinding]) -> Identifiers:
    """What the findings of SPF and DKIM authenticate (RFC 9989 §4.4.1, §4.4.2)."""
    return Identifiers(
        spf=spf.domain if spf is not None and spf.result is Result.PASS else "",
        spf_unknown=spf.domain if spf is not None and spf.result is Result.TEMPERROR else "",
        dkim=_domains(dkim, Result.PASS),
        dkim_unknown=_domains(dkim, Result.TEMPERROR),
    )


def _domains(dkim: Sequence[DkimFinding], result: Result) -> tuple[str, ...]:
    found = dict.fromkeys(each.domain for each in dkim if each.result is result and each.domain)
    return tuple(found)[:MAX_IDENTIFIERS]


async def evaluate(
    discovery: Discovery, authors: Authors, identifiers: Identifiers, *, sample: float = 0.0
) -> DmarcFinding:
    """DMARC of a message.

    With several From fields nothing can be aligned, and of several author domains each is looked at: the message is
    worth what the worst of them is (RFC 9989 §11.5).  sample: 0 to 100, chance for RFC 7489's pct.
    """
    if not authors.domains:
        return DmarcFinding(result=Result.NONE, domain="", problem=authors.problem)
    if authors.fields > 1:
        identifiers = Identifiers()
    found = [await _evaluate_one(discovery, domain, identifiers, sample) for domain in authors.domains[:MAX_AUTHORS]]
    if len(authors.domains) > MAX_AUTHORS:
        text = f"From names {len(authors.domains)} domains, not all were looked at"
        found.append(DmarcFinding(result=Result.PERMERROR, domain="", problem=text))
    worst = max(found, key=lambda each: (_SEVERITY.index(each.result), _STRICTNESS.index(each.policy)))
    problem = authors.problem or (f"From names {len(found)} domains" if len(found) > 1 else "")
    if not problem:
        return worst
    return msgspec.structs.replace(worst, problem="; ".join(filter(None, (problem, worst.problem))))


async def _evaluate_one(discovery: Discovery, author: str, identifiers: Identifiers, sample: float) -> DmarcFinding:
    steps: list[str] = []
    try:
        found = await discovery.discover(author, steps)
    except ResolveError as error:
        return DmarcFinding(result=Result.TEMPERROR, domain=author, problem=str(error), steps=tuple(steps))
    if found is None:
        return DmarcFinding(result=Result.NONE, domain=author, problem="there is no DMARC record", steps=tuple(steps))
    if not _applies(discovery, found.record):
        return DmarcFinding(
            result=Result.NONE,
            domain=author,
            organizational=found.organizational,
            policy_domain=found.domain,
            record=found.record.text,
            problem="the DMARC record has no policy that can be read",
            steps=tuple(steps),
        )
    requested = found.requested
    policy = _applied(discovery, found.record, requested, sample)
    alignment = _Alignment(discovery, author, found, steps)
    spf = await alignment.first((identifiers.spf,), found.record.strict_spf)
    dkim = await alignment.all(identifiers.dkim, found.record.strict_dkim)
    problem = ""
    if spf or dkim:
        result = Result.PASS
    elif alignment.failure or await alignment.hidden(identifiers):
        result, problem = Result.TEMPERROR, alignment.failure or "SPF or DKIM could not be checked now"
    else:
        result = Result.FAIL
    steps.append(f"{result}, policy {policy}")
    return DmarcFinding(
        result=result,
        domain=author,
        organizational=alignment.organizational or (author if result is Result.PASS else ""),
        policy_domain=found.domain,
        record=found.record.text,
        requested=requested,
        policy=policy,
        testing=found.record.testing,
        spf=spf,
        dkim=dkim,
        problem=problem,
        steps=tuple(steps),
    )


def _applies(discovery: Discovery, record: DmarcRecord) -> bool:
    """RFC 9989 §4.7 reads a missing p as none; RFC 7489 §6.6.3 only where reports are asked for."""
    return record.applies and (discovery.walks or "p" in record.tags or bool(record.aggregate))


def _applied(discovery: Discovery, record: DmarcRecord, requested: Policy, sample: float) -> Policy:
    """One level less for a policy under test: t=y (RFC 9989 §4.7), or what pct leaves out (RFC 7489 §6.6.4)."""
    spared = record.testing if discovery.walks else sample >= record.pct
    return _BELOW[requested] if spared else requested


class _Alignment:
    """Compares domains with one author domain (RFC 9989 §4.10.2); asks the DNS only where the names leave it open."""

    def __init__(self, discovery: Discovery, author: str, found: Discovered, steps: list[str]) -> None:
        self._discovery = discovery
        self._author = author
        self._steps = steps
        self._found = found
        self.organizational = found.organizational
        self.failure = ""

    async def first(self, domains: Sequence[str], strict: bool) -> str:
        """The first that is aligned, or ""."""
        return next(iter(await self.all(domains, strict)), "")

    async def all(self, domains: Sequence[str], strict: bool) -> tuple[str, ...]:
        """Those that are aligned, the same domain alone where it is there (§4.10.2 needs no more than that); `failure`
        says when the DNS could not tell of one.
        """
        if self._author in domains:
            self._steps.append(f"{self._author} is aligned with itself")
            return (self._author,)
        aligned = []
        for domain in filter(None, domains):
            try:
                is_aligned = await self._is_aligned(domain, strict)
            except ResolveError as error:
                self.failure = str(error)
                continue
            self._steps.append(f"{domain} is {'' if is_aligned else 'not '}aligned with {self._author}")
            if is_aligned:
                aligned.append(domain)
        return tuple(aligned)

    async def hidden(self, identifiers: Identifiers) -> bool:
        """Whether a domain that could not be checked would have been aligned."""
        record = self._found.record
        return bool(
            await self.first((identifiers.spf_unknown,), record.strict_spf)
            or await self.first(identifiers.dkim_unknown, record.strict_dkim)
            or self.failure
        )

    async def _is_aligned(self, domain: str, strict: bool) -> bool:
        if strict or domain.rpartition(".")[2] != self._author.rpartition(".")[2]:
            return False
        if not self.organizational:
            self.organizational = await self._discovery.organizational(self._author, self._steps)
        top = self.organizational
        if domain != top and not domain.endswith("." + top):
            return False
        return await self._discovery.organizational(domain, self._steps) == top
