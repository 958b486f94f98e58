"""Work that outlasts its request goes on, and its failure is an event."""

from __future__ import annotations

import asyncio

import pytest

from relayd.control.background import Background
from relayd.events.event import Event, EventStream, Span


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def span(events: list[Event]) -> Span:
    return Span(EventStream(lambda: 0.0, [events.append]))


async def test_quick_work_answers_or_raises(span: Span) -> None:
    async def quick() -> int:
        return 3

    async def broken() -> int:
        raise ValueError("no")

    background = Background()
    assert await background.run(quick(), span, "quick") == 3
    with pytest.raises(ValueError, match="no"):
        await background.run(broken(), span, "broken")
    await background.close(5)


async def test_slow_work_goes_on_and_is_waited_for(span: Span, events: list[Event]) -> None:
    go_on, done = asyncio.Event(), []

    async def slow() -> int:
        await go_on.wait()
        done.append(1)
        raise RuntimeError("disk")

    background = Background(patience=0.01)
    assert await background.run(slow(), span, "remove all") is None
    go_on.set()
    await background.close(5)
    assert done == [1]
    assert [(event.kind.id, event.fields["details"]) for event in events] == [("manage.error", "remove all")]


async def test_work_that_takes_longer_than_the_stop_is_stopped(span: Span) -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    background = Background(patience=0.01)
    await background.run(endless(), span, "hold all")
    async with asyncio.timeout(5):
        await background.close(0.01)
    assert ended == [1]
