"""What one attempt may do where limits hold: how much on a connection and in a transaction, and when the next message.

The first message was counted when the attempt started; each further transaction of the same attempt (more recipients
than one takes, another host) is one more message, and waits for its time: a moment on the open connection, else the
rest of the recipients goes back uncounted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from relayd.routing.shaping.limits import Shape
from relayd.routing.shaping.meter import Meter

PATIENCE = 5.0
"""Seconds for which a connection is held until the next message may go."""

BUSY = 30.0
"""Seconds until what nobody knows the time of is tried again."""


@dataclass(slots=True)
class Permit:
    """shape, meters: of the destination.  clock: Unix time.  until: when the rest may go, if `next_message` refused."""

    shape: Shape
    meters: tuple[Meter, ...]
    clock: Callable[[], float]
    until: float = 0.0
    _started: bool = field(default=False, init=False)

    def recipients(self, most: int) -> int:
        """Recipients of one transaction, of `most` otherwise."""
        return most if self.shape.recipients is None else min(most, self.shape.recipients)

    def messages(self, most: int) -> int:
        """Messages on one connection, of `most` otherwise."""
        return most if self.shape.messages is None else min(most, self.shape.messages)

    def idle_left(self) -> tuple[str, int] | None:
        """For a new connection: the subject whose connections are limited, and how many idle ones of it may stay open
        beside those in use; None: without limit.
        """
        for meter in self.meters:
            limit = meter.limits.connections
            if limit is not None:
                return meter.key, max(0, limit - meter.running)
        return None

    async def next_message(self) -> bool:
        """Wait until one more message may go; False: it may not for longer than PATIENCE."""
        if not self._started:
            self._started = True
            return True
        began = self.clock()
        while True:
            now = self.clock()
            at = max((hold.at for meter in self.meters if (hold := meter.further(now)) is not None), default=now)
            if at <= now:
                for meter in self.meters:
                    meter.spend(now)
                return True
            if at - began > PATIENCE or now < began:
                self.until = at if at < math.inf else now + BUSY
                return False
            await asyncio.sleep(at - now)
