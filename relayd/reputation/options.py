"""Options of what is remembered of others: bans, `server.auto-ban.*`, `session.tarpit.*`, `greylist.*`, `reputation.*`,
and the suppression list, `queue.suppression.*`.
"""

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
    abuse_rate: Rate | None = option(
        RATE,
        "35/1d",
        "Recipients that do not exist or are not ours, asked for by one stranger's address (IPv6: by one /64), before "
        'it is banned from every listener; "none": never.',
        key="abuse.rate",
    )
    loiter_rate: Rate | None = option(
        RATE,
        "150/1d",
        'Connections of one stranger\'s address that end because nothing comes; "none": never.',
        key="loiter.rate",
    )
    scan_rate: Rate | None = option(
        RATE,
        "30/1d",
        "Requests of the control socket for paths of other programs (.php, /wp-, /cgi-bin ...), as those ask who look "
        'for holes; "none": never.',
        key="scan.rate",
    )
    first: float = option(DURATION, "1h", "How long the first ban of an address lasts; each further one twice as long.")
    longest: float = option(DURATION, "24h", "How long a ban lasts at most.")
    exempt_networks: tuple[Network, ...] = option(
        NETWORKS, [], "Networks that are never banned, as loopback is not.", example=["10.0.0.0/8"]
    )


@section("session.tarpit", "Strangers who ask for recipients that do not exist wait for the answer.")
@dataclass(frozen=True, slots=True, kw_only=True)
class TarpitOptions:
    """`session.tarpit.*`"""

    delay: float = option(DURATION, "0", "How long the answer takes; 0: not at all.", example="5s")
    slots: int = option(integer(1, 10_000), 100, "Sessions that wait at once; further ones are answered at once.")
    recipients: int = option(integer(1), 10, "Such recipients of a session; then 421 and the connection is closed.")


@section("greylist", "Strangers who are new are asked to come again (RFC 6647).")
@dataclass(frozen=True, slots=True, kw_only=True)
class GreylistOptions:
    """`greylist.*`"""

    enabled: bool = option(BOOLEAN, False, "Whether recipients are refused 451 4.7.1 at first.")
    delay: float = option(DURATION, "5m", "How long one that is new has to wait.")
    window: float = option(DURATION, "2d", "Until when it has to come again.")
    keep: float = option(
        DURATION, "36d", "How long a network, or a domain that SPF or DKIM proved, is let in after a message was taken."
    )
    prefix_v4: int = option(integer(8, 32), 24, "Bits of an IPv4 address that make its network.")
    prefix_v6: int = option(integer(16, 64), 64, "Bits of an IPv6 address that make its network.")
    max_entries: int = option(integer(100, 5_000_000), 100_000, "Networks, domains and waiting ones remembered, each.")


@section("reputation", "What the mail of strangers was scored before: by address, by domain, by return path.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationOptions:
    """`reputation.*`"""

    enabled: bool = option(
        BOOLEAN, False, "Whether it is remembered, and sets the tags REPUTATION_GOOD and REPUTATION_BAD."
    )
    half_life: float = option(DURATION, "14d", "After which time half of what is known is gone.")
    max_entries: int = option(integer(100, 5_000_000), 100_000, "Senders remembered.")


@section("spam-filter.replies", "Answers to what our own people sent are told by its Message-ID.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyOptions:
    """`spam-filter.replies.*`"""

    enable: bool = option(BOOLEAN, False, "Remember what trusted sessions send, and set TRUSTED_REPLY on answers.")
    keep: float = option(DURATION, "30d", "For how long.")
    max_entries: int = option(
        integer(100, 5_000_000), 100_000, "Messages remembered; each takes some 200 octets of memory."
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
