"""Options of how mail is handed to the next hop: `queue.soft-bounce`, `queue.outbound.timeouts.*` and `.reuse.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import BOOLEAN, DURATION, integer, option, section


@section("queue", "The queue as a whole.")
@dataclass(frozen=True, slots=True, kw_only=True)
class BounceOptions:
    """`queue.soft-bounce`"""

    soft_bounce: bool = option(BOOLEAN, False, "Defer what would bounce: for the first days of a new installation.")


@section("queue.outbound.timeouts", "How long the next hop may take for each step (RFC 5321 section 4.5.3.2).")
@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutOptions:
    """`queue.outbound.timeouts.*`, in seconds."""

    connect: float = option(DURATION, "30s", "For one address.")
    greeting: float = option(DURATION, "5m", "Until the banner; also for EHLO and AUTH.")
    tls: float = option(DURATION, "1m", "For the TLS handshake.")
    mail: float = option(DURATION, "5m", "For the answer to MAIL.")
    rcpt: float = option(DURATION, "5m", "For the answer to each RCPT.")
    data: float = option(DURATION, "2m", "For the answer to DATA.")
    block: float = option(DURATION, "3m", "For the peer to take some of the message.")
    dot: float = option(DURATION, "10m", "For the answer to the end of the message.")


@section("queue.outbound.reuse", "Hosts tried and connections kept.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseOptions:
    """`queue.outbound.reuse.*`"""

    messages: int = option(integer(1), 100, "Messages on one connection.")
    recipients: int = option(integer(1), 100, "Recipients of one transaction.")
    idle: float = option(DURATION, "10s", "How long an idle connection is kept; 0 closes it at once.")
    check_after: float = option(
        DURATION, "3s", "A connection that was idle for longer is asked (NOOP) whether it still is there."
    )
    lifetime: float = option(DURATION, "5m", "How long a connection may be used.")
    connections: int = option(integer(0), 200, "Idle connections kept in all.")
    hosts: int = option(integer(1), 5, "MX hosts tried in one attempt.")
    addresses: int = option(integer(1), 2, "Addresses tried of one host.")
