"""Hosts that are never banned by themselves: their mail was taken, or a list in the DNS knows it for good.  Pure."""

from __future__ import annotations

import functools

from relayd.reputation.bans import Address, site_of
from relayd.reputation.kept import Kept

WEEK = 7 * 86400.0
MAX_HOSTS = 100_000
_AGAIN = 3600.0
"""Seconds after which a host that is good again is noted anew."""


@functools.lru_cache(4096)
def _key(address: Address) -> str:
    """The site of an address; remembered, for it is asked for with every message and slow to make."""
    return str(site_of(address))


class GoodHosts:
    """now: Unix time, in every call."""

    def __init__(self) -> None:
        self.hosts: Kept[float] = Kept("good-hosts", MAX_HOSTS)

    def note(self, address: Address, now: float) -> None:
        """Mail of the host was taken, or a list knows it for good mail."""
        key = _key(address)
        at = self.hosts.get(key)
        if at is None or not 0 <= now - at < _AGAIN:
            self.hosts.put(key, now)

    def is_good(self, address: Address, now: float) -> bool:
        """Whether that was within a week."""
        at = self.hosts.get(_key(address))
        return at is not None and 0 <= now - at < WEEK

    def sweep(self, now: float) -> int:
        """Forget hosts of more than a week ago; how many."""
        return self.hosts.drop_where(lambda key, at: now - at >= WEEK)
