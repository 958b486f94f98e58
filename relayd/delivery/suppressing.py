"""What stands before an attempt: recipients on the suppression list are bounced untried, and refusals fill the list.

Only mail of trusted senders with a return path is looked at: relayed inbound mail and reports pass.  A recipient comes
on the list by one kind of outcome only: refused for good, by a rule that says that the address is dead, in a class that
`queue.suppression.causes` names.  What our own next hops by LMTP say is about mailboxes of ours and fills nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from relayd.database.interface import DatabaseError
from relayd.delivery.due import failed
from relayd.delivery.parts import Attempter
from relayd.delivery.permit import Permit
from relayd.events import suppression as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Message, Origin, Outcome, Recipient, Result
from relayd.reputation.suppression import ListFull, SuppressionList, sentence
from relayd.reputation.suppression_rows import Entry, Evidence
from relayd.routing.next_hop import NextHop, Protocol
from relayd.telemetry.render import rfc3339

SUPPRESSED = "suppressed"
"""The class of such a bounce, as events and metrics show it."""

UNREADABLE = Reply(451, "4.3.0", "The suppression list cannot be read now")


class Suppressing:
    """An Attempter before another one.  is_ours: whether an address is in a domain of ours; those are never listed."""

    def __init__(
        self,
        attempts: Attempter,
        suppressions: SuppressionList,
        is_ours: Callable[[str], bool],
        clock: Callable[[], float],
        span: Span,
    ) -> None:
        self._attempts = attempts
        self._list = suppressions
        self._is_ours = is_ours
        self._clock = clock
        self._span = span

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        """See `parts.Attempter`."""
        return await self._attempts.mx_hosts(next_hop)

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        """One attempt for those who are not on the list; an outcome for each."""
        message = job.message
        if (
            not self._list.is_active
            or message.origin is not Origin.SUBMITTED
            or not message.return_path
            or next_hop.protocol is Protocol.LMTP
        ):
            return await self._attempts.run(job, next_hop, permit)
        stopped: list[Outcome] = []
        left: list[Recipient] = []
        for recipient in message.recipients:
            outcome = await self._stopped(message, recipient)
            if outcome is None:
                left.append(recipient)
            else:
                stopped.append(outcome)
        if stopped and not left:
            return stopped
        if stopped:
            job = replace(job, message=replace(message, recipients=tuple(left)))
        outcomes = await self._attempts.run(job, next_hop, permit)
        await self._learn(message, outcomes)
        return stopped + outcomes

    async def _stopped(self, message: Message, recipient: Recipient) -> Outcome | None:
        """The outcome of a recipient that is not to be tried; None: it is."""
        address = recipient.address
        if self._is_ours(address):
            return None
        try:
            entry = await self._list.find(address, message.account, message.return_path)
        except DatabaseError as error:  # temporary, as every failure of ours
            events.ERROR(self._span, to=address, reason=str(error))
            return replace(failed(recipient, UNREADABLE), uncounted=True)
        if entry is None:
            return None
        reply = Reply(550, "5.7.1", sentence(entry, rfc3339(entry.since)[:10]))
        events.BOUNCED(
            self._span,
            queue_id=message.id,
            to=address,
            scope=entry.scope,
            cause=entry.cause,
            details=reply.text,
        )
        return Outcome(
            number=recipient.number,
            address=address,
            result=Result.BOUNCED,
            reply=reply,
            status=f"Not sent: {reply.text}",
            ours=True,
            uncounted=True,
            class_=SUPPRESSED,
            rule=entry.cause,
        )

    async def _learn(self, message: Message, outcomes: Sequence[Outcome]) -> None:
        """Put on the list whoever was found to be dead."""
        options = self._list.options
        for outcome in outcomes:
            if outcome.result is not Result.BOUNCED or not outcome.hard or outcome.class_ not in options.causes:
                continue
            if self._is_ours(outcome.address):
                continue
            try:
                await self._list.add(self._entry(message, outcome))
            except ListFull:
                return  # said by the list
            except DatabaseError as error:
                events.ERROR(self._span, to=outcome.address, reason=str(error))

    def _entry(self, message: Message, outcome: Outcome) -> Entry:
        now, reply = self._clock(), outcome.reply
        return Entry(
            scope=self._list.scope(message.account, message.return_path),
            address=outcome.address,
            cause=outcome.class_,
            since=now,
            until=now + self._list.options.keep,
            evidence=Evidence(
                queue_id=message.id,
                host=outcome.host,
                code=reply.code,
                enhanced=reply.enhanced,
                reply=" ".join(reply.text.split())[:500],
                rule=outcome.rule,
            ),
        )
