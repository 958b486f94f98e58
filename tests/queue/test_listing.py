"""Finding messages: filters, pages, the invariant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Result
from tests.queue.conftest import Rig, outcomes


async def _ids(rig: Rig, filter: Filter) -> list[int]:
    return (await rig.o.queue.list(filter))[0]


async def test_filters_find_what_they_say(rig: Rig) -> None:
    now = rig.clock.now
    one = rig.new("Ann@a.example", sender="Boss@x.example", due=now + 10)
    two = rig.new("bob@b.example", "carl@c.example", sender="clerk@y.example", due=now + 20)
    held = rig.new("dora@a.example", sender="", held="why")
    for new in (one, two, held):
        await rig.o.queue.enqueue(new)
    everything = [one.id, two.id, held.id]
    cases: list[tuple[Filter, list[int]]] = [
        (Filter(), everything),
        (Filter(text="ann@"), [one.id]),
        (Filter(text="CLERK"), [two.id]),
        (Filter(text="ann@", sender="clerk"), [one.id]),
        (Filter(sender="boss@x"), [one.id]),
        (Filter(recipient="carl"), [two.id]),
        (Filter(recipient="%"), []),
        (Filter(domain="a.exam"), [one.id, held.id]),
        (Filter(domain="ann"), []),
        (Filter(destination="c.example"), [two.id]),
        (Filter(before=now + 15), [one.id, held.id]),
        (Filter(after=now + 15), [two.id]),
        (Filter(first_id=two.id), [two.id, held.id]),
        (Filter(last_id=two.id), [one.id, two.id]),
        (Filter(domain="a.exam", first_id=two.id, last_id=held.id), [held.id]),
        (Filter(after=now + 15, first_id=two.id), [two.id]),
        (Filter(ids=[held.id, one.id, 5]), [one.id, held.id]),
        (Filter(ids=[]), []),
        (Filter(kind=Kind.HELD), [held.id]),
        (Filter(kind=Kind.READY), [one.id, two.id]),
        (Filter(kind=Kind.DEFERRED), []),
        (Filter(kind=Kind.CORRUPT), []),
        (Filter(kind=Kind.HELD, domain="b.example"), []),
    ]
    for filter, expected in cases:
        assert await _ids(rig, filter) == expected, filter
    rig.clock.now += 10
    (job,) = await rig.lease()
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED, next_attempt=now + 60))
    assert await _ids(rig, Filter(kind=Kind.DEFERRED)) == [one.id]


@pytest.mark.parametrize(
    ("offset", "limit", "max_total", "first", "length", "total"),
    [
        (0, None, 0, 0, 10, 10),
        (0, 3, 0, 0, 3, 10),
        (8, 3, 0, 8, 2, 10),
        (20, 3, 0, 0, 0, 10),
        (0, 3, 5, 0, 3, 5),
        (0, 3, 50, 0, 3, 10),
        (0, 0, 0, 0, 0, 10),
        (4, None, 0, 4, 6, 10),
        (0, None, 4, 0, 4, 4),
        (3, 3, 5, 3, 2, 5),
        (6, 3, 5, 0, 0, 5),
    ],
)
@pytest.mark.parametrize("filter", [Filter(), Filter(sender="@")], ids=["everything", "filtered"])
async def test_pages(
    rig: Rig, filter: Filter, offset: int, limit: int | None, max_total: int, first: int, length: int, total: int
) -> None:
    news = [rig.new() for _ in range(10)]
    for new in news:
        await rig.o.queue.enqueue(new)
    ids, found = await rig.o.queue.list(filter, offset, limit, max_total)
    assert ids == [new.id for new in news][first : first + length]
    assert found == total


@pytest.mark.parametrize("most", [1, 3, 4, 11])
@pytest.mark.parametrize(
    "filter",
    [
        Filter(domain="odd.example"),
        Filter(text="u7@"),
        Filter(kind=Kind.HELD),
        Filter(kind=Kind.DELETED),
        Filter(after=0, first_id=0),
    ],
    ids=str,
)
async def test_a_short_look_finds_what_a_whole_one_does(
    rig: Rig, filter: Filter, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayd.queue.listing._PART", 2)  # ranges of two messages, then four, eight, ...
    news = [rig.new(f"u{n}@{'odd' if n % 3 == 1 else 'even'}.example") for n in range(12)]
    for new in news:
        await rig.o.queue.enqueue(new)
    ids = [new.id for new in news]
    await rig.o.actions.hold(Filter(ids=ids[2:8]), "ann", "")
    await rig.o.actions.remove(Filter(ids=ids[5:]), "ann")
    for first, last in ((None, None), (ids[3], None), (ids[1], ids[4]), (None, ids[9])):
        ranged = replace(filter, first_id=first, last_id=last)
        whole, _ = await rig.o.queue.list(ranged)
        assert await rig.o.queue.list(ranged, max_total=most) == (whole[:most], min(len(whole), most))


async def test_the_oldest_by_destination(rig: Rig) -> None:
    news = [rig.new(f"u@{name}.example") for name in ("a", "b", "a", "c", "b")]
    for new in news:
        await rig.o.queue.enqueue(new)
    everything = [(f"{name}.example", news[place].id) for name, place in (("a", 0), ("b", 1), ("c", 3))]
    assert await rig.o.queue.oldest(1 << 62, 5) == everything
    assert await rig.o.queue.oldest(1 << 62, 2) == everything[:2]
    assert await rig.o.queue.oldest(news[3].id, 5) == everything[:2]


async def test_many_come_in_the_order_asked_for(rig: Rig) -> None:
    news = [rig.new("one@a.example", "two@b.example") for _ in range(3)]
    for new in news:
        await rig.o.queue.enqueue(new)
    messages = await rig.o.queue.get_many([news[2].id, 7, news[0].id])
    assert [message.id for message in messages] == [news[2].id, news[0].id]
    assert [to.number for to in messages[0].recipients] == [0, 1]


async def test_counts(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new("one@a.example", "two@b.example"))
    await rig.o.queue.enqueue(rig.new(held="x"))
    (job, _) = await rig.lease()
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED))
    counts = await rig.o.queue.counts()
    assert (counts.messages, counts.recipients, counts.deferred, counts.held, counts.corrupt) == (2, 3, 1, 1, 0)
    assert counts.bytes == rig.o.queue.totals.bytes


async def test_an_audit_that_fails_says_so(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    await rig.o.database.write(
        lambda c: c.execute("UPDATE counters SET value = value + 2 WHERE name = 'accepted'") and None
    )
    audit = await rig.o.queue.audit()
    assert (audit.difference, audit.queued) == (2, 1)
    assert "queue.audit-failed" in rig.kinds()


async def test_expanded_and_replaced_recipients_keep_the_invariant(rig: Rig) -> None:
    counts = {"accepted": 2, "replaced": 1, "expanded": 3}
    await rig.o.queue.enqueue(rig.new("a@a.example", "b@a.example", "c@a.example", "d@a.example", counts=counts))
    assert await rig.holds() == 4


async def test_the_oldest_message_that_waits_for_each_destination(rig: Rig) -> None:
    first = rig.new("one@a.example", "two@b.example")
    await rig.o.queue.enqueue(first)
    rig.clock.now += 100
    second = rig.new("three@b.example", "four@c.example")
    await rig.o.queue.enqueue(second)
    await rig.o.queue.enqueue(rig.new("held@d.example", held="x"))
    everything = (1 << 63) - 1
    assert list(await rig.o.queue.oldest(everything, 10)) == [
        ("a.example", first.id),
        ("b.example", first.id),
        ("c.example", second.id),
    ]
    assert list(await rig.o.queue.oldest(everything, 1)) == [("a.example", first.id)]
    assert len(await rig.o.queue.oldest(second.id, 10)) == 2
    assert not await rig.o.queue.oldest(first.id, 10)
