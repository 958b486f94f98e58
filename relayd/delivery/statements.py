"""The events that state what was recorded for a job."""

from __future__ import annotations

from collections.abc import Sequence

from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.queue.message import Job, Outcome, Result


def state(span: Span, job: Job, outcomes: Sequence[Outcome]) -> None:
    """State the deferrals and expiries of a job: the attempt itself knows neither."""
    for outcome, recipient in zip(outcomes, job.message.recipients, strict=True):
        if outcome.result is Result.DEFERRED and not outcome.uncounted:
            events.DEFERRED(
                span,
                queue_id=job.message.id,
                hostname=outcome.host,
                to=outcome.address,
                code=outcome.reply.code,
                details=outcome.status or str(outcome.reply),
                reason=str(outcome.reply),
                next_retry=outcome.next_attempt,
                expires=recipient.expires,
                total=recipient.attempts,
            )
        elif outcome.result is Result.EXPIRED:
            events.EXPIRED(
                span,
                queue_id=job.message.id,
                hostname=outcome.host,
                to=outcome.address,
                details=outcome.status or str(outcome.reply),
                reason=str(outcome.reply),
            )
