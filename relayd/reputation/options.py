"""Options of bans, `server.auto-ban.*`, and of the suppression list, `queue.suppression.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import BOOLEAN, DURATION, NETWORKS, Network, choice, integer, list_of, option, section
from relayd.reputation.rate import RATE, Rate


@section(
    "server.auto-ban",
    "Addresses that are shut out by themselves, of the control socket and of listeners to submit mail.",
)
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


@section(
    "queue.suppression", "Recipients that are sent nothing, because what was sent before showed that they are dead."
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionOptions:
    """`queue.suppression.*`"""

    enable: bool = option(
        BOOLEAN,
        False,
        "Keep the list, and refuse mail of trusted senders to who is on it. Relayed inbound mail and reports go on.",
    )
    causes: tuple[str, ...] = option(
        list_of(choice("bad-mailbox", "bad-domain")),
        ["bad-mailbox", "bad-domain"],
        "Classes of final refusals that put a recipient on the list. What is said of us (reputation, policy, rate, "
        "content) or of the way (TLS, DNS) never does.",
    )
    scope: str = option(
        choice("domain", "account", "global"),
        "domain",
        "Whose mail such an entry stops: that of the same sender domain, of the same account (of the sender domain "
        "where there is none), or everybody's.",
    )
    keep: float = option(DURATION, "30d", "How long such an entry lasts.")
    max_entries: int = option(
        integer(1, 2_000_000),
        100_000,
        "Entries at most; those that end first make room. Each takes about 80 octets of memory.",
    )
