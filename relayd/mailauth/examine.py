"""All checks of one message together: those of the session first, then those of the content, then DMARC.

An Examiner is made once from the options; nothing in it changes.  `examine` makes every check that is not disabled.
Reception asks in two steps, because it knows the sender long before the content: `of_sender`, then `of_content`.

All questions go to the resolver that is given, a `resolver.budget.BudgetResolver` where time is limited.  Checks wait
for the DNS side by side.  A bug in one of them makes that one "temperror" and hurts no other.

DMARC fails only on evidence: where SPF or DKIM was not looked at (disabled, or the client is not known), a message
that does not pass is "none", for what was not looked at might have spoken for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from relayd.mail.address import split_address
from relayd.mail.header import HeaderBlock
from relayd.mailauth.apart import Apart, Memory, run_apart
from relayd.mailauth.arc import ChainVerifier
from relayd.mailauth.authors import authors_of
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import want_signed
from relayd.mailauth.dkim_verify import Verifier
from relayd.mailauth.dmarc import MAX_AUTHORS, evaluate, identifiers_of
from relayd.mailauth.dmarc_discovery import SuffixLookup, TreeWalk
from relayd.mailauth.findings import (
    DmarcFinding,
    EhloFinding,
    Findings,
    IprevFinding,
    Policy,
    Result,
    SpfFinding,
    plain_domain,
)
from relayd.mailauth.iprev import check_ehlo_name, check_iprev
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.orgdomain import SuffixList
from relayd.mailauth.signature import FieldSelector
from relayd.mailauth.spf import Address, SpfClient, check_ehlo, check_mail_from
from relayd.mailauth.verdict import is_list_traffic
from relayd.resolver.answer import Resolver

T = TypeVar("T")

Body = Callable[[BodyDigests], Awaitable[None]]
"""Feeds the body of a message, that is what stands behind the blank line that ends its header.  TimeoutError: it
took too long.
"""

_STEP = 64 << 10
_MODES = ("spf_ehlo", "spf_mail_from", "dkim", "arc", "dmarc", "iprev")
_BUG = "internal error"


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """What the session says.

    address: of the client that is checked; None: it is not known, and `unknown` says why.  helo: as it was given.
    return_path: "" for the null one.
    """

    address: Address | None
    helo: str
    return_path: str
    unknown: str = "the client has no address"


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The message.

    header: as received, before anything of ours is added.  apart: given for a header that is large.  is_sealed: the
    message will be sealed or signed, so its body is hashed for that too.
    """

    header: HeaderBlock
    body: Body
    apart: Apart | None = None
    is_sealed: bool = False


class SenderFindings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out before the content; the fields as in Findings.

    elapsed: seconds by check ("spf-ehlo", "spf-from", "iprev", "ehlo").  is_known: who the client is.
    """

    spf_ehlo: SpfFinding | None = None
    spf_mail_from: SpfFinding | None = None
    iprev: IprevFinding | None = None
    ehlo: EhloFinding | None = None
    elapsed: dict[str, float] = {}
    is_known: bool = True


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found out.

    elapsed: seconds by check, "dkim", "arc" and "dmarc" too.  is_list: the header says that a mailing list sent it.
    body: the hashes that were made of it.
    """

    findings: Findings
    elapsed: dict[str, float]
    is_list: bool
    body: BodyDigests


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What an Examiner works with.

    receiver: our own name, for explanations.  now: Unix time.  clock: any seconds, to tell how long a check took.
    chance: 0 to 1, for RFC 7489's pct.  on_bug: hears of an exception in a check, with its name as in `elapsed`.
    knows: whether the resolver has an answer, by type and name, without waiting.
    """

    resolver: Resolver
    now: float
    clock: Callable[[], float]
    on_bug: Callable[[str, Exception], None]
    receiver: str = "unknown"
    chance: float = 0.0
    knows: Callable[[str, str], bool] = lambda type, name: False


class Examiner:
    """Makes the checks that `options` ask for.

    Reads the public suffix list where that is to be used, which takes some 70 ms: suffix_text, else the installed one.
    suffixes: one that was read already.
    """

    def __init__(
        self, options: AuthOptions, suffix_text: str | None = None, *, suffixes: SuffixList | None = None
    ) -> None:
        self.options = options
        if suffixes is None and options.dmarc_discovery == "public-suffix-list":
            suffixes = SuffixList(suffix_text)
        self._suffixes = suffixes
        self._spf_ehlo = options.spf_ehlo != "disabled"
        self._spf_from = options.spf_mail_from != "disabled"
        self._iprev = options.iprev != "disabled"
        self._dkim = options.dkim != "disabled"
        self._arc = options.arc != "disabled"
        self._dmarc = options.dmarc != "disabled"
        self.looks_at_sender = self._spf_ehlo or self._spf_from or self._iprev
        self.looks_at_content = self._dkim or self._arc or self._dmarc

    def thorough(self, *, everything: bool = False) -> Examiner:
        """One that asks for the explanations of SPF too, whatever refuses; everything: no check is disabled for it."""
        modes = {mode: "strict" for mode in _MODES if everything or getattr(self.options, mode) != "disabled"}
        return Examiner(dataclasses.replace(self.options, **modes), suffixes=self._suffixes)  # type: ignore[arg-type]

    async def examine(self, sender: Sender, content: Content, around: Surroundings) -> Examined:
        """Every check that is not disabled."""
        return await self.of_content(content, await self.of_sender(sender, around), around)

    async def of_sender(
        self, sender: Sender, around: Surroundings, session: SenderFindings | None = None
    ) -> SenderFindings:
        """SPF of the EHLO name and of the return path, reverse DNS, the EHLO name.

        session: what was found for an earlier message of the same client and EHLO name; only the return path is
        looked at then.
        """
        if sender.address is None:
            return self._unknown(sender)
        address, resolver = sender.address, around.resolver
        client = SpfClient(address=address, helo=sender.helo, receiver=around.receiver, now=around.now)
        watch = _Watch(around)
        jobs: list[Coroutine[Any, Any, Any]] = []
        if self._spf_from:
            explain = self.options.spf_mail_from == "strict"
            spf = check_mail_from(resolver, client, sender.return_path, explain=explain)
            jobs.append(watch.run("spf-from", spf, _no_spf("mfrom", sender, Result.TEMPERROR, _BUG)))
        if session is None and self._spf_ehlo:
            explain = self.options.spf_ehlo == "strict"
            spf = check_ehlo(resolver, client, explain=explain)
            jobs.append(watch.run("spf-ehlo", spf, _no_spf("helo", sender, Result.TEMPERROR, _BUG)))
        if session is None and self._iprev:
            failed = IprevFinding(result=Result.TEMPERROR, address=str(address), problem=_BUG)
            jobs.append(watch.run("iprev", check_iprev(resolver, address), failed))
            unsure = EhloFinding(result=Result.TEMPERROR, domain=plain_domain(sender.helo), problem=_BUG)
            jobs.append(watch.run("ehlo", check_ehlo_name(resolver, sender.helo, address), unsure))
        await _side_by_side(jobs, all(around.knows(*each) for each in _of_sender(sender, address)))
        found = watch.found
        return SenderFindings(
            spf_ehlo=session.spf_ehlo if session else found.get("spf-ehlo"),
            spf_mail_from=found.get("spf-from"),
            iprev=session.iprev if session else found.get("iprev"),
            ehlo=session.ehlo if session else found.get("ehlo"),
            elapsed=watch.elapsed,
        )

    def _unknown(self, sender: Sender) -> SenderFindings:
        """Nothing can be asked about a client that nobody knows."""
        why = sender.unknown
        return SenderFindings(
            spf_ehlo=_no_spf("helo", sender, Result.NONE, why) if self._spf_ehlo else None,
            spf_mail_from=_no_spf("mfrom", sender, Result.NONE, why) if self._spf_from else None,
            iprev=IprevFinding(result=Result.NONE, address="", problem=why) if self._iprev else None,
            is_known=False,
        )

    async def of_content(self, content: Content, known: SenderFindings, around: Surroundings) -> Examined:
        """DKIM and ARC of the content, and DMARC with what is known of the sender."""
        watch = _Watch(around)
        memory = Memory(around.resolver)
        made = functools.partial(_Seals, content, self._dkim, self._arc)
        seals = made() if content.apart is None else await content.apart(made)
        began = around.clock()
        questions = self._questions(seals)
        jobs = [watch.run("dns", memory.ask(name), None) for name in questions]
        if seals.body.is_wanted:
            jobs.append(seals.feed(content.body))
        await _side_by_side(jobs, all(around.knows("TXT", name) for name in questions))
        await seals.conclude(content.apart, memory, watch, around.clock() - began)
        dmarc = await self._dmarc_of(seals, known, memory, watch) if self._dmarc else None
        findings = Findings(
            spf_ehlo=known.spf_ehlo,
            spf_mail_from=known.spf_mail_from,
            iprev=known.iprev,
            ehlo=known.ehlo,
            dkim=seals.dkim.findings if seals.dkim is not None else None,
            arc=seals.arc.finding if seals.arc is not None else None,
            dmarc=dmarc,
        )
        return Examined(
            findings=findings, elapsed=known.elapsed | watch.elapsed, is_list=seals.is_list, body=seals.body
        )

    def _questions(self, seals: _Seals) -> list[str]:
        """Names whose TXT records will be asked for."""
        names = seals.key_names
        if self._dmarc:
            names += [f"_dmarc.{domain}" for domain in seals.authors.domains[:MAX_AUTHORS]]
        return list(dict.fromkeys(names))

    async def _dmarc_of(self, seals: _Seals, known: SenderFindings, memory: Memory, watch: _Watch) -> DmarcFinding:
        authors = seals.authors
        identifiers = identifiers_of(known.spf_mail_from, seals.dkim.findings if seals.dkim is not None else ())
        discovery = SuffixLookup(memory, self._suffixes) if self._suffixes else TreeWalk(memory)
        check = evaluate(discovery, authors, identifiers, sample=watch.around.chance * 100)
        failed = DmarcFinding(result=Result.TEMPERROR, domain=next(iter(authors.domains), ""), problem=_BUG)
        finding = await watch.run("dmarc", check, failed)
        unseen = ""
        if not self._dkim:
            unseen = "DKIM is not checked here"
        elif not self._spf_from:
            unseen = "SPF is not checked here"
        elif not known.is_known:
            unseen = "SPF could not be checked, the client is not known"
        if not unseen or finding.result is not Result.FAIL:
            return finding
        return msgspec.structs.replace(finding, result=Result.NONE, policy=Policy.NONE, problem=unseen)


class _Seals:
    """What a header holds for the checks of the content."""

    def __init__(self, content: Content, dkim: bool, arc: bool) -> None:
        fields = FieldSelector(content.header)
        self.body = BodyDigests()
        if content.is_sealed:
            want_signed(self.body)
        self.dkim = Verifier(fields, self.body) if dkim else None
        self.arc = ChainVerifier(fields, self.body) if arc else None
        self.authors = authors_of([field.raw[field.raw.find(b":") + 1 :] for field in fields.named("from")])
        self.is_list = is_list_traffic(lambda name: [field.value for field in fields.named(name.lower())])

    @property
    def key_names(self) -> list[str]:
        """Names of the keys that are asked for."""
        return [*(self.dkim.key_names if self.dkim else ()), *(self.arc.key_names if self.arc else ())]

    async def feed(self, body: Body) -> None:
        """Have the body hashed; what takes too long leaves the signatures unconcluded."""
        try:
            await body(self.body)
        except TimeoutError:
            return
        self.body.finish()

    async def conclude(self, apart: Apart | None, memory: Memory, watch: _Watch, waited: float) -> None:
        """Bring the findings about.  waited: seconds that were spent for them already."""
        if self.body.is_wanted and not self.body.finished:
            return
        now = watch.around.now
        for name, check in (("dkim", self.dkim), ("arc", self.arc)):
            if check is None:
                continue
            spent = waited if check.key_names else 0.0
            if apart is None:
                work: Coroutine[Any, Any, Any] = check.finish(memory, now)
            else:
                work = run_apart(functools.partial(_finish, check, now), memory, apart)
            await watch.run(name, work, None)
            watch.elapsed[name] += spent


async def _finish(check: Verifier | ChainVerifier, now: float, resolver: Resolver) -> None:
    await check.finish(resolver, now)


class _Watch:
    """Runs checks: what they found and how long they took, whatever happens in them."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.found: dict[str, Any] = {}
        self.elapsed: dict[str, float] = {}

    async def run(self, name: str, check: Awaitable[T], failed: T) -> T:
        """What the check finds; `failed`, when there is a bug in it."""
        clock = self.around.clock
        began = clock()
        try:
            found = await check
        except Exception as error:
            self.around.on_bug(name, error)
            found = failed
        self.elapsed[name] = clock() - began
        self.found[name] = found
        return found


async def _side_by_side(jobs: Sequence[Coroutine[Any, Any, Any]], is_quick: bool) -> None:
    """All of them; the first exception ends the others.  is_quick: they hardly wait, and tasks would cost more."""
    if is_quick or len(jobs) == 1:
        try:
            for job in jobs:
                await job
        finally:
            for job in jobs:
                job.close()
        return
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _of_sender(sender: Sender, address: Address) -> Iterator[tuple[str, str]]:
    """The first questions about a sender: type and name."""
    yield "TXT", plain_domain(sender.return_path.rpartition("@")[2] or sender.helo)
    yield "TXT", plain_domain(sender.helo)
    yield "PTR", str(address)


def _no_spf(scope: Literal["helo", "mfrom"], sender: Sender, result: Result, problem: str) -> SpfFinding:
    """A finding where no record was asked for."""
    domain = plain_domain(sender.helo)
    address = f"postmaster@{domain}"
    if scope == "mfrom" and sender.return_path:
        local, given = split_address(sender.return_path)
        domain = plain_domain(given)
        address = f"{local}@{domain}"
    return SpfFinding(scope=scope, result=result, domain=domain, sender=address, problem=problem)


def body_of(octets: bytes) -> Body:
    """A body that is in memory, fed in steps between which others have their turn."""

    async def feed(digests: BodyDigests) -> None:
        for begin in range(0, len(octets), _STEP):
            if begin:
                await asyncio.sleep(0)
            digests.feed(octets[begin : begin + _STEP])

    return feed
