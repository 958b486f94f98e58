"""SIGKILL under load, again and again: what was promised is delivered, nothing is invented, copies are few.

SIGKILL keeps the page cache, so this shows the order of things inside relayd and its start-up; that what is promised
was also synced is shown by `test_power_cut`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.durability.load import Load, token_of
from tests.rig.daemon import Daemon
from tests.rig.sink import Sink

KILLS = 55
RECENT = 2.0
"""Seconds within which an answered dot is settled; only deliveries younger than that may be repeated by a kill."""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_promise_survives_sigkill_under_load(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    kills: list[float] = []
    with Sink() as sink:
        daemon = Daemon(
            tmp_path,
            {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": sink.port,
                "queue.schedule.retry": ["1s"],
            },
        )
        daemon.start()
        load = Load(daemon.smtp_port)
        load.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.6))  # the moment of the kill is the random input of this test
            daemon.kill()
            kills.append(time.monotonic())
            daemon.start()
        load.stop()
        daemon.wait_empty(120)
        audit = daemon.audit()
        assert daemon.stop() == 0

    arrived = Counter(token_of(each.content) for each in sink.deliveries for _ in each.recipients)
    assert len(load.promised) > KILLS
    missing = [token for token in load.promised if arrived[token] < load.recipients]
    assert missing == []
    assert set(arrived) <= load.sent
    assert audit["difference"] == 0
    _check_copies(sink, kills)


def _check_copies(sink: Sink, kills: list[float]) -> None:
    """A recipient gets a second copy only where a kill came after its final dot and before the settlement."""
    first: dict[tuple[str, str], float] = {}
    copies = 0
    for each in sorted(sink.deliveries, key=lambda delivery: delivery.at):
        for recipient in each.recipients:
            key = (token_of(each.content), recipient)
            if key in first:
                copies += 1
                assert any(first[key] <= kill <= first[key] + RECENT for kill in kills), (
                    f"{key} came twice without cause"
                )
            first[key] = each.at
    assert copies <= len(kills) * 200
