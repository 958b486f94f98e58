"""The promise, the lease and the outcome, through the queue's own face."""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3

from relayd.blobs.source import BodySource
from relayd.database import handle
from relayd.mail.envelope import Notify
from relayd.queue.failure import BodyMissing, QueueFull, QueueUnavailable
from relayd.queue.filter import Filter
from relayd.queue.message import Body, NewRecipient, Result, State
from relayd.routing.next_hop import MessageTls
from tests.queue.conftest import DAY, Rig, outcomes


async def test_a_promised_message_comes_back_as_it_was(rig: Rig) -> None:
    to = NewRecipient(
        address="Ünï@a.example",
        destination="a.example",
        next_attempt=rig.clock.now,
        next_notify=None,
        expires=rig.clock.now + DAY,
        notify=frozenset({Notify.DELAY, Notify.FAILURE}),
        orcpt="rfc822;x",
    )
    new = rig.new(
        recipients=(to,), trusted=True, smtputf8=True, ret="FULL", envid="e", account="ann", listener="mx", client="c"
    )
    await rig.o.queue.enqueue(new)
    message = await rig.o.queue.get(new.id)
    assert message is not None
    for name in ("id", "origin", "return_path", "created", "sender_key", "trusted", "smtputf8", "ret", "envid"):
        assert getattr(message, name) == getattr(new, name)
    assert (message.account, message.listener, message.client, message.size) == ("ann", "mx", "c", new.body.size)
    (kept,) = message.recipients
    assert (kept.address, kept.notify, kept.orcpt, kept.next_notify) == (to.address, to.notify, to.orcpt, None)
    assert (kept.state, kept.attempts, kept.number) == (State.SCHEDULED, 0, 0)
    assert message.hold is None
    assert not message.corrupt


async def test_what_a_message_asks_of_tls_comes_back(rig: Rig) -> None:
    for asked in MessageTls.USUAL, MessageTls.REQUIRED, MessageTls.OPTIONAL:
        new = rig.new(tls=asked, smtputf8=True)
        await rig.o.queue.enqueue(new)
        message = await rig.o.queue.get(new.id)
        assert message is not None
        assert (message.tls, message.smtputf8, message.signed) == (asked, True, False)


async def test_the_hash_is_of_the_whole_message(rig: Rig) -> None:
    content = b"junk" + b"x" * 200_000
    small, large = rig.new(), rig.new(body=Body(head=b"H: 1\r\n", content=content, offset=4, size=200_006))
    for new in (small, large):
        await rig.o.queue.enqueue(new)
        found = await rig.o.queue.get(new.id)
        assert found is not None
        assert re.fullmatch(r"[\w-]{43}", found.blob_hash)
        source = await rig.o.queue.open_body(new.id)
        octets = b"".join([chunk async for chunk in _chunks(source)])
        source.close()
        assert len(octets) == source.size == new.body.size
        assert base64.urlsafe_b64decode(found.blob_hash + "=") == blake3(octets).digest()
    assert rig.o.blobs.has(large.id)
    assert not rig.o.blobs.has(small.id)


async def _chunks(source: BodySource) -> AsyncIterator[bytes]:
    while chunk := await source.read(50_000):
        yield chunk


async def test_a_spooled_file_is_taken_over(rig: Rig) -> None:
    new = rig.new()
    spool = rig.o.blobs.create(new.id)
    await spool.append(b"old head" + b"y" * 100)
    spool.close()
    new = rig.new(id=new.id, body=Body(head=b"new head", content=spool.path, offset=8, size=108))
    await rig.o.queue.enqueue(new)
    assert not spool.path.exists()
    source = await rig.o.queue.open_body(new.id)
    assert await source.read(1000) + await source.read(1000) == b"new head" + b"y" * 100
    source.seek(0)
    assert await source.read(3) == b"new"
    source.close()


async def test_enqueued_leased_is_in_flight_and_due_again_when_its_process_dies(rig: Rig) -> None:
    again = rig.clock.now + 120
    new = rig.new(due=again, leased=True)
    await rig.o.queue.enqueue(new)
    assert await rig.lease() == []
    rig.clock.now = again + 1
    assert await rig.lease() == []  # leased, however late
    await rig.reopen()
    assert rig.o.recovery.voided == 1
    (job,) = await rig.lease()
    assert job.message.recipients[0].attempts == 2
    assert await rig.holds() == 1


async def test_the_attempt_is_recorded_before_it_is_made(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@a.example", "three@b.example")
    await rig.o.queue.enqueue(new)
    jobs = await rig.lease(wait=100)
    assert sorted((job.destination, len(job.message.recipients)) for job in jobs) == [
        ("a.example", 2),
        ("b.example", 1),
    ]
    stored = await rig.o.queue.get(new.id)
    assert stored is not None
    assert {(to.attempts, to.next_attempt) for to in stored.recipients} == {(1, rig.clock.now + 100)}
    assert {(to.attempts, to.next_attempt) for job in jobs for to in job.message.recipients} == {
        (1, rig.clock.now + 100)
    }


async def test_a_delivered_message_leaves_nothing(rig: Rig) -> None:
    new = rig.new(content=b"z" * 100_000)
    await rig.o.queue.enqueue(new)
    assert rig.o.queue.totals.messages == 1
    (job,) = await rig.lease()
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert await rig.o.queue.get(new.id) is None
    assert not rig.o.blobs.has(new.id)
    assert await rig.holds() == 0
    assert (rig.o.queue.totals.messages, rig.o.queue.totals.bytes) == (0, 0)
    with pytest.raises(BodyMissing):
        await rig.o.queue.open_body(new.id)


async def test_results_stay_until_the_message_is_finished(rig: Rig) -> None:
    new = rig.new("one@a.example", "two@b.example")
    await rig.o.queue.enqueue(new)
    jobs = {job.destination: job for job in await rig.lease()}
    await rig.o.queue.settle(jobs["a.example"], outcomes(jobs["a.example"], Result.BOUNCED))
    message = await rig.o.queue.get(new.id)
    assert message is not None
    assert [(to.state, to.status) for to in message.recipients] == [(State.PERM_FAIL, "said"), (State.SCHEDULED, "")]
    assert await rig.holds() == 1
    await rig.o.queue.settle(jobs["b.example"], outcomes(jobs["b.example"], Result.RELAYED))
    assert await rig.o.queue.get(new.id) is None
    audit = await rig.o.queue.audit()
    assert (audit.counters["bounced"], audit.counters["delivered"]) == (1, 1)


async def test_reports_are_queued_with_the_outcome(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    report = rig.new("sender@example.org", sender="", counts={"generated": 1}, content=b"r" * 80_000)
    await rig.o.queue.settle(job, outcomes(job, Result.BOUNCED), [report])
    ids, total = await rig.o.queue.list(Filter())
    assert (ids, total) == ([report.id], 1)
    assert await rig.holds() == 1
    assert rig.o.queue.totals.messages == 1
    (job,) = await rig.lease()
    assert job.message.id == report.id


async def test_settling_twice_counts_once_and_queues_no_second_report(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    for _ in range(2):
        report = rig.new(counts={"generated": 1})
        await rig.o.queue.settle(job, outcomes(job, Result.BOUNCED), [report])
    assert await rig.holds() == 1
    assert (await rig.o.queue.audit()).counters["bounced"] == 1


async def test_a_deferred_recipient_waits_for_its_time_and_may_move(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    later = rig.clock.now + 300
    await rig.o.queue.settle(
        job, outcomes(job, Result.DEFERRED, next_attempt=later, next_notify=float("inf"), destination="route:x")
    )
    assert await rig.lease() == []
    assert await rig.o.queue.next_due(()) == later
    rig.clock.now = later
    (job,) = await rig.lease()
    assert job.destination == "route:x"
    (to,) = job.message.recipients
    assert (to.attempts, to.next_notify, to.state, to.status) == (2, None, State.TEMP_FAIL, "said")


async def test_an_attempt_never_made_leaves_no_mark(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    await rig.o.queue.settle(job, outcomes(job, Result.DEFERRED, uncounted=True, next_attempt=rig.clock.now + 5))
    rig.clock.now += 5
    (job,) = await rig.lease()
    assert (job.message.recipients[0].attempts, job.message.recipients[0].state) == (1, State.SCHEDULED)
    await rig.o.queue.release_leases(job)
    (job,) = await rig.lease()
    assert job.message.recipients[0].attempts == 1


async def test_held_mail_is_not_leased(rig: Rig) -> None:
    new = rig.new(held="looks odd")
    await rig.o.queue.enqueue(new)
    assert await rig.lease() == []
    message = await rig.o.queue.get(new.id)
    assert message is not None
    assert message.hold is not None
    assert (message.hold.by, message.hold.reason) == ("relayd", "looks odd")
    assert await rig.holds() == 1


async def test_a_pause_and_a_suspension_survive_a_restart(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new("one@a.example"))
    await rig.o.queue.enqueue(rig.new("two@b.example"))
    await rig.o.queue.pause("ann", "moving house")
    await rig.o.queue.pause("bob", "too")
    await rig.o.queue.suspend("b.example", rig.clock.now + 100, "relayd", "bounces")
    await rig.reopen()
    pause = rig.o.queue.paused
    assert pause is not None
    assert (pause.by, pause.reason, pause.since) == ("ann", "moving house", rig.clock.now)
    assert await rig.lease() == []
    assert await rig.o.queue.next_due(()) is None
    changed: list[int] = []
    rig.o.queue.on_change = lambda: changed.append(1)
    await rig.o.queue.resume("ann")
    assert changed
    assert [job.destination for job in await rig.lease()] == ["a.example"]
    assert [each.destination for each in rig.o.queue.suspensions()] == ["b.example"]
    assert await rig.o.queue.next_due(()) == rig.clock.now + 100  # then the suspension ends
    rig.clock.now += 101
    assert rig.o.queue.suspensions() == []
    assert [job.destination for job in await rig.lease()] == ["b.example"]


async def test_an_unsuspended_destination_is_served_at_once(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new())
    await rig.o.queue.suspend("a.example", None, "ann", "")
    assert await rig.lease() == []
    assert await rig.o.queue.next_due(()) is None
    await rig.o.queue.unsuspend("a.example")
    assert len(await rig.lease()) == 1


async def test_mail_of_a_suspended_account_waits_and_that_of_others_does_not(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new("x@a.example", sender_key="ann"))
    await rig.o.queue.enqueue(rig.new("x@b.example", sender_key="ann"))
    await rig.o.queue.enqueue(rig.new("y@a.example", sender_key="bob"))
    await rig.o.queue.suspend("account:ann", rig.clock.now + 100, "ops", "abused")
    await rig.reopen()
    assert [job.message.sender_key for job in await rig.lease()] == ["bob"]
    assert await rig.lease() == []
    assert await rig.o.queue.next_due(()) == rig.clock.now + 100, "nothing looks before"
    await rig.o.queue.enqueue(rig.new("z@b.example", sender_key="carl"))
    assert [job.message.sender_key for job in await rig.lease()] == ["carl"]
    rig.clock.now += 101
    await rig.o.queue.lapse()
    assert sorted(job.destination for job in await rig.lease()) == ["a.example", "b.example"]
    await rig.reopen()
    assert rig.o.queue._state.suspensions == {}


async def test_an_account_is_served_at_once_when_it_is_resumed(rig: Rig) -> None:
    await rig.o.queue.enqueue(rig.new("x@a.example", sender_key="ann"))
    await rig.o.queue.suspend("account:ann", None, "ops", "")
    assert await rig.lease() == []
    assert await rig.o.queue.next_due(()) is None
    await rig.o.queue.unsuspend("account:ann")
    assert len(await rig.lease()) == 1


async def test_one_bad_message_fails_alone(rig: Rig) -> None:
    good, twice = rig.new(), rig.new()
    await rig.o.queue.enqueue(twice)
    results = await asyncio.gather(
        rig.o.queue.enqueue(good), rig.o.queue.enqueue(rig.new(id=2**70)), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], Exception)
    assert await rig.holds() == 2


async def test_a_cancelled_reception_promises_nothing(rig: Rig) -> None:
    new = rig.new(content=b"q" * 100_000)
    task = asyncio.create_task(rig.o.queue.enqueue(new))
    async with asyncio.timeout(10):
        while not rig.o.blobs.has(new.id):
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.o.queue.close()
    assert await rig.o.queue.get(new.id) is None
    assert await rig.holds() == 0


class Failing(sqlite3.Connection):
    """Fails at COMMIT when told, before or after the transaction took effect."""

    errors: list[tuple[str, int]] = []  # noqa: RUF012 - one list for all, filled by the test

    def execute(self, sql, *arguments):  # type: ignore[no-untyped-def]
        if sql == "COMMIT" and Failing.errors and self.in_transaction and not self.is_reader:
            when, code = Failing.errors.pop(0)
            if when == "after":
                super().execute(sql)
            error = sqlite3.OperationalError("disk I/O error" if code != sqlite3.SQLITE_FULL else "disk is full")
            error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_X"
            raise error
        return super().execute(sql, *arguments)

    is_reader = False


def failing_connect(path: Path, read_only: bool) -> sqlite3.Connection:
    """As `handle.connect`, with the failing class."""
    original = sqlite3.connect
    try:
        sqlite3.connect = lambda *a, **k: original(*a, factory=Failing, **k)  # type: ignore[assignment]
        connection = handle.connect(path, read_only)
    finally:
        sqlite3.connect = original
    assert isinstance(connection, Failing)
    connection.is_reader = read_only
    return connection


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_failed_commit_nothing_of_it_was_promised_and_the_queue_goes_on(
    tmp_path: Path, when: str
) -> None:
    rig = Rig(tmp_path / "data")
    await rig.open(connect=failing_connect)
    kept, lost, next_one = rig.new(), rig.new(content=b"w" * 90_000), rig.new()
    await rig.o.queue.enqueue(kept)
    Failing.errors = [(when, sqlite3.SQLITE_IOERR_FSYNC)]
    with pytest.raises(QueueUnavailable):
        await rig.o.queue.enqueue(lost)
    await rig.o.queue.enqueue(next_one)
    assert (await rig.o.queue.list(Filter()))[0] == [kept.id, next_one.id]  # none invented
    assert not rig.o.blobs.has(lost.id)
    assert await rig.holds() == 2
    assert "store.commit-failed" in rig.kinds()
    assert "store.reopened" in rig.kinds()
    assert not rig.broken
    await rig.o.close()


async def test_an_outcome_is_recorded_in_the_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "data")
    await rig.open(connect=failing_connect)
    queue = rig.o.queue
    await queue.enqueue(rig.new())
    await queue.enqueue(rig.new("two@b.example"))
    job, other = await rig.lease()
    seen: list[tuple[int, int, float | None]] = []

    async def delay(_: float) -> None:
        seen.append((queue.unrecorded, len(await rig.lease()), await queue.next_due(())))

    queue.retry_delay = delay
    await queue.release_leases(other)
    Failing.errors = [("after", sqlite3.SQLITE_IOERR), ("before", sqlite3.SQLITE_IOERR)]
    changed: list[int] = []
    queue.on_change = lambda: changed.append(1)
    await queue.settle(job, outcomes(job, Result.DELIVERED))
    assert seen == [(1, 0, None)] * 2  # nothing new is attempted meanwhile
    assert changed
    assert queue.unrecorded == 0
    assert await rig.holds() == 1
    assert (await queue.audit()).counters["delivered"] == 1
    assert len(await rig.lease()) == 1
    await rig.o.close()


async def test_the_reserve_records_outcomes_when_the_disk_is_full(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "data")
    await rig.open(connect=failing_connect)
    await rig.o.queue.enqueue(rig.new())
    (job,) = await rig.lease()
    assert rig.o.space.has_reserve
    Failing.errors = [("before", sqlite3.SQLITE_FULL)]
    with pytest.raises(QueueFull):
        await rig.o.queue.enqueue(rig.new())
    assert rig.o.space.has_reserve
    Failing.errors = [("before", sqlite3.SQLITE_FULL)]
    await rig.o.queue.settle(job, outcomes(job, Result.DELIVERED))
    assert not rig.o.space.has_reserve
    assert await rig.holds() == 0
    await rig.o.upkeep.tick()
    assert rig.o.space.has_reserve
    await rig.o.close()
