"""A scheduler on a real queue, with attempts that a test answers and a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from relayd.blobs.spool import Blobs
from relayd.database.sqlite import open_sqlite
from relayd.delivery.bounce import Bounces
from relayd.delivery.permit import Permit
from relayd.delivery.scheduler import Scheduler, Settings
from relayd.events.event import Event, EventStream, Span
from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.mailauth.signature_options import SignatureOptions
from relayd.queue.daily import DailyCounts
from relayd.queue.filter import Filter
from relayd.queue.message import (
    Body,
    Job,
    Message,
    NewMessage,
    NewRecipient,
    Origin,
    Outcome,
    Recipient,
    Result,
    State,
)
from relayd.queue.schema import MIGRATIONS
from relayd.queue.store import Queue
from relayd.routing.next_hop import MessageTls, NextHop
from relayd.routing.options import BreakerOptions, ConcurrencyOptions, OutboundOptions, RouteOptions, ScheduleOptions
from relayd.routing.route import Router
from relayd.routing.schedule import Schedule
from relayd.routing.shaping.rules import NO_SHAPING, ShapingRules
from tests.rig.signing import signing_with

START = 1_800_000_000.0
HEADER = b"From: a@origin.example\r\nSubject: hello\r\nMessage-ID: <m1@origin.example>\r\n"
CONTENT = HEADER + b"\r\nThe body.\r\n"

Answer = Callable[[Job, NextHop], Sequence[Outcome]]


class Clock:
    """Unix time that only a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Local:
    """Local names as bounces ask for them."""

    domains: frozenset[str] = frozenset({"relay.example"})
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    postmaster: tuple[str, ...] = ("ops@admin.example",)

    def targets(self, name: str) -> tuple[str, ...] | None:
        return self.names.get(name)


def outcomes_of(job: Job, result: Result, reply: Reply) -> list[Outcome]:
    """The same outcome for every recipient."""
    return [
        Outcome(number=each.number, address=each.address, result=result, reply=reply, host="mx.example")
        for each in job.message.recipients
    ]


def delivered(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
    return outcomes_of(job, Result.DELIVERED, Reply(250, "2.0.0", "ok"))


def relayed(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
    return outcomes_of(job, Result.RELAYED, Reply(250, "2.0.0", "ok"))


def deferred(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
    return outcomes_of(job, Result.DEFERRED, Reply(450, "4.2.0", "later"))


def bounced(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
    return outcomes_of(job, Result.BOUNCED, Reply(550, "5.1.1", "no such user"))


class FakeAttempts:
    """Answers attempts with `answer`; while `gates[destination]` is there, its attempts wait for it."""

    def __init__(self) -> None:
        self.answer: Answer = delivered
        self.started: list[Job] = []
        self.hops: list[NextHop] = []
        self.running: dict[str, int] = {}
        self.peak: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.mx: dict[str, list[str] | None] = {}
        self.permits: list[Permit | None] = []

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        self.permits.append(permit)
        self.started.append(job)
        self.hops.append(next_hop)
        key = job.destination
        self.running[key] = self.running.get(key, 0) + 1
        self.peak[key] = max(self.peak.get(key, 0), self.running[key])
        try:
            if key in self.gates:
                await self.gates[key].wait()
            return list(self.answer(job, next_hop))
        finally:
            self.running[key] -= 1

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        return self.mx.get(next_hop.host, [f"mx.{next_hop.host}"])

    def close(self, destination: str) -> None:
        self.gates[destination] = asyncio.Event()

    def open(self, destination: str) -> None:
        self.gates.pop(destination).set()

    def senders(self) -> list[str]:
        return [job.message.sender_key for job in self.started]


@dataclass
class Stage:
    """All that a test of the scheduler handles."""

    queue: Queue
    attempts: FakeAttempts
    scheduler: Scheduler
    bounces: Bounces
    clock: Clock
    ids: Snowflakes
    local: Local
    events: list[Event]
    looks: int = 0

    def __post_init__(self) -> None:
        look = self.scheduler._round

        async def counted() -> float:
            delay = await look()
            self.looks += 1
            return delay

        self.scheduler._round = counted  # type: ignore[method-assign]

    def new(
        self,
        *recipients: str,
        sender: str = "a@origin.example",
        sender_key: str | None = None,
        trusted: bool = True,
        notify: frozenset[Notify] | None = None,
        ret: str | None = None,
        origin: Origin = Origin.SUBMITTED,
        leased: bool = False,
        tls: MessageTls = MessageTls.USUAL,
    ) -> NewMessage:
        """A message for the given addresses."""
        plan = self.scheduler.plan(self.clock.now)
        return NewMessage(
            id=self.ids.issue(self.clock.now),
            origin=origin,
            return_path=sender,
            recipients=tuple(
                NewRecipient(
                    address=each,
                    destination=self.scheduler.destination(each),
                    next_attempt=plan.due_again if leased else plan.first_attempt,
                    next_notify=plan.next_notify,
                    expires=plan.expires,
                    notify=notify,
                )
                for each in recipients
            ),
            body=Body(head=b"", content=CONTENT, size=len(CONTENT)),
            created=self.clock.now,
            sender_key=sender if sender_key is None else sender_key,
            trusted=trusted,
            ret=ret,
            counts={"accepted": len(recipients)},
            leased=leased,
            tls=tls,
        )

    async def send(self, *recipients: str, **more: object) -> int:
        """Queue a message the way reception does, in memory where there is room; its id."""
        sender = str(more.get("sender_key") or more.get("sender") or "a@origin.example")
        destinations = {self.scheduler.destination(each) for each in recipients}
        room = all(self.scheduler.admit(each, sender, len(recipients)) for each in destinations)
        new = self.new(*recipients, leased=room, **more)  # type: ignore[arg-type]
        await self.queue.enqueue(new)
        if room:
            for job in jobs_of(new, self.scheduler.plan(self.clock.now).leased_until):
                self.scheduler.take(job)
        return new.id

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Let the loop run until the condition holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)

    async def idle(self) -> None:
        """Let everything that runs end, and one more look at the queue be taken."""
        await self.until(lambda: self.scheduler.stats().running + self.scheduler.stats().unrecorded == 0)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock and tell the scheduler, as its timer would."""
        self.clock.now += seconds
        self.scheduler.changed()

    async def attempts_made(self, count: int) -> None:
        """Wait until so many attempts were started, and all is recorded."""
        await self.until(lambda: len(self.attempts.started) >= count)
        await self.idle()

    def of_kind(self, id: str) -> list[Event]:
        """The stated events of one kind."""
        return [event for event in self.events if event.kind.id == id]

    async def rows(self, id: int) -> tuple[Recipient, ...]:
        """The recipients of a queued message; () when it is gone."""
        message = await self.queue.get(id)
        return message.recipients if message is not None else ()

    async def generated(self) -> list[Message]:
        """The queued messages of our own."""
        ids, _ = await self.queue.list(Filter())
        return [each for each in await self.queue.get_many(ids) if each.origin in (Origin.DSN, Origin.ALERT)]

    async def content(self, id: int) -> bytes:
        """The octets of a queued message."""
        source = await self.queue.open_body(id)
        try:
            return await source.read(1 << 24)
        finally:
            source.close()


def jobs_of(new: NewMessage, until: float) -> list[Job]:
    """The jobs that reception makes of a message it hands over."""
    jobs = []
    for destination in dict.fromkeys(each.destination for each in new.recipients):
        recipients = tuple(
            Recipient(
                number=number,
                address=each.address,
                destination=destination,
                state=State.SCHEDULED,
                attempts=1,
                next_attempt=each.next_attempt,
                next_notify=each.next_notify,
                expires=each.expires,
                notify=each.notify,
                orcpt=each.orcpt,
            )
            for number, each in enumerate(new.recipients)
            if each.destination == destination
        )
        message = message_of(new, recipients)
        jobs.append(Job(message=message, destination=destination, until=until, body=new.body))
    return jobs


def message_of(new: NewMessage, recipients: tuple[Recipient, ...]) -> Message:
    """A queued message as its rows would say."""
    return Message(
        id=new.id,
        origin=new.origin,
        return_path=new.return_path,
        created=new.created,
        size=new.body.size,
        recipients=recipients,
        sender_key=new.sender_key,
        trusted=new.trusted,
        smtputf8=new.smtputf8,
        tls=new.tls,
        ret=new.ret,
        envid=new.envid,
        account=new.account,
        listener=new.listener,
        client=new.client,
        message_id=new.message_id,
        blob_hash="",
        eight_bit=new.body.eight_bit,
        utf8_header=new.body.utf8_header,
        signed=new.body.signed,
    )


def settings(
    *,
    schedule: ScheduleOptions | None = None,
    concurrency: ConcurrencyOptions | None = None,
    breaker: BreakerOptions | None = None,
    shaping: ShapingRules = NO_SHAPING,
) -> Settings:
    """What a reload may replace."""
    return Settings(
        schedule=Schedule(schedule),
        concurrency=concurrency or ConcurrencyOptions(),
        breaker=breaker or BreakerOptions(attempts=0),
        shaping=shaping,
    )


def router(
    routes: dict[str, RouteOptions] | None = None, domains: dict[str, str] | None = None, default: str = "mx"
) -> Router:
    """A router of the given routes."""
    return Router(OutboundOptions(next_hop=default), routes, domains)


@asynccontextmanager
async def stage(
    directory: Path,
    *,
    using: Settings | None = None,
    routing: Router | None = None,
    run: bool = True,
    clock: Clock | None = None,
    may_attempt: Callable[[], bool] = lambda: True,
    signatures: dict[str, SignatureOptions] | None = None,
) -> AsyncIterator[Stage]:
    """A scheduler at work on the queue in `directory`; drained when the block ends."""
    clock = clock or Clock()
    events: list[Event] = []
    stream = EventStream(clock, [events.append])
    span = Span(stream)
    broken: list[str] = []
    database = await open_sqlite(directory / "queue.db", MIGRATIONS, span, on_broken=broken.append)
    queue = Queue(database, Blobs(directory / "blobs", clock), clock, span)
    await queue.open()
    using = using or settings()
    routing = routing or router()
    ids, local = Snowflakes(), Local()
    bounces = Bounces(
        queue,
        routing,
        local,
        hostname="relay.example",
        ids=ids,
        schedule=using.schedule,
        span=span,
        seed=lambda: 4711,
        signing=signing_with(signatures, span),
    )
    attempts = FakeAttempts()
    scheduler = Scheduler(
        queue,
        attempts,
        routing,
        bounces,
        using,
        stream=stream,
        chance=lambda: 0.0,
        may_attempt=may_attempt,
        counts=DailyCounts(queue),
    )
    runner = asyncio.create_task(scheduler.run()) if run else None
    try:
        yield Stage(queue, attempts, scheduler, bounces, clock, ids, local, events)
    finally:
        await scheduler.drain(0.2)
        if runner is not None:
            await runner
        await queue.close()
        await database.close()
    assert not broken
