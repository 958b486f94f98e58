"""A queue opened again on what is left of its data directory, and emptied."""

from __future__ import annotations

import asyncio
from pathlib import Path

from relayd.events.event import EventStream, Span
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Outcome, Result
from relayd.queue.opening import QueueOptions, Surroundings, open_queue
from relayd.queue.options import SpaceOptions
from relayd.queue.store import Queue

LATER = 4_000_000_000.0
"""Unix time at which everything is due."""


async def drain(directory: Path) -> dict[tuple[int, str], bytes]:
    """Open as the daemon does, deliver everything to nowhere, close: (queue id, recipient) -> the content.

    AssertionError for a message without its body, and for books that do not balance.
    """
    broken: list[str] = []
    span = Span(EventStream(lambda: LATER))
    around = Surroundings(clock=lambda: LATER, span=span, on_broken=broken.append)
    opened = await open_queue(directory, QueueOptions(space=SpaceOptions(min_free=0, reserve=0)), 1, around)
    try:
        assert opened.recovery.corrupt == ()
        queue = opened.queue
        found: dict[tuple[int, str], bytes] = {}
        while jobs := await queue.lease_due(
            LATER, per_destination=500, limit=500, saturated=(), retry_at=lambda attempts, now: now + 1
        ):
            for delivered in await asyncio.gather(*(_deliver(queue, job) for job in jobs)):
                found |= delivered
        assert (await queue.audit()).difference == 0
        assert (await queue.counts()).messages == 0
        assert broken == []
        return found
    finally:
        await opened.close()


async def _deliver(queue: Queue, job: Job) -> dict[tuple[int, str], bytes]:
    message = job.message
    body = await queue.open_body(message.id)
    try:
        content = b""
        while chunk := await body.read(1 << 20):
            content += chunk
    finally:
        body.close()
    outcomes = [
        Outcome(number=each.number, address=each.address, result=Result.DELIVERED, reply=Reply(250, "2.0.0", "taken"))
        for each in message.recipients
    ]
    await queue.settle(job, outcomes)
    return {(message.id, each.address): content for each in message.recipients}
