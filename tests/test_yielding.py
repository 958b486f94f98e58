"""Large messages let others go ahead, and wait for nobody who has nothing to do."""

from __future__ import annotations

import asyncio

import pytest

from relayd.yielding import let_others


async def test_others_go_ahead_for_several_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rounds = 0.0, 0

    async def others() -> None:
        nonlocal now, rounds
        while True:
            now += 0.001
            rounds += 1
            await asyncio.sleep(0)

    monkeypatch.setattr("relayd.yielding.time.perf_counter", lambda: now)
    task = asyncio.create_task(others())
    await let_others(0.002)
    assert rounds == 16
    await let_others(3600.0)
    assert rounds == 16 + 20  # nobody waits for others for ever
    task.cancel()


async def test_nobody_is_waited_for_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0

    async def idle() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    monkeypatch.setattr("relayd.yielding.time.perf_counter", lambda: 0.0)
    task = asyncio.create_task(idle())
    await let_others(3600.0)
    assert rounds == 1
    task.cancel()
