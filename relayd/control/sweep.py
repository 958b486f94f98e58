"""Clients that dawdle are cut off.

aiohttp waits for ever for the first request, and for a slow reader of an answer.  So every few seconds each connection
without a request in a handler is looked at: one that has been so for `idle_timeout` is closed, whether it sends
nothing, a header octet by octet, or does not read what it asked for.  Over `max_connections` all such are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relayd.control.options import HttpOptions


class Sweep:
    """Knows which connections are at work.  clock: monotonic seconds."""

    def __init__(self, options: HttpOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._working: dict[Any, int] = {}
        self._idle_since: dict[Any, float] = {}

    def middleware(self) -> Middleware:
        """Outermost: marks the connection as at work while a handler runs."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            self._working[connection] = self._working.get(connection, 0) + 1
            try:
                return await handler(request)
            finally:
                left = self._working.pop(connection) - 1
                if left:
                    self._working[connection] = left
                self._idle_since[connection] = self._clock()

        return middleware

    def once(self, server: web.Server) -> int:
        """Close what dawdles now; how many that were."""
        now = self._clock()
        opened = server.connections
        self._idle_since = {each: self._idle_since.get(each, now) for each in opened}
        connections = [each for each in opened if each not in self._working]
        crowded = len(opened) > self._options.max_connections
        closed = 0
        for connection in connections:
            if crowded or now - self._idle_since[connection] >= self._options.idle_timeout:
                connection.force_close()
                if connection.transport is not None:
                    connection.transport.abort()
                closed += 1
        return closed

    async def forever(self, server: web.Server) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(min(5.0, max(0.05, self._options.idle_timeout / 4)))
            self.once(server)
