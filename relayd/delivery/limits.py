"""The limits that hold for a destination now, as a plain value for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from relayd.options import format_duration
from relayd.routing.shaping.limits import Limits, Shape
from relayd.routing.shaping.meter import Meter


class LimitInForce(msgspec.Struct, frozen=True, kw_only=True):
    """One limit.  subject: whose ("provider:google", "domain:example.org"), "" for each connection or transaction.

    limit: its name as in `queue.shaping.<id>`.  value: as it is written.  rule: where it was written.  used: of it now,
    "" where nothing is counted.
    """

    subject: str
    limit: str
    value: str
    rule: str
    used: str = ""


class LimitsInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a destination.

    provider: with whom it shares limits, "" for nobody; is_named: a rule names it, it is not just the site of the MX
    hosts.  slowed: who is given less, how much, and why.  next_at: when the next message may go (Unix time), None: at
    once, or when a delivery ends.  held_by: the limit that it waits for, "" when it need not.  suspended: the key of
    the suspension that holds it back, "" when none does.
    """

    provider: str = ""
    is_named: bool = False
    limits: tuple[LimitInForce, ...] = ()
    slowed: tuple[str, ...] = ()
    next_at: float | None = None
    held_by: str = ""
    suspended: str = ""


def limits_in_force(shape: Shape, meters: Mapping[str, Meter], now: float, suspended: str) -> LimitsInForce:
    """meters: those that are counted at, by key; a subject that was not met yet has none."""
    limits: list[LimitInForce] = []
    slowed: list[str] = []
    next_at, held_by = now, ""
    subjects = dict(shape.subjects) | {key: meter.limits for key, meter in meters.items()}
    for key, each in subjects.items():
        meter = meters.get(key)
        limits += _of_subject(key, each, meter)
        if meter is None:
            continue
        hold = meter.hold(now)
        if hold is not None and hold.at > next_at:
            next_at, held_by = hold.at, f"{hold.limit} of {key}"
        if meter.slowing is not None and (factor := meter.factor(now)) < 1.0:
            wait = format_duration(max(0.0, round(meter.slowing.until - now)))
            slowed.append(f"{key} to {factor:.0%} for {wait} by {meter.slowing.rule}: {meter.slowing.reason}")
    for name, value in (("messages-per-connection", shape.messages), ("recipients", shape.recipients)):
        if value is not None:
            limits.append(LimitInForce(subject="", limit=name, value=str(value), rule=shape.origins.get(name, "")))
    return LimitsInForce(
        provider=shape.provider,
        is_named=shape.is_named,
        limits=tuple(limits),
        slowed=tuple(slowed),
        next_at=next_at if now < next_at < math.inf else None,
        held_by=held_by,
        suspended=suspended,
    )


def _of_subject(key: str, limits: Limits, meter: Meter | None) -> list[LimitInForce]:
    running = "" if meter is None else str(meter.running)
    today = "" if meter is None or meter.daily is None else str(meter.daily.used)
    rows = [
        ("concurrency", limits.concurrency, running),
        ("connections", limits.connections, running),
        ("rate", ", ".join(map(str, limits.rates)) or None, ""),
        ("daily", limits.daily, today),
    ]
    return [
        LimitInForce(subject=key, limit=name, value=str(value), rule=limits.origins.get(name, ""), used=used)
        for name, value, used in rows
        if value is not None
    ]
