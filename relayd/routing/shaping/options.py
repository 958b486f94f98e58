"""Options of how much a provider is given (`queue.shaping.<id>.*`) and of what is done about its answers."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import TEXT, TEXTS, integer, option, section
from relayd.routing.shaping.pace import RATES, Rate

_COUNT = integer(1, 1_000_000_000)


@section(
    "queue.shaping.<id>",
    "How much a provider is given: all destinations that one id names share its limits. The ids of conf/shaping.toml"
    " (google, microsoft, yahoo, ...) may be written to change their limits; `default` holds for each other site of MX"
    " hosts on its own. Mail that has to wait for a limit has no attempt counted.",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ShapingOptions:
    """`queue.shaping.<id>.*`; None is what conf/shaping.toml says of this id or of `default`."""

    domains: tuple[str, ...] = option(
        TEXTS, [], 'Recipient domains; "*.example.org" for those below, "*" for all.', example=["example.org"]
    )
    mx: tuple[str, ...] = option(
        TEXTS, [], "Domains that hold the MX hosts of the destinations.", example=["mx.example.net"]
    )
    routes: tuple[str, ...] = option(TEXTS, [], "Ids of routes (queue.route.<id>).", example=["smarthost"])
    concurrency: int | None = option(integer(1, 10000), None, "Deliveries at once.", example=20)
    connections: int | None = option(
        integer(1, 10000), None, "Connections at once, those kept for the next message among them.", example=25
    )
    rate: tuple[Rate, ...] = option(
        RATES,
        [],
        "Messages a second, minute or hour, evenly spaced; several hold together.",
        example=["10/s", "9000/h"],
    )
    daily: int | None = option(_COUNT, None, "Messages a day (UTC).", example=50000)
    messages: int | None = option(
        integer(1, 10000), None, "Messages on one connection.", key="messages-per-connection", example=50
    )
    recipients: int | None = option(integer(1, 10000), None, "Recipients of one transaction.", example=50)
    domain_concurrency: int | None = option(
        integer(1, 10000), None, "Deliveries at once to each of its domains.", key="domain.concurrency", example=5
    )
    domain_rate: tuple[Rate, ...] = option(
        RATES, [], "Messages in a time to each of its domains.", key="domain.rate", example=["2/s"]
    )
    domain_daily: int | None = option(
        _COUNT, None, "Messages a day to each of its domains.", key="domain.daily", example=1000
    )


@section("queue.providers", "What is known of the big providers.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """`queue.providers.*`"""

    rules: str | None = option(
        TEXT,
        None,
        "TOML file of providers and responses that goes before conf/shaping.toml, which says how it is written.",
        example="/etc/relayd/shaping.toml",
    )
