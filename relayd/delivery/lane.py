"""One destination's work in memory, and who knows its meters."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from relayd.queue.message import Job
from relayd.routing.shaping.meter import Meter
from relayd.routing.turns import Turns
from relayd.routing.window import Window


class Gauges(Protocol):
    """Who knows the meters of destinations."""

    def meters(self, destination: str) -> tuple[Meter, ...]:
        """Those that a job for the destination must be let by; none while nothing is known of it."""

    def destinations(self, meter: Meter) -> Collection[str]:
        """Whom a meter is for, as far as known."""


class NoGauges:
    """Nothing is shaped."""

    def meters(self, destination: str) -> tuple[Meter, ...]:
        """None."""
        return ()

    def destinations(self, meter: Meter) -> Collection[str]:
        """None."""
        return ()


class Lane:
    """The work of one destination.  running: jobs in an attempt.  overflow: more of its mail may be due on disk.

    meters: what else must have room; parked: the one it waits for.
    """

    __slots__ = ("key", "meters", "overflow", "parked", "running", "turns", "window")

    def __init__(self, key: str, most: int) -> None:
        self.key = key
        self.window = Window(most)
        self.turns: Turns[Job] = Turns()
        self.running = 0
        self.overflow = False
        self.meters: tuple[Meter, ...] = ()
        self.parked: Meter | None = None


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One destination for people.  limit: how many it may run at once now."""

    destination: str
    running: int
    waiting: int
    senders: int
    limit: int
