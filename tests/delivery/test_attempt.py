"""Attempts against a scripted peer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relayd.queue.message import Result
from tests.delivery.setting import CONTENT, Setting, job, smarthost
from tests.rig.peer import ALL, PLAIN, Script, running


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    made = Setting()
    yield made
    await made.pool.close()


@pytest.mark.parametrize("offers", [ALL, PLAIN, ("8BITMIME",), ("CHUNKING", "8BITMIME"), ()])
async def test_delivers_whatever_is_offered(setting: Setting, offers: tuple[str, ...]) -> None:
    async with running(Script(offers=offers)) as peer:
        outcomes = await setting.run(job("b@x.example", "c@x.example"), smarthost(peer.port))
        assert [outcome.result for outcome in outcomes] == [Result.DELIVERED, Result.DELIVERED]
        assert outcomes[0].status == "Code: 250, Enhanced code: 2.0.0, Message: Taken"
        assert outcomes[0].host == "127.0.0.1"
        [taken] = peer.taken
        assert taken.content == CONTENT
        assert taken.rcpts == ["RCPT TO:<b@x.example>", "RCPT TO:<c@x.example>"]
        assert taken.chunked == ("CHUNKING" in offers)
        await setting.pool.close()
