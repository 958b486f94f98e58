"""Who may connect once more: connections in total and of one address."""

from __future__ import annotations

import ipaddress
from collections import Counter

from relayd.reception.client import Address

Key = int | tuple[int, int]


def counted_as(address: Address) -> Key:
    """What an address is counted under: itself, or its /64 when it is IPv6 (one customer has at least that)."""
    if isinstance(address, ipaddress.IPv4Address):
        return int(address)
    return 6, int(address) >> 64


class ConnectionCounts:
    """Open connections of one listener."""

    def __init__(self) -> None:
        self.total = 0
        self._of: Counter[Key] = Counter()

    def enter(self, limit: int) -> bool:
        """Count one more connection; False, and it is not counted, when there are `limit` already."""
        if self.total >= limit:
            return False
        self.total += 1
        return True

    def leave(self) -> None:
        """A connection that was let in is gone."""
        self.total -= 1

    def enter_address(self, address: Address, limit: int) -> bool:
        """Count one more connection of `address`; False, and it is not counted, when there are `limit` already."""
        key = counted_as(address)
        if self._of[key] >= limit:
            return False
        self._of[key] += 1
        return True

    def leave_address(self, address: Address) -> None:
        """A connection that was let in by its address is gone."""
        key = counted_as(address)
        if self._of[key] > 1:
            self._of[key] -= 1
        else:
            del self._of[key]
