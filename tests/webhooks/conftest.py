"""Webhooks over a stream of events of the test's own, and a receiver."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayd.events import delivery
from relayd.events.event import Event, EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.resolver.zone import Zone
from relayd.webhooks.eventlog import Selection
from relayd.webhooks.options import WebhookLogOptions, WebhookOptions, known_ids
from relayd.webhooks.webhooks import Webhooks
from tests.rig.receiver import Receiver

QUICK = WebhookOptions(url="http://127.0.0.1:9/", events=("delivery.*",), throttle=0.0, backoff=0.02, timeout=5.0)


class Rig:
    """Webhooks of a directory, started and stopped (or left without a word, as by SIGKILL) at will."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = time.time()
        self.events: list[Event] = []
        self.stream = EventStream(lambda: self.now, [self.events.append])
        self.span = Span(self.stream, 5, {"queueId": 7, "from": "a@s.example"})
        self.hooks: Webhooks
        self.task: asyncio.Task[None] | None = None
        self.zone: dict[str, Any] = {}

    async def start(self, bounds: WebhookLogOptions | None = None, **options: WebhookOptions) -> None:
        self.hooks = Webhooks(self.directory, self.stream, Snowflakes(), lambda: Zone(self.zone), lambda: 0.0)
        await self.hooks.reconfigure(options, bounds or WebhookLogOptions())
        self.run()

    def run(self) -> None:
        self.task = asyncio.create_task(self.hooks.run())

    async def stop(self) -> None:
        if self.task is not None:
            task, self.task = self.task, None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.hooks.close()

    async def kill(self) -> None:
        """End without a word: what is not in the log is gone."""
        self.hooks._waiting.clear()
        await self.stop()

    def state(self, *addresses: str) -> None:
        """Events, one for each address."""
        for address in addresses:
            self.now += 0.001
            delivery.DELIVERED(self.span, queue_id=7, hostname="mx", to=address, code=250, details="ok", elapsed=0.012)

    async def logged(self, count: int) -> None:
        """Return once the log has so many events."""
        async with asyncio.timeout(20):
            while not self.hooks._log or (await self.hooks._log.count(_ALL, 0))[0] < count:
                await asyncio.sleep(0.01)

    async def taken(self, id: str, count: int) -> None:
        """Return once the position of a webhook says that so many events were taken."""

        def met() -> bool:
            position = self.hooks._log.positions.get(id) if self.hooks._log else None
            return position is not None and position.taken >= count

        await self.until(met)

    def named(self, id: str) -> list[Event]:
        return [event for event in self.events if event.kind.id == id]

    async def until(self, met: Any, timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not met():
                await asyncio.sleep(0.01)


_ALL = Selection(types=known_ids())


def to(receiver: Receiver, **changes: Any) -> WebhookOptions:
    """Options of a webhook to a receiver."""
    return replace(QUICK, url=receiver.url, **changes)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    one = Rig(tmp_path)
    yield one
    await one.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as one:
        yield one
