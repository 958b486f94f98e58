"""Whatever operators, attempts and restarts do, in whatever order: nobody is lost, invented or delivered twice."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Job, NewMessage, Result
from tests.queue.conftest import DAY, Rig, outcomes

_WORDS = st.sampled_from(["enqueue", "enqueue", "lease", "lease", "settle", "settle", "give back", "wait", "restart"])
_VERBS = st.sampled_from(["delete", "undo", "cancel", "purge", "purge deleted", "hold", "release", "reroute", "retry"])
_STEPS = st.lists(st.tuples(_WORDS | _VERBS, st.integers(0, 7), st.sampled_from(list(Result))), max_size=25)


class Story:
    """One sequence.  delivered: (message, recipient) that an attempt handed over, and how often."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.jobs: list[Job] = []
        self.known: list[int] = []
        self.delivered: dict[tuple[int, int], int] = {}

    async def step(self, word: str, pick: int, result: Result) -> None:
        rig, actions = self.rig, self.rig.o.actions
        one = Filter(ids=[self.known[pick % len(self.known)]]) if self.known and pick else Filter()
        dead = Filter(ids=one.ids, kind=Kind.DELETED)
        simple: dict[str, Any] = {
            "delete": lambda: actions.remove(one, "ann"),
            "undo": lambda: actions.undo(one, "ann"),
            "purge": lambda: actions.remove(one, "ann", purge=True),
            "purge deleted": lambda: actions.remove(dead, "ann", purge=True),
            "hold": lambda: actions.hold(one, "ann", ""),
            "release": lambda: actions.release(one, "ann"),
            "reroute": lambda: actions.reroute(one, "hub", lambda address: f"route:{address[0]}", "ann", ""),
            "retry": lambda: actions.reschedule(one, 0.0),
        }
        if word in simple:
            await simple[word]()
        elif word == "enqueue":
            addresses = [f"{name}@{name}.example" for name in "abc"[: 1 + pick % 3]]
            new: NewMessage = rig.new(*addresses, content=b"x" * (90_000 if pick > 5 else 10))
            await rig.o.queue.enqueue(new)
            self.known.append(new.id)
        elif word == "lease":
            self.jobs += await self.lease(1 + pick)
        elif word in ("settle", "give back") and self.jobs:
            await self.end(self.jobs.pop(pick % len(self.jobs)), word, result)
        elif word == "cancel" and self.known:
            await actions.cancel(self.known[pick % len(self.known)], "abc"[pick % 3] + "@", "ann")
        elif word == "wait":
            rig.clock.now += DAY / 3
            self.jobs = [job for job in self.jobs if job.until > rig.clock.now]  # no attempt outlives its lease
            await rig.o.upkeep.tick()
        elif word == "restart":
            self.jobs.clear()  # what was in flight ended unrecorded, and brought nothing
            await rig.reopen()

    async def lease(self, limit: int) -> list[Job]:
        found = await self.rig.lease(limit=limit)
        queued = set((await self.rig.o.queue.list(Filter()))[0])
        assert {job.message.id for job in found} <= queued
        now = self.rig.clock.now
        for each in found:
            (message,) = await self.rig.o.queue.get_many([each.message.id])
            assert message.hold is None
            states = {to.number: to.state for to in message.recipients}
            assert all(states[to.number].is_pending for to in each.message.recipients)
            assert all(to.next_attempt > now for to in each.message.recipients)
        return found

    async def end(self, job: Job, word: str, result: Result) -> None:
        if word == "give back":
            await self.rig.o.queue.release_leases(job)
            return
        if result in (Result.DELIVERED, Result.RELAYED):
            for to in job.message.recipients:
                self.delivered[job.message.id, to.number] = self.delivered.get((job.message.id, to.number), 0) + 1
        await self.rig.o.queue.settle(job, outcomes(job, result, next_attempt=self.rig.clock.now + 60))

    async def check(self) -> None:
        queue = self.rig.o.queue
        await self.rig.holds()
        counts = await queue.counts()
        assert (counts.messages, counts.bytes) == (queue.totals.messages, queue.totals.bytes)
        assert all(times == 1 for times in self.delivered.values())
        files = {id for _, id in self.rig.o.blobs.files() if id is not None}
        rows = set(await queue.database.read(_files))
        assert files == rows


def _files(connection: Any) -> list[int]:
    return [id for (id,) in connection.execute("SELECT message_id FROM bodies WHERE file_from IS NOT NULL")]


async def _play(steps: list[tuple[str, int, Result]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        story = Story(rig := Rig(Path(directory) / "data"))
        await rig.open()
        try:
            for step in steps:
                await story.step(*step)
                await story.check()
            for job in story.jobs:
                await story.end(job, "settle", Result.DELIVERED)
            rig.clock.now += 60
            await rig.o.actions.release(Filter(), "ann")
            await rig.o.actions.undo(Filter(), "ann")
            await rig.o.actions.undo(Filter(), "ann")
            await rig.o.actions.release(Filter(), "ann")
            rig.clock.now += 10 * DAY
            await rig.o.actions.reschedule(Filter(), 0.0)  # takes over the leases that ran out
            while jobs := await story.lease(100):
                for job in jobs:
                    await story.end(job, "settle", Result.DELIVERED)
            await story.check()
            assert await rig.holds() == 0
        finally:
            await rig.o.close()


@given(_STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence(steps: list[tuple[str, int, Result]]) -> None:
    asyncio.run(_play(steps))
