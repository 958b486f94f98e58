"""Options of bans: `server.auto-ban.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import DURATION, NETWORKS, Network, option, section
from relayd.reputation.rate import RATE, Rate


@section("server.auto-ban", "Addresses that are shut out by themselves. In memory: a restart forgets them.")
@dataclass(frozen=True, slots=True, kw_only=True)
class BanOptions:
    """`server.auto-ban.*`"""

    auth_rate: Rate | None = option(
        RATE,
        "100/1d",
        "Failed sign-ins of one address (IPv6: of one /64), or with one login name, before the address that fails is "
        'banned; "none": never.',
        key="auth.rate",
    )
    first: float = option(DURATION, "1h", "How long the first ban of an address lasts; each further one twice as long.")
    longest: float = option(DURATION, "24h", "How long a ban lasts at most.")
    exempt_networks: tuple[Network, ...] = option(
        NETWORKS, [], "Networks that are never banned, as loopback is not.", example=["10.0.0.0/8"]
    )
