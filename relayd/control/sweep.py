"""Clients that dawdle are cut off.

aiohttp waits for ever for the first request, and for a slow reader of an answer.  So every few seconds each connection
without a request in a handler is looked at: one that has been so for `idle_timeout` is closed, whether it sends
nothing, a header octet by octet, or does not read what it asked for.  Over `max_connections` those are closed that
have been so for longest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relayd.control.options import HttpOptions


class Sweep:
    """Knows which connections are at work.  clock: monotonic seconds.  A reload replaces the options."""

    def __init__(self, options: HttpOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self._clock = clock
        self._working: dict[Any, int] = {}
        self._idle_since: dict[Any, float] = {}
        self._ended = asyncio.Event()
        self._finishing = False

    def middleware(self) -> Middleware:
        """Outermost: marks the connection as at work while a handler runs."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            self._working[connection] = self._working.get(connection, 0) + 1
            try:
                answer = await handler(request)
                if self._finishing:
                    answer.force_close()
                return answer
            finally:
                left = self._working.pop(connection) - 1
                if left:
                    self._working[connection] = left
                self._idle_since[connection] = self._clock()
                self._ended.set()

        return middleware

    def once(self, server: web.Server) -> int:
        """Close what dawdles now; how many that were."""
        now = self._clock()
        opened = server.connections
        self._idle_since = {each: self._idle_since.get(each, now) for each in opened}
        idle = sorted((each for each in opened if each not in self._working), key=self._idle_since.__getitem__)
        too_many = len(opened) - self.options.max_connections
        closed = 0
        for connection in idle:
            if closed < too_many or now - self._idle_since[connection] >= self.options.idle_timeout:
                _close(connection)
                closed += 1
        return closed

    def finish(self, server: web.Server) -> None:
        """From now on a connection ends with the request at work on it; those without one are closed.

        aiohttp's own `pre_shutdown` is no help: a connection takes nothing after it, not even the rest of a body.
        """
        self._finishing = True
        for connection in server.connections:
            if connection not in self._working:
                connection.close()

    async def wait_idle(self) -> None:
        """Until no connection has a request in a handler."""
        while self._working:
            self._ended.clear()
            await self._ended.wait()

    async def forever(self, server: web.Server) -> None:
        """Sweep until cancelled."""
        self._finishing = False
        while True:
            await asyncio.sleep(min(5.0, max(0.05, self.options.idle_timeout / 4)))
            self.once(server)


def _close(connection: web.RequestHandler) -> None:
    """Close a connection; one that does not read what waits for it is cut off."""
    transport = connection.transport
    unread = isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size() > 0
    connection.force_close()
    if unread and isinstance(transport, asyncio.Transport):
        transport.abort()
