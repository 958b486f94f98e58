"""Messages that are promised together: all of them, or none."""

from __future__ import annotations

import sqlite3

import pytest

from relayd.queue.failure import QueueUnavailable
from tests.queue.conftest import Rig


async def test_messages_promised_together_are_each_whole(rig: Rig) -> None:
    spool = rig.o.blobs.create(1)
    spool.write(b"x" * 200_000)
    spool.close()
    first = rig.new("one@a.example", content=spool.path)
    second = rig.new("two@b.example", content=spool.path, sender="owner@list.example", counts={"expanded": 1})
    await rig.o.queue.enqueue(first, second)
    assert await rig.holds() == 2
    assert (rig.o.queue.totals.messages, rig.o.queue.totals.bytes) == (2, first.body.size + second.body.size)
    rig.o.blobs.remove(first.id)
    source = await rig.o.queue.open_body(second.id)
    try:
        assert source.size == second.body.size
        assert await source.read(20) == b"Received: y\r\n"
        assert await source.read(20) == b"x" * 20
    finally:
        source.close()


async def test_when_one_cannot_be_written_none_is_promised(rig: Rig) -> None:
    first = rig.new("one@a.example")
    taken = rig.new("two@b.example", id=first.id)
    with pytest.raises((QueueUnavailable, sqlite3.IntegrityError)):
        await rig.o.queue.enqueue(first, taken)
    assert await rig.holds() == 0
    assert rig.o.queue.totals.messages == 0
