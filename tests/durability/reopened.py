"""A queue opened again on what is left of its data directory, and emptied."""

from __future__ import annotations

from pathlib import Path

from relayd.blobs.spool import Blobs
from relayd.database.sqlite import open_sqlite
from relayd.events.event import EventStream, Span
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Outcome, Result
from relayd.queue.schema import MIGRATIONS
from relayd.queue.store import Queue
from tests.durability.load import token_of

LATER = 4_000_000_000.0
"""Unix time at which everything is due."""


async def drain(directory: Path) -> set[tuple[int, str]]:
    """Open, deliver everything to nowhere, close: (queue id, recipient) of what was there, every body whole.

    AssertionError for a body that is missing or torn, and for books that do not balance.
    """
    broken: list[str] = []
    span = Span(EventStream(lambda: LATER))
    database = await open_sqlite(directory / "queue.db", MIGRATIONS, span, on_broken=broken.append)
    try:
        queue = Queue(database, Blobs(directory / "spool", lambda: LATER), lambda: LATER, span)
        await queue.open()
        found: set[tuple[int, str]] = set()
        while jobs := await queue.lease_due(
            LATER, per_destination=500, limit=500, saturated=(), retry_at=lambda attempts, now: now + 1
        ):
            for job in jobs:
                found |= await _deliver(queue, job)
        assert (await queue.audit()).difference == 0
        assert (await queue.counts()).messages == 0
        await queue.close()
        assert broken == []
        return found
    finally:
        await database.close()


async def _deliver(queue: Queue, job: Job) -> set[tuple[int, str]]:
    message = job.message
    body = await queue.open_body(message.id)
    try:
        content = b""
        while chunk := await body.read(1 << 20):
            content += chunk
    finally:
        body.close()
    assert len(content) == message.size
    token = token_of(content).encode()
    assert content.endswith(b" " + token + b"\r\n"), f"the body of {message.id} is torn"
    outcomes = [
        Outcome(number=each.number, address=each.address, result=Result.DELIVERED, reply=Reply(250, "2.0.0", "taken"))
        for each in message.recipients
    ]
    await queue.settle(job, outcomes)
    return {(message.id, each.address) for each in message.recipients}
