"""Options of the DNS resolver: `resolver.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import DURATION, TEXTS, integer, option, section


@section("resolver", "Who is asked for names, and how long answers are kept.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """`resolver.*`"""

    custom: tuple[str, ...] = option(
        TEXTS,
        [],
        "Resolvers to ask, in this order. Default: those of /etc/resolv.conf.",
        example=["udp://127.0.0.1:5353"],
    )
    trust_ad: tuple[str, ...] = option(
        TEXTS, [], "Addresses of resolvers whose AD bit (DNSSEC) is believed; loopback ones always are."
    )
    timeout: float = option(DURATION, "3s", "Wait for one resolver's answer.")
    attempts: int = option(integer(1, 10), 2, "Times that each resolver is asked.")
    cache_entries: int = option(
        integer(0), 20000, "Answers of 1 KB kept in memory; larger ones count as several.", key="cache.entries"
    )
    cache_min: float = option(DURATION, "5s", "An answer is kept at least this long.", key="cache.min")
    cache_max: float = option(DURATION, "1d", "An answer is kept at most this long.", key="cache.max")
    cache_negative: float = option(
        DURATION, "15m", "That a name or record does not exist is kept at most this long.", key="cache.negative"
    )
    cache_failure: float = option(
        DURATION, "5s", "That no resolver answered is kept this long (RFC 9520).", key="cache.failure"
    )
