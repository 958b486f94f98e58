"""The checks of who sent a message, on the live path: strangers' mail to listeners with the role mx.

The sender is looked at when MAIL is answered, the content at the end of data, and a refusal is given then, so that
DMARC has its say.  What is found about the session's client and its EHLO name is kept for the session's next messages.

All questions of a message share `auth.timeout`: what it took at MAIL is not there any more at the end of data.  A dead
DNS server costs a message its checks, which are "temperror", and never more than that time.

Content up to INLINE octets is hashed at once; more of it by one of THREADS threads, which read a file in steps, so that
nothing large is in memory and nothing holds the loop up.  A header of more than INLINE octets is read there too.
"""

from __future__ import annotations

import asyncio
import functools
import io
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from relayd.events import smtp
from relayd.mail.header import HeaderBlock
from relayd.mail.reply import Reply
from relayd.mailauth.arc_seal import Sealable
from relayd.mailauth.canonical import BLOCK, BodyDigests
from relayd.mailauth.examine import Content, Sender, SenderFindings, Surroundings
from relayd.mailauth.findings import Findings, Result
from relayd.mailauth.forged import forged_fields
from relayd.mailauth.hops import MAX_HOPS, Hop, first_stranger
from relayd.mailauth.results import MethodResult, finding_results, results_field
from relayd.mailauth.spf_field import received_spf
from relayd.mailauth.verdict import Action, Message, Verdict, decide
from relayd.reception.check_events import tell_content, tell_sender
from relayd.reception.client import Remembered, address_text
from relayd.reception.head import NO_MARKS, Marks
from relayd.reception.policy import contains
from relayd.reception.transaction import Refused, Transaction
from relayd.resolver.answer import Resolver
from relayd.resolver.budget import BudgetResolver
from relayd.resolver.replaceable import Replaceable

T = TypeVar("T")

INLINE = 64 << 10
"""Octets that are hashed on the event loop, which takes less than a millisecond."""
THREADS = 2
KEPT = 300.0
"""Seconds for which findings about a session's client are kept."""

_RESULTS = b"authentication-results"
NOT_NOW = Reply(451, "4.3.0", "Local error in a check of the message, try again later")


class Checks:
    """Makes the checks of transactions.  clock: Unix seconds.  monotonic: any.  chance: 0 to 1."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.resolver = Replaceable(resolver)
        self._clock = clock
        self._monotonic = monotonic
        self._chance = chance
        self._threads = ThreadPoolExecutor(THREADS, "checks")

    def close(self) -> None:
        """End what runs in threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def of_sender(self, tx: Transaction) -> None:
        """At MAIL: look at the client, its EHLO name and the return path, and state what was found."""
        client = tx.client
        if tx.trusted or tx.skip_checks or client.role != "mx" or not tx.policy.examiner.looks_at_sender:
            return
        if _is_relay_of_ours(tx):  # its Received field tells who the client is
            return
        kept = client.remembered
        now = self._monotonic()
        if kept is not None and (kept.until <= now or kept.address != client.address or kept.helo != client.helo):
            kept = None
        sender = Sender(address=client.address, helo=client.helo, return_path=tx.sender)
        found = await self._sender(tx, sender, kept.findings if kept is not None else None)
        if kept is None and not any(
            each is not None and each.result is Result.TEMPERROR for each in (found.spf_ehlo, found.iprev, found.ehlo)
        ):
            client.remembered = Remembered(client.address, client.helo, now + KEPT, found)

    async def _sender(self, tx: Transaction, sender: Sender, session: SenderFindings | None) -> SenderFindings:
        began = self._monotonic()
        found = await tx.policy.examiner.of_sender(sender, self._around(tx), session)
        tx.checked_for += self._monotonic() - began
        tx.sender_findings = found
        tell_sender(tx.client.span, found, sender.helo)
        return found

    async def of_content(self, tx: Transaction, content: bytes | Path) -> Marks:
        """At the end of data: look at the content, state what was found, and decide.  Refused."""
        if tx.trusted or tx.client.role != "mx":
            return NO_MARKS
        examiner = tx.policy.examiner
        is_checked = not tx.skip_checks and (examiner.looks_at_sender or examiner.looks_at_content)
        header = tx.body.header
        if not is_checked and _RESULTS not in header.lower():
            return NO_MARKS
        apart = self._in_thread if len(header) > INLINE else None
        opened = await apart(functools.partial(_open, tx)) if apart is not None else _open(tx)
        if not is_checked:
            return Marks(header=opened.stripped)
        address = tx.client.address
        known = tx.sender_findings or SenderFindings()
        if opened.hop is not None:
            address = opened.hop.address
            why = f"client before our relay not known: {opened.hop.problem}"
            sender = Sender(address=address, helo=opened.hop.helo, return_path=tx.sender, unknown=why)
            known = await self._sender(tx, sender, None)
            tx.came_from = (address, opened.hop.helo)
        began = self._monotonic()
        body = functools.partial(self._feed, tx, content, began + self._left(tx))
        is_sealed = examiner.options.arc_seal is not None
        of_message = Content(header=opened.block, body=body, apart=apart, is_sealed=is_sealed)
        examined = await examiner.of_content(of_message, known, self._around(tx))
        tx.checked_for += self._monotonic() - began
        tell_content(tx.client.span, examined.findings, examined.elapsed, examiner.options)
        tx.findings = examined.findings
        verdict = decide(examined.findings, examiner.options, Message(address=address, is_list=examined.is_list))
        _apply(tx, verdict)
        client = "" if address is None else address_text(address)
        results = marked_results(examined.findings, verdict, client)
        sealable = None
        if is_sealed and examined.findings.arc is not None and examined.body.finished:
            sealable = Sealable(
                header=opened.block,
                body=examined.body,
                chain=examined.findings.arc,
                results=results,
                utf8=tx.smtputf8,
            )
        return Marks(_fields(tx, examined.findings, results, client), opened.stripped, sealable)

    def _left(self, tx: Transaction) -> float:
        return max(0.0, tx.policy.examiner.options.timeout - tx.checked_for)

    def _around(self, tx: Transaction) -> Surroundings:
        return Surroundings(
            resolver=BudgetResolver(self.resolver, self._left(tx), clock=self._monotonic),
            now=self._clock(),
            clock=self._monotonic,
            on_bug=functools.partial(_on_bug, tx),
            receiver=tx.policy.hostname,
            chance=self._chance(),
            knows=self.resolver.knows,
        )

    async def _feed(self, tx: Transaction, content: bytes | Path, until: float, digests: BodyDigests) -> None:
        """The body, by a thread when it is long.  until: of the monotonic clock; TimeoutError then."""
        begin = len(tx.body.header) + 2
        if isinstance(content, bytes) and len(content) - begin <= INLINE:
            digests.feed(content[begin:])
            return
        is_over = threading.Event()
        try:
            async with asyncio.timeout(until - self._monotonic()):
                await self._in_thread(functools.partial(_hash, content, begin, digests, is_over))
        finally:
            is_over.set()

    async def _in_thread(self, work: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Opened(msgspec.Struct, frozen=True):
    """A header looked at.  hop: the client before our relay, where one of those gave us the message.  stripped: the
    header block without forged fields, None when there are none.
    """

    block: HeaderBlock
    hop: Hop | None
    stripped: bytes | None


def _is_relay_of_ours(tx: Transaction) -> bool:
    address = tx.client.address
    return address is not None and contains(tx.policy.options.session.trusted_relays, address)


def _open(tx: Transaction) -> _Opened:
    """What relays of ours wrote on top is believed: the client that they name, and what they found out in our name."""
    header = tx.body.header
    block = HeaderBlock.parse(header)
    hop, inside = None, 0
    if _is_relay_of_ours(tx):
        places = [place for place, field in enumerate(block.fields) if field.name.lower() == "received"]
        values = [block.fields[place].raw.partition(b":")[2] for place in places[: MAX_HOPS + 1]]
        hop = first_stranger(values, tx.policy.options.session.trusted_relays)
        inside = places[hop.passed - 1] if hop.passed else 0
    if _RESULTS not in header.lower():
        return _Opened(block, hop, None)
    forged = {id(field) for field in forged_fields(HeaderBlock(block.fields[inside:]), tx.policy.authserv_ids)}
    if not forged:
        return _Opened(block, hop, None)
    return _Opened(block, hop, b"".join(field.raw for field in block.fields if id(field) not in forged))


def _hash(content: bytes | Path, begin: int, digests: BodyDigests, is_over: threading.Event) -> None:
    """Feed the content from `begin` on; ends when nobody waits for it any more."""
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        source.seek(begin)
        while not is_over.is_set() and (octets := source.read(BLOCK)):
            digests.feed(octets)


def _on_bug(tx: Transaction, check: str, error: Exception) -> None:
    smtp.HANDLER_ERROR(tx.client.span, reason=f"check {check}: {type(error).__name__}: {error}")
    options = tx.policy.examiner.options
    strict = {
        "spf-ehlo": options.spf_ehlo,
        "spf-from": options.spf_mail_from,
        "iprev": options.iprev,
        "arc": options.arc,
        "dmarc": options.dmarc,
    }
    if strict.get(check) == "strict":
        tx.check_failed = True


def _apply(tx: Transaction, verdict: Verdict) -> None:
    """State a verdict that is more than to take the message, and act by it.  Refused."""
    reply = NOT_NOW if tx.check_failed and verdict.action is not Action.REJECT else verdict.reply
    if verdict.action is not Action.TAG or verdict.is_suspicious:
        smtp.AUTH_VERDICT(
            tx.client.span,
            policy=verdict.action.value,
            reason="; ".join(verdict.reasons),
            code=reply.code if reply is not None else None,
            queue_id=tx.id,
        )
    if reply is not None:
        raise Refused(reply)
    if verdict.action is Action.HOLD and tx.held is None:
        tx.held, tx.held_by = verdict.reasons[0], "auth"


def _fields(tx: Transaction, findings: Findings, results: tuple[MethodResult, ...], client: str) -> bytes:
    """Our fields, to be put above Received (RFC 8601 §4.1, RFC 7208 §9.1)."""
    policy = tx.policy
    fields = results_field(policy.authserv_id, results, utf8=tx.smtputf8)
    spf = findings.spf_mail_from
    if spf is not None and policy.examiner.options.received_spf:
        fields += received_spf(
            spf, receiver=policy.hostname, address=client, helo=tx.client.helo, return_path=tx.sender
        )
    return fields


def marked_results(findings: Findings, verdict: Verdict, client: str) -> tuple[MethodResult, ...]:
    """What Authentication-Results says.  client: its IP address, "" when it is not known."""
    results = finding_results(findings, client)
    if not verdict.is_suspicious:
        return results
    return tuple(_tagged(each, verdict) if each.method == "dmarc" else each for each in results)


def _tagged(result: MethodResult, verdict: Verdict) -> MethodResult:
    """The result of DMARC, marked: its owner asks for more than to take such mail; and why no more was done."""
    override = f", policy not applied: {verdict.override.value}" if verdict.override is not None else ""
    return msgspec.structs.replace(result, reason=f"suspicious{override}")
