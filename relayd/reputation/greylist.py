"""Greylisting: whoever is new is asked to come again; whoever does is let in from then on (RFC 6647).

What waits is a network, a return path and a recipient.  After the first message that was taken, the network is known,
and so is the domain that SPF or a DKIM signature proved: mail of a domain then comes from anywhere it may.  Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import msgspec

from relayd.options import Network
from relayd.reputation.kept import Kept
from relayd.reputation.options import GreylistOptions

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFRESH = 0.1
"""Share of `keep` after which a known network or domain that comes again is noted anew."""


class Known(msgspec.Struct, frozen=True):
    """A network ("198.51.100.0/24") or domain ("spf:example.org", "dkim:example.org") that is let in.  until: Unix
    time.
    """

    key: str
    until: float


class Waiting(msgspec.Struct, frozen=True):
    """Who was asked to come again.  since: Unix time."""

    network: str
    sender: str
    recipient: str
    since: float


class Greylist:
    """now: Unix time, in every call."""

    def __init__(self, options: GreylistOptions | None = None) -> None:
        self.options = options or GreylistOptions()
        self.waiting: Kept[float] = Kept("greylist-waiting", self.options.max_entries)
        self.known: Kept[float] = Kept("greylist-known", self.options.max_entries)

    def reconfigure(self, options: GreylistOptions) -> None:
        """Take other options; what is remembered stays."""
        self.options = options
        self.waiting.most = self.known.most = options.max_entries

    def network_of(self, address: Address) -> Network:
        """The network that an address counts for."""
        length = self.options.prefix_v4 if address.version == 4 else self.options.prefix_v6
        return ipaddress.ip_network((address, length), strict=False)

    def knows(self, key: str, now: float) -> bool:
        """Whether a network or domain is let in."""
        until = self.known.get(key)
        return until is not None and now < until

    def wait(self, address: Address, sender: str, recipient: str, now: float) -> float:
        """The seconds for which the recipient is refused now; 0: it is taken."""
        network = str(self.network_of(address))
        if self.knows(network, now):
            return 0.0
        options = self.options
        key = f"{network}|{sender[:320].lower()}|{recipient[:320].lower()}"
        since = self.waiting.get(key)
        if since is None or not 0 <= now - since <= options.window:
            self.waiting.put(key, now)
            return options.delay
        return max(0.0, options.delay - (now - since))

    def taken(self, address: Address, domains: Iterable[str], now: float) -> None:
        """A message was taken; domains: "spf:" or "dkim:" with what was proved."""
        keep = self.options.keep
        for key in (str(self.network_of(address)), *domains):
            until = self.known.get(key)
            if until is None or until - now < keep * (1 - _REFRESH):
                self.known.put(key, now + keep)

    def sweep(self, now: float) -> int:
        """Forget what is over; how many."""
        window = self.options.window
        return self.waiting.drop_where(lambda key, since: now - since > window) + self.known.drop_where(
            lambda key, until: until <= now
        )

    def all_waiting(self) -> list[Waiting]:
        """Who was asked to come again, the one that waits longest first."""
        found = []
        for key, since in self.waiting.items():
            network, sender, recipient = key.split("|", 2)
            found.append(Waiting(network, sender, recipient, since))
        return found

    def all_known(self, now: float) -> list[Known]:
        """Who is let in."""
        return [Known(key, until) for key, until in self.known.items() if now < until]

    def forget(self, key: str) -> int:
        """Forget a network or domain as `all_known` shows it, and who waits from there; "": all.  How many."""
        if not key:
            return self.waiting.drop_where(lambda *_: True) + self.known.drop_where(lambda *_: True)
        return self.waiting.drop_where(lambda each, _: each.split("|", 1)[0] == key) + int(self.known.drop(key))
