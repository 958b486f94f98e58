"""Connections that are used again, and those that are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from relayd.delivery import pool
from relayd.delivery.options import ReuseOptions
from relayd.queue.message import Result
from tests.delivery.setting import Setting, job, smarthost
from tests.rig.peer import ALL, DROP, PLAIN, SILENT, Peer, Script, running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with running() as running_peer:
        yield running_peer


async def deliver(setting: Setting, peer: Peer) -> Result:
    [outcome] = await setting.run(job(), smarthost(peer.port))
    return outcome.result


async def test_a_connection_is_used_again(peer: Peer) -> None:
    setting = Setting()
    for _ in range(5):
        assert await deliver(setting, peer) is Result.DELIVERED
    assert peer.connections == 1
    assert "RSET" not in peer.verbs
    assert setting.pool.idle == 1
    await setting.pool.close()
    await until(lambda: peer.verbs[-1] == "QUIT")


async def test_only_for_some_messages(peer: Peer) -> None:
    setting = Setting(reuse=ReuseOptions(messages=2))
    for _ in range(4):
        await deliver(setting, peer)
    assert peer.connections == 2
    await setting.pool.close()


async def test_not_for_another_next_hop(peer: Peer) -> None:
    setting = Setting()
    await deliver(setting, peer)
    await setting.run(job(), smarthost(peer.port, key="route:other", route="other"))
    assert peer.connections == 2
    await setting.pool.close()


async def test_an_idle_connection_is_closed_in_time(peer: Peer) -> None:
    setting = Setting(reuse=ReuseOptions(idle=0.05))
    await deliver(setting, peer)
    await until(lambda: setting.pool.idle == 0)
    await until(lambda: peer.verbs[-1] == "QUIT")
    await setting.pool.close()


async def test_none_is_kept_with_idle_0(peer: Peer) -> None:
    setting = Setting(reuse=ReuseOptions(idle=0.0))
    await deliver(setting, peer)
    assert setting.pool.idle == 0
    await setting.pool.close()


async def test_the_oldest_goes_when_there_are_too_many(peer: Peer) -> None:
    setting = Setting(reuse=ReuseOptions(connections=2))
    hops = [smarthost(peer.port, key=f"route:{n}") for n in range(3)]
    for hop in hops:
        await setting.run(job(), hop)
    assert setting.pool.idle == 2
    assert setting.pool.take(hops[0]) is None
    await setting.pool.close()


@pytest.mark.parametrize("said", ["421 4.4.2 Idle for too long", DROP, "250 2.0.0 What?"])
async def test_a_peer_that_closes_while_idle_costs_no_message(said: str) -> None:
    setting = Setting()
    async with running(Script(idle=said)) as peer:
        assert await deliver(setting, peer) is Result.DELIVERED
        await until(lambda: setting.pool.idle == 0)
        assert await deliver(setting, peer) is Result.DELIVERED
        assert peer.connections == 2
        await setting.pool.close()


@pytest.mark.parametrize("offers", [ALL, PLAIN])
async def test_a_connection_that_is_dead_unnoticed_is_replaced(offers: tuple[str, ...]) -> None:
    setting = Setting()
    async with running(Script(offers=offers, mail=["250 2.1.0 Ok", DROP, "250 2.1.0 Ok"])) as peer:
        assert await deliver(setting, peer) is Result.DELIVERED
        assert await deliver(setting, peer) is Result.DELIVERED
        assert peer.connections == 2
        assert len(peer.taken) == 2
        await setting.pool.close()


async def test_reset_goes_before_the_next_message_only_when_needed(peer: Peer) -> None:
    setting = Setting()
    peer.script.rcpt = ["550 5.1.1 Nobody", "250 2.1.5 Ok"]
    assert await deliver(setting, peer) is Result.BOUNCED
    assert await deliver(setting, peer) is Result.DELIVERED
    assert peer.verbs.count("RSET") == 1
    await setting.pool.close()


async def test_a_cancelled_attempt_closes_its_connection() -> None:
    setting = Setting()
    async with running(Script(dot="SILENT")) as peer:
        task = asyncio.create_task(setting.run(job(), smarthost(peer.port)))
        await until(lambda: len(peer.taken) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert setting.pool.idle == 0
        await setting.pool.close()


async def test_after_a_long_idle_time_the_peer_is_asked_first(peer: Peer) -> None:
    setting = Setting(reuse=ReuseOptions(check_after=0.0))
    for _ in range(3):
        assert await deliver(setting, peer) is Result.DELIVERED
    assert peer.connections == 1
    assert peer.verbs.count("NOOP") == 2
    await setting.pool.close()


@pytest.mark.parametrize("reply", [SILENT, DROP, "421 4.3.2 Closing", "nonsense"])
async def test_a_connection_that_died_without_a_word_costs_no_message(
    reply: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHECK", 0.1)
    async with running(Script(noop=reply)) as peer:
        setting = Setting(reuse=ReuseOptions(check_after=0.0))
        for _ in range(2):
            assert await deliver(setting, peer) is Result.DELIVERED
        assert peer.connections == 2
        assert len(peer.taken) == 2
        await setting.pool.close()


async def test_the_check_resets_what_the_last_transaction_left_open() -> None:
    async with running(Script(rcpt=["550 5.1.1 No", "250 2.1.5 Ok"])) as peer:
        setting = Setting(reuse=ReuseOptions(check_after=0.0))
        assert await deliver(setting, peer) is Result.BOUNCED
        assert await deliver(setting, peer) is Result.DELIVERED
        assert peer.connections == 1
        assert "NOOP" not in peer.verbs
        assert peer.verbs.count("RSET") == 1
        await setting.pool.close()
