"""Options of the queue: its limits and where bodies go."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import BOOLEAN, DURATION, SIZE, integer, option, section


@section("queue", "The queue as a whole.")
@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceOptions:
    """`queue.*`"""

    min_free: int = option(SIZE, "1GB", "Below this much free space new mail is deferred with 452 4.3.1.")
    hard_floor: int | None = option(
        SIZE, None, "Below this much free space no new delivery is attempted. Default: an eighth of min-free."
    )
    reserve: int = option(SIZE, "16MB", "Space set aside to record the outcomes of deliveries when the disk is full.")
    inline_limit: int = option(
        SIZE, "64KB", "Messages up to this size are kept in the database, larger ones as files of their own."
    )
    lease: float = option(DURATION, "2h", "How long a delivery may take until another node may take it over.")


@section("queue.deleted", "Mail that an operator deleted.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedOptions:
    """`queue.deleted.*`"""

    keep: float = option(
        DURATION,
        "1d",
        "How long deleted messages and cancelled recipients can be brought back; 0: not at all. They go earlier when"
        " less than queue.min-free is left.",
    )


@section("quarantine", "Held mail.")
@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineOptions:
    """`quarantine.*`"""

    keep: float = option(
        DURATION, "30d", "How long a message is held before it is removed, because nobody released it; 0: for ever."
    )
    weekly_mail: bool = option(
        BOOLEAN, True, "Whether server.postmaster is told once a week how much is held and how much was removed."
    )


@section("queue.limits", "How much the queue takes.")
@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """`queue.limits.*`"""

    messages: int | None = option(integer(1), None, "Messages in the queue past which new mail is deferred.")
    bytes: int | None = option(SIZE, None, "Octets in the queue past which new mail is deferred.", example="50GB")
