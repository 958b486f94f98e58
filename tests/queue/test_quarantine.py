"""Held mail that nobody decides about: removed with its cause, counted, and it can be brought back."""

from __future__ import annotations

from relayd.events.event import EventStream, Span
from relayd.queue.filter import Filter, Kind
from relayd.queue.options import QuarantineOptions
from relayd.queue.quarantine import Held, Quarantine
from tests.queue.conftest import DAY, START, Rig


def quarantine(rig: Rig, keep: float = 30 * DAY) -> tuple[Quarantine, list[str]]:
    told: list[str] = []
    span = Span(EventStream(rig.clock, [lambda event: told.append(event.kind.id)]))
    options = QuarantineOptions(keep=keep)
    return Quarantine(rig.o.queue, rig.o.actions, lambda: options, rig.clock, span), told


async def test_what_is_held_for_too_long_is_removed_with_its_cause(rig: Rig) -> None:
    held, told = quarantine(rig)
    first = rig.new(held="spam")
    await rig.o.queue.enqueue(first)
    await rig.o.queue.enqueue(rig.new())
    rig.clock.now += 20 * DAY
    second = rig.new(held="virus", created=rig.clock.now)
    await rig.o.queue.enqueue(second)
    assert await held.held() == Held(2, START, (("spam", 1), ("virus", 1)))
    assert await held.expire() == 0
    rig.clock.now += 11 * DAY
    assert await held.expire() == 1
    assert told == ["queue.quarantine-expired"]
    message = await rig.o.queue.get(first.id)
    assert message is None or message.deletion is not None
    assert (await rig.o.queue.list(Filter(kind=Kind.HELD)))[0] == [second.id]
    audit = await rig.o.queue.audit()
    assert audit.difference == 0
    assert audit.counters["removed"] >= 1


async def test_nothing_expires_where_it_is_kept_for_ever(rig: Rig) -> None:
    held, _ = quarantine(rig, keep=0)
    await rig.o.queue.enqueue(rig.new(held="spam"))
    rig.clock.now += 1000 * DAY
    assert await held.expire() == 0
