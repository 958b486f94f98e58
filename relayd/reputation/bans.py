"""Bans: an address that fails to sign in too often is shut out for a time that doubles with each ban."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from relayd.options import Network
from relayd.reputation.options import BanOptions
from relayd.reputation.rate import Buckets, Rate

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_BANS = 10_000
"""Bans remembered, those that are over included; the oldest is forgotten first."""

REMEMBERED_FOR = 7 * 86400.0
"""Seconds after its end for which a ban still makes the next one longer."""


REASONS = {
    "abuse": "recipients that do not exist",
    "loiter": "idle connections",
    "scan": "requests of programs that are not here",
}
"""What brings a ban beside failed sign-ins, by the name of its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """One ban.  since, until: Unix time.  times: how many the address has had.  evidence: what it did last."""

    network: Network
    since: float
    until: float
    reason: str
    times: int
    evidence: str = ""


def site_of(address: Address) -> Network:
    """The network that counts as one: the address itself, of IPv6 its /64; an IPv4 address in IPv6 is itself."""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return ipaddress.IPv6Network((int(address) >> 64 << 64, 64))
        address = mapped
    return ipaddress.IPv4Network(address)


class Bans:
    """Counts failures and knows who is banned.  now: Unix time, in every call."""

    def __init__(self, options: BanOptions | None = None) -> None:
        self._options = options or BanOptions()
        self._by_site = Buckets(self._options.auth_rate)
        self._by_login = Buckets(self._options.auth_rate)
        self._kinds = {kind: Buckets(rate) for kind, rate in _rates(self._options).items()}
        self.is_spared: Callable[[Address, float], bool] = lambda address, now: False
        """Whether an address is not to be banned by itself, for other reasons than the options."""
        self.on_suspect: Callable[[Address], None] = lambda address: None
        """Told of each address whose first failure is counted, long before it is banned."""
        self._bans: OrderedDict[Network, Ban] = OrderedDict()
        self.on_change: Callable[[Network, Ban | None], None] = lambda network, ban: None
        """Told of each new ban, and (None) of each that is forgotten."""

    def reconfigure(self, options: BanOptions) -> None:
        """Take other options; bans that stand keep their end."""
        self._options = options
        self._by_site.rate = self._by_login.rate = options.auth_rate
        for kind, rate in _rates(options).items():
            self._kinds[kind].rate = rate

    def is_exempt(self, address: Address) -> bool:
        """Whether the address is in a network that is never banned."""
        return any(address in network for network in self._options.exempt_networks)

    def banned(self, address: Address, now: float) -> Ban | None:
        """The ban that stands against `address`."""
        ban = self._bans.get(site_of(address))
        return ban if ban is not None and ban.since <= now < ban.until and not self.is_exempt(address) else None

    def failed(self, address: Address, login: str, now: float) -> Ban | None:
        """Count a failed sign-in ("": with no login name); the ban that it brings upon the address."""
        if self.is_exempt(address) or self.is_spared(address, now):
            return None
        site = site_of(address)
        if site not in self._by_site:
            self.on_suspect(address)
        self._by_site.take(site, now)
        over = self._by_site.wait(site, now) > 0
        if login:
            self._by_login.take(login[:256], now)
            over = over or self._by_login.wait(login[:256], now) > 0
        evidence = f"sign-in as {login[:100]!r}" if login else ""
        return self._ban(site, now, "repeated failed sign-ins", evidence) if over else None

    def offended(self, kind: str, address: Address, evidence: str, now: float) -> Ban | None:
        """Count something that only who means ill does, of REASONS; the ban that it brings upon the address."""
        if self.is_exempt(address) or self.is_spared(address, now):
            return None
        site = site_of(address)
        counted = self._kinds[kind]
        if site not in counted:
            self.on_suspect(address)
        counted.take(site, now)
        return self._ban(site, now, REASONS[kind], evidence) if counted.wait(site, now) > 0 else None

    def _ban(self, site: Network, now: float, reason: str, evidence: str) -> Ban:
        before = self._bans.pop(site, None)
        times = before.times + 1 if before is not None and now - before.until < REMEMBERED_FOR else 1
        lasts = min(self._options.longest, self._options.first * 2 ** min(times - 1, 30))
        until = now + lasts
        ban = Ban(network=site, since=now, until=until, reason=reason, times=times, evidence=evidence[:500])
        self._bans[site] = ban
        self.on_change(site, ban)
        if len(self._bans) > MAX_BANS:
            self.on_change(self._bans.popitem(last=False)[0], None)
        return ban

    def restore(self, ban: Ban) -> None:
        """Take a ban of before a restart."""
        self._bans[ban.network] = ban
        if len(self._bans) > MAX_BANS:
            self._bans.popitem(last=False)

    def __len__(self) -> int:
        return len(self._bans)

    def standing(self, now: float) -> list[Ban]:
        """The bans that stand, the oldest first."""
        return [ban for ban in self._bans.values() if ban.since <= now < ban.until]

    def lift(self, address: Address, now: float) -> bool:
        """Forget the ban of `address` and its failures; whether one stood."""
        site = site_of(address)
        self._by_site.forget(site)
        for each in self._kinds.values():
            each.forget(site)
        ban = self._bans.pop(site, None)
        if ban is not None:
            self.on_change(site, None)
        return ban is not None and ban.since <= now < ban.until


def _rates(options: BanOptions) -> dict[str, Rate | None]:
    return {"abuse": options.abuse_rate, "loiter": options.loiter_rate, "scan": options.scan_rate}
