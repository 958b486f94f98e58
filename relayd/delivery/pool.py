"""Idle connections, by next hop, source and what the configuration and the message demand of TLS.

The last one put back is the first taken: few connections stay busy and the others expire.  A connection that says or
closes anything while idle is forgotten at once, so it never costs a message; one that was idle for long says first
that it still is there.  The next hop is the whole key (address,
source, TLS, credentials), so a reload that changes a route leaves its old connections to expire unused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from relayd.delivery.connection import Connection
from relayd.delivery.options import ReuseOptions
from relayd.delivery.transaction import TransactionProtocol
from relayd.routing.next_hop import NextHop

CHECK = 10.0
"""Seconds that the peer of an idle connection has for its answer."""


class Pool:
    """Keeps connections that may be used again.  monotonic: seconds that never go back."""

    def __init__(self, options: ReuseOptions, monotonic: Callable[[], float]) -> None:
        self._options = options
        self._monotonic = monotonic
        self._idle: dict[NextHop, list[Connection]] = {}
        self._order: dict[int, tuple[NextHop, Connection]] = {}
        self._limited: dict[str, dict[int, Connection]] = {}
        self._closing: set[TransactionProtocol] = set()
        self._closed = False

    def take(self, next_hop: NextHop) -> Connection | None:
        """An idle connection to `next_hop` that looks alive; the caller gives it back or drops it."""
        idle = self._idle.get(next_hop)
        while idle:
            connection = idle.pop()
            del self._order[id(connection)]
            self._uncount(connection)
            connection.protocol.on_gone = None
            if connection.protocol.is_usable and self._is_young(connection):
                if not idle:
                    del self._idle[next_hop]
                return connection
            connection.protocol.quit()
        self._idle.pop(next_hop, None)
        return None

    async def take_checked(self, next_hop: NextHop) -> Connection | None:
        """The same; one that has been idle for long is asked first whether it still is there.

        A peer that went away without a word would else take a message of which nobody knows what became.
        """
        while (connection := self.take(next_hop)) is not None:
            if self._monotonic() - connection.parked <= self._options.check_after:
                return connection
            if await connection.protocol.check(CHECK):
                return connection
        return None

    def give_back(self, next_hop: NextHop, connection: Connection, subject: str = "") -> None:
        """Done with it for now: kept while it is worth it, else QUIT.

        subject: under whose limit of connections it counts, "" for nobody's.
        """
        protocol = connection.protocol
        if not protocol.is_usable:
            return
        if self._closed or self._options.idle <= 0 or not self._may_go_on(connection):
            self.drop(connection)
            return
        self._idle.setdefault(next_hop, []).append(connection)
        self._order[id(connection)] = (next_hop, connection)
        connection.subject = subject
        if subject:
            self._limited.setdefault(subject, {})[id(connection)] = connection
        protocol.on_gone = partial(self._forget, next_hop, connection)
        protocol.park(self._options.idle)
        connection.parked = self._monotonic()
        if len(self._order) > self._options.connections:
            oldest_hop, oldest = next(iter(self._order.values()))
            self._forget(oldest_hop, oldest)
            self.drop(oldest)

    def make_room(self, next_hop: NextHop, most: int | None) -> None:
        """Close the oldest idle connections to the host of `next_hop`, whatever their source or TLS, down to `most`."""
        if most is None:
            return
        place = (next_hop.key, next_hop.host, next_hop.port)
        same = [each for each in self._order.values() if (each[0].key, each[0].host, each[0].port) == place]
        for hop, connection in same[: max(0, len(same) - most)]:
            self._forget(hop, connection)
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Say QUIT; the connection closes by itself, `close` waits for it."""
        protocol = connection.protocol
        if protocol.is_usable:
            self._closing.add(protocol)
            protocol.on_gone = partial(self._closing.discard, protocol)
            protocol.quit()

    def keep_within(self, subject: str, most: int) -> None:
        """Close idle connections, the oldest first, until no more than `most` count under a limit."""
        idle = self._limited.get(subject)
        while idle and len(idle) > most:
            next_hop, connection = self._order[next(iter(idle))]
            self._forget(next_hop, connection)
            self.drop(connection)

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self._order)

    async def close(self) -> None:
        """Close every idle connection and wait until those being closed are."""
        self._closed = True
        for next_hop, connection in list(self._order.values()):
            self._forget(next_hop, connection)
            self.drop(connection)
        await asyncio.gather(*(each.wait_gone() for each in list(self._closing)))

    def _forget(self, next_hop: NextHop, connection: Connection) -> None:
        if self._order.pop(id(connection), None) is None:
            return
        self._uncount(connection)
        connection.protocol.on_gone = None
        idle = self._idle[next_hop]
        idle.remove(connection)
        if not idle:
            del self._idle[next_hop]

    def _uncount(self, connection: Connection) -> None:
        idle = self._limited.get(connection.subject)
        if idle is not None:
            idle.pop(id(connection), None)
            if not idle:
                del self._limited[connection.subject]

    def _may_go_on(self, connection: Connection) -> bool:
        limit = self._options.messages
        offered = connection.extensions.limits.get("MAILMAX", 0)
        if offered:
            limit = min(limit, offered)
        return connection.messages < limit and self._is_young(connection)

    def _is_young(self, connection: Connection) -> bool:
        return self._monotonic() - connection.opened < self._options.lifetime
