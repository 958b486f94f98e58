"""A web server that webhooks are posted to: it keeps what it takes, and refuses, hangs or dies when told to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.rig.postfix import free_port


@dataclass
class Request:
    """One post.  events: of its body."""

    headers: dict[str, str]
    body: bytes
    events: list[dict[str, Any]]

    def is_signed(self, key: str) -> bool:
        """Whether both signatures are right, as a stranger would check them."""
        stamp = self.headers["X-Relayd-Timestamp"]
        plain = hmac.new(key.encode(), self.body, hashlib.sha256).digest()
        dated = hmac.new(key.encode(), f"{stamp}.".encode() + self.body, hashlib.sha256).hexdigest()
        return (
            self.headers["X-Signature"] == base64.b64encode(plain).decode()
            and self.headers["X-Relayd-Signature"] == f"v1={dated}"
        )


@dataclass
class Receiver:
    """The server, on `port`; use as an asynchronous context manager.  answer: what a post gets, None: 200."""

    answer: Callable[[Request], web.StreamResponse | None] = lambda request: None
    port: int = field(default_factory=free_port)
    requests: list[Request] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    hanging: asyncio.Event | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Receiver:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=1 << 22)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Listen no more; connections are cut."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            for _ in range(3):  # transports that were closed let go of their sockets in the loop's next turns
                await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        post = Request(dict(request.headers), body, json.loads(body)["events"])
        self.requests.append(post)
        self._changed.set()
        if self.hanging is not None:
            await self.hanging.wait()
        answer = self.answer(post)
        if answer is None:
            self.taken += post.events
        self._changed.set()
        return answer if answer is not None else web.Response()

    async def wait(self, met: Callable[[], Any], timeout: float = 20.0) -> None:
        """Return once `met`, which is looked at after each post."""
        async with asyncio.timeout(timeout):
            while not met():
                self._changed.clear()
                await self._changed.wait()

    def ids(self) -> list[int]:
        """Ids of the events that were taken, in their order."""
        return [each["id"] for each in self.taken]
