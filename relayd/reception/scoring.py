"""Spam scoring on the live path: the verdict about a message, and what becomes of it.

It stands behind the checks of who sent a message and before its 250, so that a refusal is given to the peer, never
mailed back.  Strangers' mail to listeners with the role mx is scored, and where configured what our own people submit,
which may be held.  Of several recipients that want different things the mildest verdict holds for all; LMTP answers
each (RFC 2033): for one that refuses or drops it it is not queued, for one that holds it it is held, the others get it.
What an account taught its own model counts for mail to its addresses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from relayd.events import spam as events
from relayd.mail.address import mailbox_key
from relayd.mail.header import HeaderBlock
from relayd.mail.reply import Reply
from relayd.mailauth.findings import Findings
from relayd.reception.assessing import Assessor, ScoringSettings, Subject, TagSource
from relayd.reception.head import Marks
from relayd.reception.transaction import Discarded, Refused, Transaction
from relayd.reception.unscannable import DEFERRALS, Unscannable, body_digest
from relayd.scanning.workers import Busy, Overrun
from relayd.spam.facts import Facts
from relayd.spam.heading import result_fields
from relayd.spam.origin import is_source_tag
from relayd.spam.score import Action, Thresholds
from relayd.spam.verdict import Verdict, Weighed, judge, mildest

__all__ = ["Assessor", "Scoring", "ScoringSettings", "Subject", "TagSource"]

REFUSED = Reply(550, "5.7.1", "The message is taken for spam")
NOT_NOW = Reply(451, "4.3.2", "The message cannot be scanned now, try again later")
UNSCANNABLE = Reply(451, "4.7.0", "The message cannot be scanned, try again later")
_TOLD = 20
"""Tags that the event of a message names, beside those of where its client is."""


class Scoring:
    """Scores transactions at the end of data."""

    def __init__(self, assessor: Assessor, unscannable: Unscannable | None = None) -> None:
        self.assessor = assessor
        self._unscannable = unscannable or Unscannable(time.monotonic)

    async def of_content(self, tx: Transaction, content: bytes | Path, marks: Marks) -> Marks:
        """The marks with what was found, after the verdict was acted upon.  Raises Refused, Discarded."""
        options = self.assessor.settings.options
        if tx.trusted:
            if options.submitted:
                await self._of_submitted(tx, content)
            return marks
        if not options.enable or tx.skip_checks or tx.client.role != "mx":
            return marks
        facts = await self.assessor.placed(facts_of(tx), tx.client.span)
        began = time.monotonic()
        subject = await self._subject(tx, content, facts)
        if subject is None:
            return _marked(tx, marks, options.result_header, options.status_header, "")
        verdicts = await self.assessor.verdicts(subject, tx.given)
        verdict = mildest(list(verdicts.values()))
        _tell(tx, verdict, time.monotonic() - began)
        if tx.client.protocol == "lmtp" and len(verdicts) > 1:
            verdict = _for_each(tx, verdicts)
        else:
            _tell_action(tx, verdict, tx.given)
        _act(tx, verdict)
        fields = result_fields(verdict, options.result_header, options.status_header)
        return _marked(tx, marks, options.result_header, options.status_header, fields)

    async def _of_submitted(self, tx: Transaction, content: bytes | Path) -> None:
        """What our own people send is held, never refused: who sends it may be the victim of somebody else."""
        settings = self.assessor.settings
        began = time.monotonic()
        facts = await self.assessor.placed(facts_of(tx), tx.client.span)
        subject = await self._subject(tx, content, facts)
        if subject is None:
            return
        weighed = await self.assessor.weigh(subject, tx.client.account or "")
        verdict = judge(weighed, Thresholds(spam=settings.thresholds.spam, hold=settings.options.submitted_hold))
        if verdict.action in (Action.REJECT, Action.DISCARD):
            verdict = msgspec.structs.replace(verdict, action=Action.HOLD)
        _tell(tx, verdict, time.monotonic() - began)
        _tell_action(tx, verdict, tx.given)
        _act(tx, verdict)

    async def _subject(self, tx: Transaction, content: bytes | Path, facts: Facts) -> Subject | None:
        """The message, scanned; None where it cannot be and is held for it.  Refused."""
        try:
            scanned = await self.assessor.scan(content, facts, tx.body.size)
        except Busy as error:
            events.CLASSIFY_ERROR(tx.client.span, queue_id=tx.id, reason=str(error))
            raise Refused(NOT_NOW) from error
        except Overrun as error:
            await self._overrun(tx, content, str(error))
            return None
        return Subject(
            facts=facts,
            findings=tx.findings or Findings(),
            scanned=scanned,
            content=content,
            span=tx.client.span,
            queue_id=tx.id,
        )

    async def _overrun(self, tx: Transaction, content: bytes | Path, reason: str) -> None:
        """Defer the message, or hold it when it comes again and again.  Refused."""
        digest = await asyncio.to_thread(partial(body_digest, content, len(tx.body.header)))
        times = self._unscannable.again(digest)
        is_held = times > DEFERRALS
        policy = "hold" if is_held else "defer"
        events.UNSCANNABLE(tx.client.span, queue_id=tx.id, reason=reason, times=times, policy=policy)
        if not is_held:
            raise Refused(UNSCANNABLE)
        if tx.held is None:
            tx.held, tx.held_by = f"unscannable: {reason}", "spam"


def facts_of(tx: Transaction) -> Facts:
    """What is known of a transaction beside its content."""
    client = tx.client
    address, helo = tx.came_from or (client.address, client.helo)
    return Facts(
        address=address,
        helo=helo,
        return_path=tx.sender,
        recipients=tuple(tx.given[:200]),
        account=client.account or "",
        is_tls=client.tls is not None,
        is_utf8=tx.smtputf8,
        is_8bit=tx.is_8bit,
        is_trusted=tx.trusted,
        now=tx.started,
    )


def _tell(tx: Transaction, verdict: Verdict, elapsed: float) -> None:
    span = tx.client.span
    tags = [_shown(each) for each in reversed(verdict.tags) if each.score]
    where = [each.tag.name for each in verdict.tags if not each.score and is_source_tag(each.tag.name)]
    events.CLASSIFY(
        span,
        queue_id=tx.id,
        result="spam" if verdict.is_spam else "ham",
        score=verdict.score,
        policy=verdict.action.value,
        tags=[*tags[:_TOLD], *where],
        elapsed=elapsed,
    )


def _tell_action(tx: Transaction, verdict: Verdict, to: Sequence[str]) -> None:
    if verdict.action is not Action.TAG:
        events.VERDICT(
            tx.client.span,
            queue_id=tx.id,
            score=verdict.score,
            policy=verdict.action.value,
            reason=verdict.reason,
            to=list(to[:_TOLD]),
        )


def _shown(each: Weighed) -> str:
    return f"{each.tag.name}={each.score if isinstance(each.score, Action) else format(each.score, 'g')}"


def _act(tx: Transaction, verdict: Verdict) -> None:
    if verdict.action is Action.REJECT:
        raise Refused(REFUSED)
    if verdict.action is Action.DISCARD:
        raise Discarded(verdict.reason)
    if verdict.action is Action.HOLD and tx.held is None:
        tx.held, tx.held_by = verdict.reason, "spam"


def _for_each(tx: Transaction, verdicts: dict[str, Verdict]) -> Verdict:
    """Do for each recipient what its own verdict says; the one that is left for the message as a whole.

    That is to refuse or to drop it when nobody is left who takes it, to hold it when all who are left do.
    """
    for_whom: dict[Action, list[str]] = {action: [] for action in Action}
    for address, verdict in verdicts.items():
        for_whom[verdict.action].append(address)
    for addresses in for_whom.values():
        if addresses:
            _tell_action(tx, verdicts[addresses[0]], addresses)
    taken = for_whom[Action.TAG] + for_whom[Action.HOLD]
    if not taken and not for_whom[Action.DISCARD]:
        return verdicts[for_whom[Action.REJECT][0]]
    for address in for_whom[Action.REJECT]:
        tx.take_out(mailbox_key(address), refused=True)
        tx.replies[address] = REFUSED
    if not taken:
        return verdicts[for_whom[Action.DISCARD][0]]
    for address in for_whom[Action.DISCARD]:
        tx.take_out(mailbox_key(address), refused=False)
    if for_whom[Action.TAG]:
        for address in for_whom[Action.HOLD]:
            tx.hold(mailbox_key(address), verdicts[address].reason)
            tx.held_by = "spam"
    return mildest([verdicts[address] for address in taken])


def _marked(tx: Transaction, marks: Marks, result: str, status: str, fields: str) -> Marks:
    """The marks with our fields, and without those that others wrote in our names."""
    names = {name.lower() for name in (result, status) if name}
    header = tx.body.header if marks.header is None else marks.header
    if any(name.encode() in header.lower() for name in names):
        block = HeaderBlock.parse(header)
        if block.remove(names):
            marks = msgspec.structs.replace(marks, header=block.encode())
    if not fields:
        return marks
    return msgspec.structs.replace(marks, fields=marks.fields + fields.encode("ascii"))
