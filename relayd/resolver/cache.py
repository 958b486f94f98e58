"""A bounded cache with a time to live for each entry, and one flight for equal questions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Landed(Exception):
    """The cache was closed before there was a value."""


class Cache(Generic[K, V]):
    """Keeps values of at most `entries` units of weight; the one unused for longest goes first.  clock: seconds."""

    def __init__(self, entries: int, clock: Callable[[], float]) -> None:
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V, int]] = OrderedDict()
        self._weight = 0
        self._flights: dict[K, asyncio.Task[V]] = {}

    def get(self, key: K) -> V | None:
        """The value, while it is fresh."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def keep(self, key: K, value: V, seconds: float, weight: int = 1) -> None:
        """Keep `value` for `seconds`.  weight: how many usual values it is as large as."""
        if seconds <= 0:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = (self._clock() + seconds, value, weight)
        self._weight += weight
        while self._weight > self._entries:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: K) -> None:
        self._weight -= self._kept.pop(key)[2]

    async def fetch(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """What `work` gives; callers with the same key share one run of it, and one that gives up does not stop it.

        Landed, when the cache is closed meanwhile.
        """
        flight = self._flights.get(key)
        if flight is None:

            async def fly() -> V:
                return await work()

            flight = asyncio.create_task(fly())
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.cancelled() and task is not None and not task.cancelling():
                raise Landed from None
            raise

    def _landed(self, key: K, flight: asyncio.Task[V]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # whoever still waits is told; when nobody does, asyncio need not complain

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._weight = 0

    async def close(self) -> None:
        """End what is in flight and wait for that."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._kept)
