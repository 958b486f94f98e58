"""Options of which road mail takes beside its recipient's domain (`queue.rule.<id>.*`), and of the addresses it
leaves from (`queue.source.<id>.*`, `queue.source-pool.<id>.*`)."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import REQUIRED, TEXT, TEXTS, integer, option, section


@section(
    "queue.rule.<id>", "Next hop and source by sender, account, listener or header; the first that matches counts."
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """`queue.rule.<id>.*`

    All conditions that are given must hold, any of their values is enough.  Rules are looked at by `order`, then by id,
    once, when the message is taken; its queue entry remembers them.
    """

    order: int = option(integer(), 0, "Rules with a lower number are looked at first; equal ones by id.")
    sender: tuple[str, ...] = option(
        TEXTS,
        [],
        'Return paths as they go out: "a@b.c", "b.c", ".b.c" (below it), "*@*.c", "<>" (bounces).',
        example=["news.example.org"],
    )
    recipient: tuple[str, ...] = option(TEXTS, [], "Recipients, written as senders are.")
    account: tuple[str, ...] = option(TEXTS, [], 'Accounts that signed in: "app", "app-*".')
    listener: tuple[str, ...] = option(TEXTS, [], "Ids of listeners.")
    header: tuple[str, ...] = option(
        TEXTS,
        [],
        'Fields of the header with a pattern for their value: "X-Stream: bulk*".',
        example=["X-Stream: bulk*"],
    )
    next_hop: str | None = option(
        TEXT, None, '"mx" or the id of a route. Default: what the recipient\'s domain says.', example="smarthost"
    )
    source: str | None = option(TEXT, None, "Id of a source or source pool to leave from.", example="bulk")


@section("queue.source.<id>", "Addresses of this machine that mail leaves from.")
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """`queue.source.<id>.*`"""

    address: str | None = option(
        TEXT, None, "IPv4 address; without one no IPv4 host is connected to.", example="192.0.2.7"
    )
    address_v6: str | None = option(
        TEXT, None, "IPv6 address; without one no IPv6 host is connected to.", example="2001:db8::7"
    )
    ehlo: str | None = option(
        TEXT,
        None,
        "Name given in EHLO, which the address should resolve to. Default: server.hostname.",
        example="out7.example.org",
    )


@section("queue.source-pool.<id>", "Sources that share mail.")
@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePoolOptions:
    """`queue.source-pool.<id>.*`"""

    sources: tuple[str, ...] = option(
        TEXTS,
        REQUIRED,
        'Ids of sources, each with the share that it takes: "out7 weight=3"; without one, 1; 0: not now.',
        example=["out7 weight=3"],
    )
