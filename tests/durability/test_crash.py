"""SIGKILL under load, again and again: what was promised is delivered, nothing is invented, copies are few.

SIGKILL keeps the page cache, so this shows the order of things inside relayd and its start-up; that what is promised
was also synced is shown by `test_power_cut`.

Which copies are allowed is read from the disk: after each kill, before the restart, the test asks a copy of the
database which recipients are still pending.  A recipient may arrive again only if its earlier copy was sent by a
daemon that was killed before it settled that recipient.  That relayd does not put settling off is checked by the age
of what was answered by the next hop and not yet settled.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from tests.durability.load import Load, check_promises, token_of
from tests.rig.daemon import Daemon
from tests.rig.sink import Delivery, Sink

KILLS = 55
SETTLED_WITHIN = 2.0
"""Seconds after the next hop's answer within which its outcome is on disk, on a machine that other work keeps busy."""
SLOTS = 20
"""Transactions that relayd has under way at one next hop."""


@dataclass
class Kill:
    """One kill: when (monotonic seconds), and the (queue id, recipient) that were pending on the disk after it."""

    at: float
    pending: set[tuple[str, str]] = field(default_factory=set)


def pending(data: Path, scratch: Path) -> set[tuple[str, str]]:
    """(queue id, recipient) that the database of a dead daemon still owes; the original is not opened."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in ("queue.db", "queue.db-wal"):
        if (data / name).exists():
            shutil.copy(data / name, scratch / name)
    connection = sqlite3.connect(scratch / "queue.db")
    try:
        rows = connection.execute("SELECT message_id, address FROM recipients WHERE state IN (0, 2)").fetchall()
    finally:
        connection.close()
    return {(str(id), address) for id, address in rows}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_promise_survives_sigkill_under_load(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    kills: list[Kill] = []
    with Sink() as sink:
        daemon = Daemon(
            tmp_path,
            {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": sink.port,
                "queue.outbound.concurrency.per-destination": SLOTS,
                "queue.schedule.retry": ["1s"],
            },
        )
        load = Load(daemon.smtp_port)
        _start(daemon, 0)
        load.start()
        for number in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.8))  # the moment of the kill is the random input of this test
            daemon.kill()
            kills.append(Kill(time.monotonic()))
            kills[-1].pending = pending(daemon.data, tmp_path / "scratch")
            # every fifth life is cut short somewhere in its start
            _start(daemon, number + 1, wait=number % 5 != 3)
        daemon.wait_ready()
        load.stop()
        daemon.wait_empty(120)
        audit = daemon.audit()
        assert daemon.stop() == 0
        deliveries = list(sink.deliveries)

    arrived = check_promises(load, deliveries)
    assert len(load.promised) > 10 * KILLS
    assert not load.refused, "nothing was wrong that the client had to be told"
    assert audit["difference"] == 0
    copies, oldest, most = _check_copies(deliveries, kills)
    assert oldest < SETTLED_WITHIN, "an outcome was put off"
    assert most <= 2 * SLOTS * load.recipients, "more than was in flight, and as much again on its way to the disk"
    assert copies == sum(number - 1 for number in arrived.values())
    print(
        f"{len(kills)} kills, {len(load.promised)} promised, {len(load.sent)} sent, {copies} copies,"
        f" at most {most} recipients sent and not settled at a kill, the oldest for {oldest:.3f} s"
    )


def _start(daemon: Daemon, life: int, *, wait: bool = True) -> None:
    """Start it under a name by which the next hop knows which of its lives a message was sent in."""
    daemon.settings["server.hostname"] = f"relay{life}.test"
    daemon.start(wait=wait)


def _check_copies(deliveries: list[Delivery], kills: list[Kill]) -> tuple[int, float, int]:
    """Copies beyond the first, seconds that the oldest unsettled answer had at a kill, most unsettled at a kill."""
    lives: dict[tuple[str, str], list[int]] = defaultdict(list)
    answered: dict[tuple[int, str, str], float] = {}
    for each in deliveries:
        life = int(each.helo.removeprefix("relay").removesuffix(".test"))
        queue_id = _queue_id(each)
        for recipient in each.recipients:
            lives[queue_id, recipient].append(life)
            answered[life, queue_id, recipient] = each.answered
    copies = 0
    for pair, found in lives.items():
        copies += len(found) - 1
        for earlier, later in pairwise(sorted(found)):
            assert earlier < later, f"{pair} was sent twice by one daemon"
            assert pair in kills[earlier].pending, f"{pair} was settled, and sent again"
    oldest, most = 0.0, 0
    for life, kill in enumerate(kills):
        ages = [kill.at - answered[life, *pair] for pair in kill.pending if (life, *pair) in answered]
        most = max(most, len(ages))
        oldest = max(oldest, *ages, 0.0)
    return copies, oldest, most


def _queue_id(delivery: Delivery) -> str:
    """The id that relayd wrote into the Received field."""
    header = delivery.content.partition(b"\r\n\r\n")[0].replace(b"\r\n", b" ")
    _, found, rest = header.partition(b" id ")
    assert found, f"{token_of(delivery.content)} has no queue id"
    return rest.replace(b";", b" ").split()[0].decode()
