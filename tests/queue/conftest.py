"""A queue in a temporary directory, with a clock that the test moves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relayd.events.event import Event, EventStream, Span
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.queue.message import Body, Job, NewMessage, NewRecipient, Origin, Outcome, Result
from relayd.queue.opening import OpenQueue, QueueOptions, Surroundings, open_queue
from relayd.queue.options import DeletedOptions, LimitOptions, SpaceOptions

START = 1_800_000_000.0
DAY = 86400.0


@dataclass
class Clock:
    """Unix time that stands still until it is moved."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """An open queue and what is around it."""

    directory: Path
    clock: Clock = field(default_factory=Clock)
    events: list[Event] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    free: int = 1 << 40
    options: SpaceOptions = field(default_factory=lambda: SpaceOptions(reserve=1 << 16))
    limits: LimitOptions = field(default_factory=LimitOptions)
    deleted: DeletedOptions = field(default_factory=DeletedOptions)
    ids: Snowflakes = field(default_factory=Snowflakes)
    opened: OpenQueue | None = None

    @property
    def o(self) -> OpenQueue:
        """What is open."""
        assert self.opened is not None
        return self.opened

    async def open(self, directory: Path | None = None, **around: Any) -> OpenQueue:
        """Open (again)."""
        span = Span(EventStream(self.clock, [self.events.append]))
        self.opened = await open_queue(
            directory or self.directory,
            QueueOptions(space=self.options, limits=self.limits, deleted=self.deleted),
            1,
            Surroundings(
                clock=self.clock,
                span=span,
                on_broken=self.broken.append,
                measure=lambda _: self.free,
                **around,
            ),
        )
        return self.opened

    async def reopen(self) -> OpenQueue:
        """Close and open."""
        await self.o.close()
        return await self.open()

    def kinds(self) -> list[str]:
        """Ids of the events so far."""
        return [event.kind.id for event in self.events]

    def new(
        self,
        *addresses: str,
        sender: str = "sender@example.org",
        content: bytes | Path = b"Subject: x\r\n\r\nHello\r\n",
        due: float | None = None,
        **fields: Any,
    ) -> NewMessage:
        """A message; each address's destination is its domain."""
        to = addresses or ("one@a.example",)
        size = len(content) if isinstance(content, bytes) else os.stat(content).st_size
        recipients = tuple(
            NewRecipient(
                address=address,
                destination=address.partition("@")[2],
                next_attempt=self.clock.now if due is None else due,
                next_notify=self.clock.now + DAY,
                expires=self.clock.now + 5 * DAY,
            )
            for address in to
        )
        message = NewMessage(
            id=self.ids.issue(self.clock.now),
            origin=Origin.RELAYED,
            return_path=sender,
            recipients=recipients,
            body=Body(head=b"Received: y\r\n", content=content, size=size + 13),
            created=self.clock.now,
            sender_key=sender,
            counts={"accepted": len(to)},
        )
        return replace(message, **fields)

    async def lease(
        self, limit: int = 100, per_destination: int = 100, saturated: tuple[str, ...] = (), wait: float = 60.0
    ) -> list[Job]:
        """What is due; the next attempt is `wait` seconds away."""
        return await self.o.queue.lease_due(
            self.clock.now,
            per_destination=per_destination,
            limit=limit,
            saturated=saturated,
            retry_at=lambda attempts, now: now + wait * attempts,
        )

    async def holds(self) -> int:
        """Pending recipients; fails when the invariant does not hold."""
        audit = await self.o.queue.audit()
        assert audit.difference == 0, audit
        return audit.queued


REPLIES = {
    Result.DELIVERED: Reply(250, "2.0.0", "OK"),
    Result.RELAYED: Reply(250, "2.0.0", "OK"),
    Result.DEFERRED: Reply(451, "4.3.0", "Later"),
    Result.BOUNCED: Reply(550, "5.1.1", "No such user"),
    Result.EXPIRED: Reply(451, "4.4.7", "Expired"),
}


def outcomes(job: Job, result: Result, **fields: Any) -> list[Outcome]:
    """The same result for every recipient of a job."""
    return [
        Outcome(number=to.number, address=to.address, result=result, reply=REPLIES[result], status="said", **fields)
        for to in job.message.recipients
    ]


Made = Callable[..., NewMessage]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """An open queue."""
    rig = Rig(tmp_path / "data")
    await rig.open()
    yield rig
    await rig.o.close()
