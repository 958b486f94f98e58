"""Whether an account behaves as its owner would: a stolen password shows by bounces and by sign-ins from everywhere.

Counts what each account did in the last hour, in twelve slices of five minutes; nothing is asked of disk or network.
`now`: Unix time, in every call.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field

HOUR = 3600.0
SLICE = 300.0
_REMEMBERED = 10_000
"""Accounts whose last hour is remembered; the one that did something the longest ago is forgotten first."""

_MAX_NETWORKS = 1000

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """bounce_percent: more than this share of at least `bounce_recipients` recipients (0: never) bounced for good.

    networks: signed in from more than so many (0: never).
    """

    bounce_percent: int = 20
    bounce_recipients: int = 50
    networks: int = 20


@dataclass(slots=True)
class _Hour:
    """slices: [number of the slice, recipients, hard bounces].  networks: when each was last seen."""

    slices: list[list[int]] = field(default_factory=list)
    networks: dict[object, float] = field(default_factory=dict)


class AccountWatch:
    """Counts, and says when an account is over a limit; it then starts anew, so it is said once."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._accounts: OrderedDict[str, _Hour] = OrderedDict()

    def outcomes(self, account: str, recipients: int, hard: int, now: float) -> str:
        """Some recipients of an account's mail were tried for the first time, `hard` of them bounced for good.

        Why it is to be held, "" when it is not.
        """
        limits = self.limits
        if not limits.bounce_recipients:
            return ""
        hour = self._hour(account)
        slice = int(now // SLICE)
        if not hour.slices or hour.slices[-1][0] != slice:
            hour.slices.append([slice, 0, 0])
        hour.slices[-1][1] += recipients
        hour.slices[-1][2] += hard
        oldest = slice - int(HOUR // SLICE)
        hour.slices = [each for each in hour.slices if oldest < each[0] <= slice]
        total, bounced = (sum(each[place] for each in hour.slices) for place in (1, 2))
        if total < limits.bounce_recipients or bounced * 100 <= limits.bounce_percent * total:
            return ""
        hour.slices.clear()
        return f"{bounced} of {total} recipients bounced for good within an hour"

    def sign_in(self, account: str, address: Address, now: float) -> str:
        """An account signed in from an address.  Why it is to be held, "" when it is not."""
        if not self.limits.networks:
            return ""
        networks = self._hour(account).networks
        networks[network_of(address)] = now
        if len(networks) <= self.limits.networks:
            return ""
        for network, seen in list(networks.items()):
            if not 0 <= now - seen < HOUR or len(networks) > _MAX_NETWORKS:
                del networks[network]
        if len(networks) <= self.limits.networks:
            return ""
        total = len(networks)
        networks.clear()
        return f"signed in from {total} networks within an hour"

    def _hour(self, account: str) -> _Hour:
        hour = self._accounts.get(account)
        if hour is None:
            hour = self._accounts[account] = _Hour()
            if len(self._accounts) > _REMEMBERED:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(account)
        return hour


def network_of(address: Address) -> object:
    """What counts as one network: of IPv4 the /24, of IPv6 the /48."""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return ipaddress.IPv6Network((int(address) >> 80 << 80, 48))
        address = mapped
    return ipaddress.IPv4Network((int(address) >> 8 << 8, 24))
