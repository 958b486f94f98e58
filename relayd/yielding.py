"""Turns of the event loop: what large messages take of it, others get first.

A message of a hundred megabytes costs the loop what a thousand usual ones do.  It comes in pieces, and between two of
them whoever else has something to do is let go ahead until all of them together had several times what the piece took.
Where nobody else has anything to do nothing is waited for, so that a large message alone is as fast as it can be.
"""

from __future__ import annotations

import asyncio
import time

LARGE = 256 << 10
"""Octets of a message from which on it lets others go ahead."""

_SHARE = 8
"""How many times as long as a piece took others may go on before the next one."""

_LONGEST = 0.02
"""Seconds that one piece waits for others at most: 64 KiB in as long are still three megabytes a second."""

_IDLE = 100e-6
"""Seconds of a round of the loop in which nobody did anything."""


async def let_others(spent: float) -> None:
    """Let others go ahead who have something to do, after a piece of work that took `spent` seconds of CPU time."""
    owed = min(_SHARE * spent, _LONGEST)
    while owed > 0:
        began = time.perf_counter()
        await asyncio.sleep(0)
        taken = time.perf_counter() - began
        if taken < _IDLE:
            return
        owed -= taken
