"""What a message asks of its way beyond the envelope: not before, not after, how urgent, and by which rules it goes.

Few messages ask for anything: they share `NO_TERMS`, which costs nothing in memory and a NULL in the queue.
"""

from __future__ import annotations

import msgspec

MIN_PRIORITY, MAX_PRIORITY = -9, 9
"""Of MT-PRIORITY (RFC 6710 §4.1)."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times are Unix seconds.

    priority: of MT-PRIORITY (RFC 6710), -9 to 9.  release: not to be sent on before (FUTURERELEASE, RFC 4865).
    by: to be delivered by then (DELIVERBY, RFC 2852); returns: what is late is given back, else its sender is told;
    traces: its sender is told too when it goes where nobody promises the time.  rules: ids of the routing rules that
    matched it, in order; see `routing.rule`.
    """

    priority: int = 0
    release: float | None = None
    by: float | None = None
    returns: bool = False
    traces: bool = False
    rules: tuple[str, ...] = ()


NO_TERMS = Terms()
