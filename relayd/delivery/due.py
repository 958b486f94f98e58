"""What follows from the outcomes of an attempt by the clock: the next attempt, notice and expiry of each recipient.

Pure.  A recipient expires here and nowhere else: by an attempt that was made and failed at or after its expiry.  So
time on hold, a pause, a stopped daemon or a jump of the clock never gives up mail untried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from relayd.mail.reply import Reply
from relayd.queue.message import Job, Outcome, Recipient, Result
from relayd.routing.schedule import Schedule

BUSY_DELAY = 30.0
"""Seconds after which an attempt that could not be made is tried, when nobody named a time."""

INTERNAL = Reply(451, "4.3.0", "The attempt failed by a fault of this server")


def conclude(
    job: Job, outcomes: Sequence[Outcome], schedule: Schedule, now: float, chance: Callable[[], float]
) -> list[Outcome]:
    """The outcomes with their times, one for each recipient of the job, in the job's order.

    A recipient that the attempt said nothing of is deferred (unknown failure is temporary).  now: Unix seconds.
    """
    recipients = job.message.recipients
    if len(outcomes) == 1 and len(recipients) == 1 and outcomes[0].result in _FINAL:
        return list(outcomes)
    by_number = {outcome.number: outcome for outcome in outcomes}
    concluded = []
    for recipient in recipients:
        outcome = by_number.get(recipient.number)
        if outcome is None:
            outcome = failed(recipient, INTERNAL)
        if outcome.result is Result.DEFERRED:
            outcome = _deferred(job, recipient, outcome, schedule, now, chance())
        concluded.append(outcome)
    return concluded


_FINAL = (Result.DELIVERED, Result.RELAYED, Result.BOUNCED, Result.EXPIRED)


def _deferred(
    job: Job, recipient: Recipient, outcome: Outcome, schedule: Schedule, now: float, chance: float
) -> Outcome:
    """One deferral: expired, or with the times of what comes next."""
    by = job.message.terms.by
    if outcome.uncounted:
        due = outcome.next_attempt
        if due is None:
            return replace(outcome, next_attempt=now + BUSY_DELAY * (1.0 + chance))
        if by is None or due <= now:
            return outcome
        due = by if now < by < due else due  # what keeps it does not keep its sender from hearing of it
        return replace(outcome, next_attempt=due, next_notify=_notify(job, recipient, outcome, schedule, now))
    if now >= recipient.expires:
        return replace(outcome, result=Result.EXPIRED, next_attempt=None, next_notify=None)
    due = schedule.retry_at(recipient.attempts, now, chance)
    due = schedule.last_call(due, recipient.expires, now, chance)
    if by is not None and now < by < due:  # the deadline is looked at when it comes
        due = by
    if outcome.next_attempt is not None:  # the peer or the attempt named a later time
        due = max(due, outcome.next_attempt)
    notify = _notify(job, recipient, outcome, schedule, now)
    maybe = now if outcome.maybe_delivered else None
    return replace(outcome, next_attempt=due, next_notify=notify, maybe_at=maybe)


def _notify(job: Job, recipient: Recipient, outcome: Outcome, schedule: Schedule, now: float) -> float | None:
    """The notice after the one that is due now, if one is; infinity: no more."""
    if not notice_due(recipient, now):
        return outcome.next_notify
    begun = job.message.terms.release or job.message.created
    return schedule.next_notify(begun, now) or math.inf


def notice_due(recipient: Recipient, now: float) -> bool:
    """Whether a deferral at `now` is one that the sender is told of, if the sender wants it."""
    return recipient.next_notify is not None and recipient.next_notify <= now < recipient.expires


def failed(recipient: Recipient, reply: Reply) -> Outcome:
    """The deferral of a recipient whose attempt went wrong on our side."""
    return Outcome(
        number=recipient.number,
        address=recipient.address,
        result=Result.DEFERRED,
        reply=reply,
        status=reply.text,
    )


def retried(outcome: Outcome, schedule: Schedule, now: float, chance: float) -> Outcome:
    """The deferral that stands for a final failure whose report could not be written; other outcomes as they are."""
    if outcome.result not in (Result.BOUNCED, Result.EXPIRED):
        return outcome
    return replace(outcome, result=Result.DEFERRED, next_attempt=schedule.retry_at(1, now, chance))


def postponed(job: Job, reply: Reply, due: float | None, destination: dict[int, str] | None = None) -> list[Outcome]:
    """Outcomes of a job whose attempt was not made: due again at `due`, perhaps at another destination by number."""
    moved = destination or {}
    return [
        replace(
            failed(recipient, reply),
            uncounted=True,
            next_attempt=due,
            destination=moved.get(recipient.number),
        )
        for recipient in job.message.recipients
    ]


def next_of(outcomes: Sequence[Outcome]) -> float:
    """When the first of the recipients is due again; infinity when none is."""
    if len(outcomes) == 1:
        due = outcomes[0].next_attempt
        return math.inf if due is None else due
    return min((each.next_attempt for each in outcomes if each.next_attempt is not None), default=math.inf)


def was_made(outcomes: Sequence[Outcome]) -> bool:
    """Whether anybody was tried: what waits for a source or a budget, or is suppressed, says nothing of the hosts."""
    return any(not outcome.uncounted for outcome in outcomes)


def unreachable(outcomes: Sequence[Outcome]) -> bool:
    """Whether an attempt failed because no host could be reached, or none would talk: what shrinks the window."""
    return bool(outcomes) and all(
        outcome.result in (Result.DEFERRED, Result.EXPIRED)
        and not outcome.uncounted
        and (outcome.reply.enhanced.startswith("4.4.") or outcome.reply.code == 421)
        for outcome in outcomes
    )
