"""What is allowed of one subject (a provider, a domain), and where each limit was written."""

from __future__ import annotations

from dataclasses import dataclass, field

from relayd.routing.shaping.pace import Rate

PROVIDER, DOMAIN = "provider:", "domain:"
"""What the keys of subjects begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None, or no rates: without limit.  connections: open at once, idle ones included.  daily: messages a day.

    origins: the setting that gave each limit, by the limit's name.
    """

    concurrency: int | None = None
    connections: int | None = None
    rates: tuple[Rate, ...] = ()
    daily: int | None = None
    origins: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def at_once(self) -> int | None:
        """Deliveries at once: each holds a connection."""
        if self.concurrency is None or self.connections is None:
            return self.concurrency or self.connections
        return min(self.concurrency, self.connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What holds for one destination.

    provider: the name that it shares with others of its kind, "" when there is none.  subjects: keys and their limits;
    all of them must have room.  messages: on one connection; recipients: of one transaction; None: no limit.
    origins: of these two.  is_named: the provider is one that the rules name, not just a site.
    """

    provider: str = ""
    is_named: bool = False
    subjects: tuple[tuple[str, Limits], ...] = ()
    messages: int | None = None
    recipients: int | None = None
    origins: dict[str, str] = field(default_factory=dict, hash=False)


UNSHAPED = Shape()
"""Nothing is limited."""
