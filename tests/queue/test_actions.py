"""What operators do, also while the mail is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Message, NewMessage, Outcome, Result, State
from tests.queue.conftest import DAY, Rig, outcomes


async def test_reschedule_brings_forward_or_puts_off(rig: Rig) -> None:
    first, second = rig.new("one@a.example", due=rig.clock.now + 900), rig.new("two@b.example", due=rig.clock.now + 900)
    for new in (first, second):
        await rig.o.queue.enqueue(new)
    changed: list[int] = []
    rig.o.queue.on_change = lambda: changed.append(1)
    assert await rig.o.actions.reschedule(Filter(recipient="ONE@"), rig.clock.now) == 1
    assert changed
    assert [job.message.id for job in await rig.lease()] == [first.id]
    assert await rig.o.actions.reschedule(Filter(ids=[second.id]), rig.clock.now + 2000) == 1
    message = await rig.o.queue.get(second.id)
    assert message is not None
    assert message.recipients[0].next_attempt == rig.clock.now + 2000
    assert message.recipients[0].expires == rig.clock.now + 5 * DAY
    rig.clock.now += 1000
    assert await rig.lease() == []
    assert await rig.o.actions.reschedule(Filter(ids=[1]), rig.clock.now) == 0


async def test_reschedule_of_one_domain_leaves_the_others(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example", due=rig.clock.now + 900)
    await rig.o.queue.enqueue(new)
    assert await rig.o.actions.reschedule(Filter(ids=[new.id]), rig.clock.now, domain="B.exam") == 1
    assert [job.destination for job in await rig.lease()] == ["b.example"]


async def test_reschedule_takes_over_only_a_lease_that_ran_out(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    await rig.lease()
    assert await rig.o.actions.reschedule(Filter(), rig.clock.now) == 0
    rig.clock.now += rig.options.lease + 1
    assert await rig.o.actions.reschedule(Filter(), rig.clock.now) == 1
    assert len(await rig.lease()) == 1


async def test_a_purge_takes_messages_and_their_files(rig: Rig) -> None:
    small, large = rig.new("one@a.example", "two@b.example"), rig.new(content=b"x" * 90_000, sender="other@x")
    for new in (small, large):
        await rig.o.queue.enqueue(new)
    assert await rig.o.actions.remove(Filter(text="other@x"), "ann", purge=True) == 1
    assert not rig.o.blobs.has(large.id)
    assert await rig.holds() == 2
    assert await rig.o.actions.remove(Filter(), "ann", purge=True) == 1
    assert await rig.holds() == 0
    assert (await rig.o.queue.audit()).counters["removed"] == 3
    assert rig.o.queue.totals.messages == rig.o.queue.totals.bytes == 0
    assert rig.kinds().count("queue.purged") == 2
    assert await rig.o.queue.get_many([small.id, large.id]) == []
    assert await rig.lease() == []


@pytest.mark.parametrize("result", [Result.DELIVERED, Result.BOUNCED, Result.DEFERRED])
async def test_a_message_removed_in_flight_was_removed(rig: Rig, result: Result) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    await rig.o.actions.remove(Filter(), "ann")
    await rig.o.queue.settle(job, outcomes(job, result), [rig.new(counts={"generated": 1})])
    assert await rig.holds() == 0
    counters = (await rig.o.queue.audit()).counters
    assert (counters["removed"], counters["delivered"], counters["bounced"], counters["generated"]) == (1, 0, 0, 0)
    assert rig.o.queue.totals.messages == 0


async def test_other_messages_settled_in_the_same_commit_are_not_disturbed(rig: Rig) -> None:
    news = [rig.new(f"u{number}@a.example") for number in range(5)]
    for new in news:
        await rig.o.queue.enqueue(new)
    jobs = await rig.lease()
    await rig.o.actions.remove(Filter(ids=[news[2].id]), "ann")
    await asyncio.gather(*(rig.o.queue.settle(job, outcomes(job, Result.DELIVERED)) for job in jobs))
    assert await rig.holds() == 0
    counters = (await rig.o.queue.audit()).counters
    assert (counters["removed"], counters["delivered"]) == (1, 4)


async def test_cancel_gives_up_some_recipients(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example", "three@b.example")
    await rig.o.queue.enqueue(new)
    assert await rig.o.actions.cancel(1, "one", "ann") is None
    assert await rig.o.actions.cancel(new.id, "nobody", "ann") == 0
    assert await rig.o.actions.cancel(new.id, "B.EXAMPLE", "ann") == 2
    message = await rig.o.queue.get(new.id)
    assert message is not None
    assert [to.state for to in message.recipients] == [State.SCHEDULED, State.PERM_FAIL, State.PERM_FAIL]
    assert "Delivery canceled." in message.recipients[1].status
    assert await rig.holds() == 1
    assert await rig.o.actions.cancel(new.id, "one", "ann", purge=True) == 1
    assert await rig.o.queue.get(new.id) is None
    assert await rig.holds() == 0
    assert rig.o.queue.totals.messages == 0


async def test_a_recipient_cancelled_in_flight_is_counted_once(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@a.example")
    await rig.o.queue.enqueue(new)
    (job,) = await rig.lease()
    await rig.o.actions.cancel(new.id, "one", "ann", purge=True)
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.holds() == 0
    counters = (await rig.o.queue.audit()).counters
    assert (counters["removed"], counters["delivered"]) == (1, 1)
    assert await rig.o.queue.get(new.id) is None


async def test_hold_and_release_past_expiry(rig: Rig) -> None:
    new = rig.new()
    await rig.o.queue.enqueue(new)
    assert await rig.o.actions.hold(Filter(), "ann", "to be looked at") == 1
    assert await rig.o.actions.hold(Filter(), "bob", "me too") == 0
    message = await rig.o.queue.get(new.id)
    assert message is not None
    assert message.hold is not None
    assert (message.hold.by, message.hold.reason, message.hold.since) == ("ann", "to be looked at", rig.clock.now)
    rig.clock.now += 6 * DAY
    assert await rig.lease() == []
    assert await rig.holds() == 1
    assert (await rig.o.queue.list(Filter(kind=Kind.HELD)))[1] == 1
    await rig.reopen()
    assert await rig.lease() == []
    assert await rig.o.actions.release(Filter(), "ann") == 1
    assert len(await rig.lease()) == 1
    assert {"queue.held", "queue.released"} <= set(rig.kinds())


async def test_what_is_held_in_flight_is_held_when_it_comes_back(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    await rig.o.actions.hold(Filter(), "ann", "")
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED, next_attempt=rig.clock.now))
    assert await rig.lease() == []
    assert await rig.o.actions.reschedule(Filter(), rig.clock.now) == 1
    assert await rig.lease() == []  # rescheduling does not release
    await rig.o.actions.release(Filter(), "ann")
    assert len(await rig.lease()) == 1


async def test_what_is_released_in_flight_is_not_leased_twice(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    await rig.o.actions.hold(Filter(), "ann", "")
    await rig.o.actions.release(Filter(), "ann")
    assert await rig.lease() == []
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.holds() == 0


async def test_bounce_returns_what_nobody_works_on_with_its_report(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example", "three@b.example")
    null = rig.new("one@c.example", sender="")
    for each in (new, null):
        await rig.o.queue.enqueue(each)
    (job,) = await rig.lease(saturated=("b.example", "c.example"))
    composed: list[tuple[Message, Sequence[Outcome]]] = []

    async def compose(message: Message, outcomes: Sequence[Outcome]) -> NewMessage | None:
        composed.append((message, outcomes))
        if not message.return_path:
            return None
        return rig.new(message.return_path, sender="", counts={"generated": 1})

    assert await rig.o.actions.bounce(Filter(), "ann", "old", compose) == 2
    ((message, bounced),) = [each for each in composed if each[0].id == new.id]  # in no order
    assert [to.address for to in message.recipients] == ["two@b.example", "three@b.example"]
    assert all(each.reply.is_permanent and each.result is Result.BOUNCED for each in bounced)
    assert await rig.holds() == 2  # the one in flight and the report
    assert await rig.o.queue.get(null.id) is None
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.o.queue.get(new.id) is None
    counters = (await rig.o.queue.audit()).counters
    assert (counters["bounced"], counters["delivered"], counters["generated"]) == (3, 1, 1)
    assert rig.o.queue.totals.messages == 1


async def test_bounce_writes_no_report_for_what_was_leased_meanwhile(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (message,) = await rig.o.queue.get_many((await rig.o.queue.list(Filter()))[0])
    (job,) = await rig.lease()
    report = rig.new(counts={"generated": 1})
    assert not await rig.o.queue.end(job, outcomes(job, Result.BOUNCED), [report])
    assert await rig.holds() == 1
    assert (await rig.o.queue.list(Filter()))[0] == [message.id]


async def test_actions_on_many_messages_go_in_parts(rig: Rig) -> None:
    many = [f"u{number}@a.example" for number in range(600)]
    for _ in range(4):
        await rig.o.queue.enqueue(rig.new(*many))
    assert await rig.o.actions.hold(Filter(), "ann", "") == 4
    assert await rig.o.actions.release(Filter(), "ann") == 4
    assert sum(len(job.message.recipients) for job in await rig.lease()) == 2400
    assert await rig.o.actions.remove(Filter(), "ann") == 4
    assert await rig.holds() == 0
