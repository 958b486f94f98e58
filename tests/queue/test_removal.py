"""What is deleted or cancelled stays for a while, comes back when asked, and is never delivered meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relayd.database.interface import Connection, DatabaseError
from relayd.database.migrations import migrate
from relayd.queue.actions import Verb
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Result, State
from relayd.queue.opening import QueueOptions
from relayd.queue.options import DeletedOptions
from relayd.queue.schema import MIGRATIONS
from tests.queue.conftest import DAY, Rig, outcomes

_IN_LINE = "SELECT count(*) FROM recipients WHERE waiting = 1"
LARGE = b"x" * 90_000
DELETED = Filter(kind=Kind.DELETED)


async def _deleted(rig: Rig) -> list[int]:
    return (await rig.o.queue.list(DELETED))[0]


async def _queued(rig: Rig) -> list[int]:
    return (await rig.o.queue.list(Filter()))[0]


async def test_a_deleted_message_is_out_of_the_queue_and_listed_by_name_only(rig: Rig) -> None:
    new, other = rig.new("one@a.example", "two@b.example"), rig.new("three@c.example")
    for each in (new, other):
        await rig.o.queue.enqueue(each)
    rig.clock.now += 5
    assert await rig.o.actions.remove(Filter(recipient="one@"), "ann", "a mistake") == 1
    assert await _queued(rig) == [other.id]
    assert (await rig.o.queue.list(Filter(recipient="one@")))[1] == 0
    assert await _deleted(rig) == [new.id]
    assert await rig.holds() == 1
    counts = await rig.o.queue.counts()
    assert (counts.messages, counts.bytes, counts.recipients, counts.deleted) == (1, other.body.size, 1, 1)
    assert (rig.o.queue.totals.messages, rig.o.queue.totals.bytes) == (1, other.body.size)
    assert [job.message.id for job in await rig.lease()] == [other.id]
    (message,) = await rig.o.queue.get_many([new.id])
    assert message.deletion is not None
    assert (message.deletion.since, message.deletion.by, message.deletion.reason) == (rig.clock.now, "ann", "a mistake")
    assert message.deletion.until == rig.clock.now + DAY
    assert [to.state for to in message.recipients] == [State.SCHEDULED] * 2
    assert await rig.o.actions.remove(Filter(ids=[new.id]), "bob") == 0
    for verb in (
        rig.o.actions.hold(DELETED, "bob", ""),
        rig.o.actions.reschedule(DELETED, 0.0),
        rig.o.actions.release(DELETED, "bob"),
        rig.o.actions.reroute(DELETED, "mx", str, "bob", ""),
    ):
        assert await verb == 0
    await rig.reopen()
    assert await _deleted(rig) == [new.id]
    assert rig.o.queue.totals.messages == 1


async def test_undo_brings_a_message_back_due_now(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example", content=LARGE, due=rig.clock.now + 900)
    await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(), "ann")
    rig.clock.now += 100
    changed: list[int] = []
    rig.o.queue.on_change = lambda: changed.append(1)
    assert await rig.o.actions.undo(Filter(text="one@a"), "bob") == 1
    assert changed
    assert await rig.o.actions.undo(Filter(), "bob") == 0
    assert await _deleted(rig) == []
    assert rig.o.queue.totals.messages == 1
    assert rig.o.queue.totals.bytes == new.body.size
    assert await rig.holds() == 2
    counters = (await rig.o.queue.audit()).counters
    assert (counters["accepted"], counters["removed"], counters["restored"]) == (2, 2, 2)
    assert len(await rig.lease()) == 2
    with closing(await rig.o.queue.open_body(new.id)) as body:
        assert body.size == new.body.size
    assert {"queue.removed", "queue.restored"} <= set(rig.kinds())


async def test_what_was_held_or_corrupt_comes_back_so(rig: Rig) -> None:
    new = rig.new()
    await rig.o.queue.enqueue(new)
    await rig.o.actions.hold(Filter(), "ann", "why")
    await rig.o.actions.remove(Filter(kind=Kind.HELD), "ann")
    assert (await rig.o.queue.list(Filter(kind=Kind.HELD)))[0] == []
    await rig.o.actions.undo(Filter(), "ann")
    assert await rig.lease() == []
    await rig.o.actions.release(Filter(), "ann")
    assert len(await rig.lease()) == 1


@pytest.mark.parametrize(("result", "back"), [(Result.DELIVERED, 0), (Result.BOUNCED, 1), (Result.DEFERRED, 1)])
@pytest.mark.parametrize("verb", ["delete", "cancel"])
async def test_what_an_attempt_brought_after_the_removal(rig: Rig, result: Result, back: int, verb: str) -> None:
    """Delivered after all: never again.  Else: tried again when it comes back."""
    new = rig.new("one@a.example", "two@b.example")
    await rig.o.queue.enqueue(new)
    (job,) = await rig.lease(saturated=("b.example",))
    if verb == "delete":
        await rig.o.actions.remove(Filter(), "ann")
    else:
        await rig.o.actions.cancel(new.id, "example", "ann")
    await rig.o.queue.settle(job, outcomes(job, result, next_attempt=rig.clock.now + 60))
    assert await rig.holds() == 0
    counters = (await rig.o.queue.audit()).counters
    assert (counters["removed"], counters["delivered"], counters["bounced"]) == (2, 0, 0)
    assert await rig.o.actions.undo(Filter(), "ann") == 1
    assert await rig.holds() == 1 + back
    assert {job.destination for job in await rig.lease()} == ({"a.example", "b.example"} if back else {"b.example"})


async def test_undo_while_the_attempt_is_in_flight_leaves_it_alone(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    await rig.o.actions.remove(Filter(), "ann")
    assert await rig.o.actions.undo(Filter(), "ann") == 1
    assert await rig.lease() == []
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.holds() == 0
    assert await _queued(rig) == await _deleted(rig) == []
    assert rig.o.queue.totals.messages == 0


async def test_a_lease_given_back_or_lost_with_the_process_is_over(rig: Rig) -> None:
    for address in ("one@a.example", "two@b.example"):
        await rig.o.queue.enqueue(rig.new(address))
    first, _ = await rig.lease()
    await rig.o.actions.remove(Filter(), "ann")
    await rig.o.queue.release_leases(first)
    await rig.reopen()  # the other one's attempt ended with the process
    assert await rig.lease() == []
    await rig.o.actions.undo(Filter(), "ann")
    assert len(await rig.lease()) == 2


async def test_a_cancelled_recipient_comes_back(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example")
    await rig.o.queue.enqueue(new)
    (job,) = await rig.lease(saturated=("b.example",))
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED, next_attempt=rig.clock.now + 900))
    assert await rig.o.actions.cancel(new.id, "ONE@", "ann") == 1
    (message,) = await rig.o.queue.get_many([new.id])
    assert message.deletion is None
    assert message.recipients[0].state is State.PERM_FAIL
    assert "Delivery canceled." in message.recipients[0].status
    assert await rig.o.actions.undo(Filter(ids=[new.id]), "ann") == 1
    (message,) = await rig.o.queue.get_many([new.id])
    assert (message.recipients[0].state, message.recipients[0].status) == (State.TEMP_FAIL, "said")
    assert {job.destination for job in await rig.lease()} == {"a.example", "b.example"}
    assert await rig.holds() == 2


async def test_a_message_whose_last_pending_recipient_ends_is_kept_for_who_was_cancelled(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example", content=LARGE)
    await rig.o.queue.enqueue(new)
    await rig.o.actions.cancel(new.id, "one@", "ann")
    (job,) = await rig.lease()
    assert await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await _queued(rig) == []
    assert await _deleted(rig) == [new.id]
    assert rig.o.queue.totals.messages == 0
    assert await rig.o.actions.undo(Filter(), "ann") == 1
    (job,) = await rig.lease()
    assert [to.address for to in job.message.recipients] == ["one@a.example"]
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert not rig.o.blobs.has(new.id)
    assert await _queued(rig) == await _deleted(rig) == []
    assert await rig.holds() == 0
    assert rig.o.queue.totals.messages == 0


async def test_undo_of_a_deletion_leaves_who_was_cancelled_before_it(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example")
    await rig.o.queue.enqueue(new)
    await rig.o.actions.cancel(new.id, "one@", "ann")
    await rig.o.actions.remove(Filter(), "ann")
    await rig.o.actions.undo(DELETED, "ann")
    assert await rig.holds() == 1
    await rig.o.actions.undo(Filter(), "ann")
    assert await rig.holds() == 2


async def test_the_window_ends(rig: Rig) -> None:
    large, cancelled = rig.new(content=LARGE), rig.new("one@a.example", "two@b.example", due=rig.clock.now + 9 * DAY)
    for new in (large, cancelled):
        await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(ids=[large.id]), "ann")
    await rig.o.actions.cancel(cancelled.id, "one@", "ann")
    rig.clock.now += DAY - 1
    await rig.o.upkeep.tick()
    assert await _deleted(rig) == [large.id]
    rig.clock.now += 1
    assert await rig.o.actions.undo(Filter(), "ann") == 0  # whether or not it was purged yet
    await rig.o.upkeep.tick()
    assert await _deleted(rig) == []
    assert await rig.o.queue.get_many([large.id]) == []
    assert not rig.o.blobs.has(large.id)
    await rig.o.upkeep.hourly()
    assert await rig.o.database.read(lambda c: c.execute("SELECT count(*) FROM removals").fetchone()[0]) == 0
    assert await rig.holds() == 1
    assert rig.kinds().count("queue.purged") == 1
    assert await rig.o.actions.remove(Filter(), "ann", purge=True) == 1
    assert await rig.holds() == 0


async def test_deleted_mail_goes_at_once_when_nothing_is_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "data", deleted=DeletedOptions(keep=0.0))
    await rig.open()
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(), "ann")
    assert await _deleted(rig) == []
    assert not rig.o.blobs.has(new.id)
    two = rig.new("one@a.example", "two@b.example")
    await rig.o.queue.enqueue(two)
    for address in ("one@", "two@"):
        await rig.o.actions.cancel(two.id, address, "ann")
    assert await rig.o.actions.undo(Filter(), "ann") == 0
    assert await rig.o.queue.get_many([two.id]) == []
    assert await rig.holds() == 0
    await rig.o.close()


async def test_a_reload_changes_how_long_mail_is_kept_from_then_on(rig: Rig) -> None:
    news = [rig.new() for _ in range(2)]
    for new in news:
        await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(ids=[news[0].id]), "ann")
    rig.o.configure(QueueOptions(space=rig.options, deleted=DeletedOptions(keep=0.0)))
    await rig.o.actions.remove(Filter(), "ann")
    assert await _deleted(rig) == [news[0].id]


async def test_removed_mail_leaves_its_line_when_its_turn_comes(rig: Rig) -> None:
    """However much of it stands before the rest."""
    for _ in range(30):
        await rig.o.queue.enqueue(rig.new(*(f"u{number}@a.example" for number in range(200))))
    await rig.o.actions.remove(Filter(), "ann")
    await rig.o.queue.enqueue(last := rig.new("one@a.example"))
    changed: list[int] = []
    rig.o.queue.on_change = lambda: changed.append(1)
    assert await rig.lease() == []  # not all in one transaction
    assert changed  # but the rest at once
    assert [job.message.id for job in await rig.lease()] == [last.id]
    assert await rig.o.database.read(lambda c: c.execute(_IN_LINE).fetchone()[0]) == 0
    assert await rig.o.actions.undo(Filter(), "ann") == 30
    assert len(await rig.lease()) == 30
    assert await rig.holds() == 6001


async def test_a_purge_of_what_is_deleted(rig: Rig) -> None:
    first, second = rig.new(content=LARGE), rig.new()
    for new in (first, second):
        await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(), "ann")
    assert await rig.o.actions.remove(Filter(), "ann", purge=True) == 0  # not without being named
    assert await rig.o.actions.remove(Filter(ids=[first.id], kind=Kind.DELETED), "ann", purge=True) == 1
    assert await _deleted(rig) == [second.id]
    assert not rig.o.blobs.has(first.id)
    assert await rig.o.actions.undo(Filter(), "ann") == 1
    assert await rig.holds() == 1


async def test_deleted_mail_goes_first_when_space_is_short(rig: Rig) -> None:
    news = [rig.new(content=LARGE) for _ in range(3)]
    for new in news:
        await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(ids=[new.id for new in news[:2]]), "ann")
    rig.free = 1000
    rig.clock.now += 2
    await rig.o.upkeep.tick()
    assert await _deleted(rig) == []
    assert await _queued(rig) == [news[2].id]
    assert rig.o.space.has_reserve
    assert [rig.o.blobs.has(new.id) for new in news] == [False, False, True]


async def test_a_full_disk_takes_the_files_of_deleted_mail_before_the_reserve(rig: Rig) -> None:
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(), "ann")
    full = [sqlite3.OperationalError("database or disk is full")]
    full[0].sqlite_errorcode = sqlite3.SQLITE_FULL

    def work(connection: Connection) -> int:
        if full:
            raise full.pop()
        return 1

    assert await rig.o.queue.write(work) == 1
    assert rig.o.space.has_reserve
    assert not rig.o.blobs.has(new.id)
    assert await rig.o.actions.undo(Filter(), "ann") == 0  # its body is gone
    await rig.o.upkeep.tick()
    assert await _deleted(rig) == []


async def test_deleted_rows_without_a_body_are_gone_after_a_start(rig: Rig) -> None:
    new = rig.new(content=LARGE)
    await rig.o.queue.enqueue(new)
    await rig.o.actions.remove(Filter(), "ann")
    rig.o.blobs.remove(new.id)
    await rig.reopen()
    assert (rig.o.recovery.purged, rig.o.recovery.corrupt) == (1, ())
    assert await _deleted(rig) == []
    assert await rig.holds() == 0


async def test_a_preview_changes_nothing(rig: Rig) -> None:
    news = [rig.new(f"u{number}@a.example") for number in range(30)]
    for new in news:
        await rig.o.queue.enqueue(new)
    actions, ids = rig.o.actions, [new.id for new in news]
    await actions.hold(Filter(ids=ids[:2]), "ann", "")
    await actions.remove(Filter(ids=ids[2:5]), "ann")
    await actions.cancel(ids[29], "u29", "ann")
    rig.clock.now += 1
    (job,) = await rig.lease(limit=1)
    for verb, matched, first in (
        (Verb.HOLD, 24, ids[5]),
        (Verb.RELEASE, 2, ids[0]),
        (Verb.REMOVE, 26, ids[0]),
        (Verb.RESCHEDULE, 25, ids[0]),
        (Verb.BOUNCE, 25, ids[0]),
        (Verb.REROUTE, 26, ids[0]),
        (Verb.UNDO, 4, ids[2]),
    ):
        preview = await actions.preview(verb, Filter())
        assert (preview.matched, len(preview.sample), preview.sample[0]) == (matched, min(matched, 20), first), verb
    assert job.message.id == ids[5]
    assert await rig.holds() == 26
    assert (await actions.preview(Verb.PURGE, DELETED)).matched == 4
    assert (await actions.preview(Verb.HOLD, Filter(recipient="u7@"))).sample == [ids[7]]


async def test_reroute_moves_what_waits_and_what_comes_back(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example", "three@c.example", due=rig.clock.now)
    await rig.o.queue.enqueue(new)
    (job,) = await rig.lease(saturated=("b.example", "c.example"))
    late = rig.clock.now + 900
    await rig.o.actions.reschedule(Filter(), late)
    assert await rig.o.actions.reroute(Filter(), "hub", lambda address: "route:hub", "ann", "b is down") == 1
    (moved,) = await rig.lease()
    assert moved.destination == "route:hub"
    assert [to.address for to in moved.message.recipients] == ["two@b.example", "three@c.example"]
    assert moved.message.next_hop == "hub"
    assert job.message.next_hop is None
    await rig.reopen()
    (message,) = await rig.o.queue.get_many([new.id])
    assert message.next_hop == "hub"
    assert await rig.o.actions.reroute(Filter(), None, lambda a: a.partition("@")[2], "ann", "") == 1
    (message,) = await rig.o.queue.get_many([new.id])
    assert message.next_hop is None
    assert {to.destination for to in message.recipients} == {"a.example", "b.example", "c.example"}
    assert "queue.rerouted" in rig.kinds()


async def test_a_database_of_the_first_schema_is_brought_forward(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "data")
    rig.directory.mkdir()
    old = sqlite3.connect(rig.directory / "queue.db", isolation_level=None)
    migrate(old, MIGRATIONS[:1])
    at = rig.clock.now
    old.execute(
        "INSERT INTO messages VALUES (128, 'relayed', 'a@b.example', ?, 4, 'a@b.example', 0, NULL, NULL, NULL, 'mx',"
        " '192.0.2.1', '', 'h', 0, NULL, NULL, NULL)",
        (at,),
    )
    old.execute("INSERT INTO bodies VALUES (128, NULL, X'610d0a')")
    old.execute(
        "INSERT INTO recipients VALUES (128, 0, 'one@a.example', 'a.example', 'a@b.example', 0, 0, ?, NULL, ?, NULL,"
        " NULL, '', 1, NULL, NULL)",
        (at, at + DAY),
    )
    old.execute("INSERT INTO lines VALUES ('a.example', 'a@b.example', ?, 0, 0)", (at,))
    old.execute("INSERT INTO destinations VALUES ('a.example', ?, 0, 0)", (at,))
    old.execute("UPDATE counters SET value = 1 WHERE name = 'accepted'")
    old.close()
    await rig.open()
    assert await rig.holds() == 1
    await rig.o.actions.remove(Filter(), "ann")
    await rig.o.actions.undo(Filter(), "ann")
    (job,) = await rig.lease()
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.holds() == 0
    await rig.o.close()


async def test_a_purge_that_fails_is_tried_again_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.o.queue.enqueue(rig.new())
    await rig.o.actions.remove(Filter(), "ann")
    rig.clock.now += DAY

    async def fail(work: object) -> None:
        raise DatabaseError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(rig.o.database, "write", fail)
        for _ in range(3):
            await rig.o.upkeep.tick()
    assert rig.kinds().count("store.commit-failed") == 1
    await rig.o.upkeep.tick()
    assert len(await _deleted(rig)) == 1
    rig.clock.now += 60
    await rig.o.upkeep.tick()
    assert await _deleted(rig) == []
