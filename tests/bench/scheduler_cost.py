"""What the scheduler itself costs for one message: CPU microseconds from `admit` to the recorded outcome.

Queue and attempts answer after one turn of the loop; the same work without a scheduler is taken off.

    python -m tests.bench.scheduler_cost [messages] [sessions]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from relayd.blobs.source import BodySource
from relayd.delivery.bounce import Bounces
from relayd.delivery.permit import Permit
from relayd.delivery.scheduler import Scheduler
from relayd.events.event import EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.queue.message import Body, Job, NewMessage, NewRecipient, Origin, Outcome
from relayd.routing.next_hop import NextHop
from relayd.routing.options import BreakerOptions
from tests.delivery.stage import Local, delivered, jobs_of, router, settings
from tests.rig.signing import signing_with


class NoQueue:
    """Takes everything, holds nothing."""

    paused = None
    unrecorded = 0

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.settled = 0

    def suspensions(self) -> Iterable[Any]:
        return ()

    async def lapse(self) -> None:
        return

    async def lease_due(self, now: float, **more: Any) -> list[Job]:
        return []

    async def next_due(self, saturated: Collection[str]) -> float | None:
        return None

    async def settle(self, job: Job, outcomes: Sequence[Outcome], generated: Sequence[NewMessage] = ()) -> bool:
        await asyncio.sleep(0)
        self.settled += 1
        return True

    async def release_leases(self, job: Job) -> None:
        raise NotImplementedError

    async def suspend(self, destination: str, until: float | None, by: str, reason: str) -> None:
        raise NotImplementedError

    async def unsuspend(self, destination: str) -> None:
        raise NotImplementedError

    async def open_body(self, message_id: int) -> BodySource:
        raise NotImplementedError


class Quick:
    """Delivers everything."""

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        return [f"mx.{next_hop.host}"]

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        await asyncio.sleep(0)
        return list(delivered(job, next_hop))


async def measure(messages: int, sessions: int) -> tuple[float, float]:
    """CPU seconds with and without the scheduler."""
    queue, stream = NoQueue(), EventStream(time.time)
    span, using, routing = Span(stream), settings(breaker=BreakerOptions()), router()
    bounces = Bounces(
        queue,
        routing,
        Local(),
        hostname="relay.example",
        ids=Snowflakes(),
        schedule=using.schedule,
        span=span,
        seed=lambda: 1,
        signing=signing_with(),
    )
    scheduler = Scheduler(queue, Quick(), routing, bounces, using, stream=stream, chance=lambda: 0.5)
    jobs = [_job(number) for number in range(messages)]
    runner = asyncio.create_task(scheduler.run())
    await asyncio.sleep(0)

    async def feed(mine: list[Job]) -> None:
        for job in mine:
            scheduler.plan(time.time())
            assert scheduler.admit(job.destination, job.message.sender_key, 1)
            scheduler.take(job)
            while scheduler._lanes.waiting > sessions:
                await asyncio.sleep(0)

    began = time.process_time()
    await feed(jobs)
    while queue.settled < messages:
        await asyncio.sleep(0)
    with_scheduler = time.process_time() - began
    await scheduler.drain(1)
    await runner
    began = time.process_time()
    quick, hop = Quick(), routing.next_hop("dest.example")
    for job in jobs:
        await queue.settle(job, await quick.run(job, hop))
    return with_scheduler, time.process_time() - began


def _job(number: int) -> Job:
    content = b"Subject: x\r\n\r\n" + b"x" * 4000
    now = time.time()
    new = NewMessage(
        id=number << 21,
        origin=Origin.SUBMITTED,
        return_path="a@origin.example",
        recipients=(
            NewRecipient(
                address="b@dest.example",
                destination="dest.example",
                next_attempt=now + 120,
                next_notify=now + 86400,
                expires=now + 432000,
            ),
        ),
        body=Body(head=b"", content=content, size=len(content)),
        created=now,
        sender_key="a@origin.example",
        leased=True,
    )
    return jobs_of(new, now + 3600)[0]


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    with_scheduler, without = asyncio.run(measure(messages, sessions))
    print(f"{(with_scheduler - without) / messages * 1e6:.1f} us a message ({messages} messages)")


if __name__ == "__main__":
    main()
