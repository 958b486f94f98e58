"""Whose mail on disk is asked for when memory is full of mail for destinations that do not answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

from relayd.delivery.lanes import Lanes
from relayd.delivery.leasing import FAIR, LANDING, Leasing
from relayd.delivery.parts import QueueSide
from relayd.queue.message import Job
from tests.delivery.test_lanes import OPTIONS, answering, fill, work


class Disk:
    """What is due on disk.  asked: for whom it was, None: for all."""

    def __init__(self) -> None:
        self.due: list[Job] = []
        self.asked: list[Collection[str] | None] = []

    async def lease_due(
        self,
        now: float,
        *,
        per_destination: int,
        limit: int,
        saturated: Collection[str],
        retry_at: Callable[[int, float], float],
        only: Collection[str] | None = None,
    ) -> list[Job]:
        """All that is due for those asked for; for all there is no end of what comes before."""
        self.asked.append(only)
        if only is None:
            return [work("dead.example") for _ in range(limit)]
        found = [job for job in self.due if job.destination in only]
        self.due = [job for job in self.due if job not in found]
        return found

    async def next_due(self, saturated: Collection[str]) -> float | None:
        """Something always is."""
        return 0.0


async def test_who_answers_is_asked_for_at_once_and_once_more_for_what_was_being_written() -> None:
    disk, lanes = Disk(), Lanes(OPTIONS)
    leasing = Leasing(cast(QueueSide, disk), lanes, lambda: 100.0)
    for number in range(5):
        fill(lanes, 2, f"dead{number}.example")
    answering(lanes, "live.example")
    lanes.lane("live.example").overflow = True
    disk.due = [work("live.example")]

    async def look(now: float) -> Any:
        return await leasing.look(now, lambda attempts, now: now, ())

    first = await look(100.0)
    assert (disk.asked, first.delay) == ([None], 0.0), "the look for all is followed at once by that for who answers"
    second = await look(100.1)
    assert [job.destination for job in second.jobs] == ["live.example"]
    assert (lanes.lane("live.example").overflow, second.delay) == (False, LANDING)
    disk.due = [work("live.example")]
    third = await look(100.6)
    assert [job.destination for job in third.jobs] == ["live.example"]
    last = await look(101.1)
    assert (last.jobs, last.delay) == ([], 1.0)
    assert disk.asked[1:] == [{"live.example"}] * 3
    assert (await look(101.2)).delay == FAIR
    assert len(disk.asked) == 4, "nobody is asked for any more"


async def test_who_answers_is_asked_for_when_memory_has_no_room_even_for_the_sake_of_fairness() -> None:
    disk, lanes = Disk(), Lanes(OPTIONS)
    leasing = Leasing(cast(QueueSide, disk), lanes, lambda: 100.0)
    for number in range(20):
        fill(lanes, 1, f"dead{number}.example")
    answering(lanes, "live.example")
    lanes.lane("live.example").overflow = True
    disk.due = [work("live.example")]
    found = await leasing.look(100.0, lambda attempts, now: now, ())
    assert [job.destination for job in found.jobs] == ["live.example"]
