"""Which limits each destination has, how much of them is used, and what a provider's complaint changes.

The decisions are `routing/shaping`'s; here is what they need to be told: the MX hosts of domains (`learn`), the answers
of providers (`heard`), the day's counts from disk.  Everything that is kept by destination or provider is bounded: what
is idle goes first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from relayd.queue.message import Outcome, Result
from relayd.routing.shaping.daily import Count
from relayd.routing.shaping.limits import DOMAIN, PROVIDER, UNSHAPED, Limits, Shape
from relayd.routing.shaping.meter import Meter
from relayd.routing.shaping.responses import Action, Response, Scope
from relayd.routing.shaping.rules import NO_SHAPING, ShapingRules

KEPT = 20_000
"""Destinations and meters that are remembered."""

_LEARNT = 1800.0
"""Seconds after which the hosts of a domain are asked for again."""

_SHOWN = 200
"""Characters of a provider's words that are kept as a reason."""

_FAILED = (Result.DEFERRED, Result.BOUNCED, Result.EXPIRED)
_ROUTE = "route:"


class CountStore(Protocol):
    """`relayd.queue.daily`'s DailyCounts."""

    async def load(self) -> dict[str, Count]:
        """The counts by subject."""

    async def keep(self, counts: Mapping[str, Count]) -> None:
        """Make them durable."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What follows from a provider's answer.  subject: the key of who is slowed or suspended."""

    rule: Response
    subject: str
    reason: str


class _Known:
    """What is known of a destination."""

    __slots__ = ("meters", "shape", "until")

    def __init__(self, shape: Shape, meters: tuple[Meter, ...], until: float) -> None:
        self.shape = shape
        self.meters = meters
        self.until = until


class Shaping:
    """Implements `lanes.Gauges`.  clock: Unix time.  most: deliveries at once to one destination, for what no rule
    limits and a response slows.
    """

    def __init__(self, rules: ShapingRules, clock: Callable[[], float], most: Callable[[], int]) -> None:
        self.rules = rules
        self._clock = clock
        self._most = most
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._hosts: dict[str, tuple[str, ...]] = {}
        self._meters: dict[str, Meter] = {}
        self._members: dict[str, set[str]] = {}
        self._kept: dict[str, Count] = {}
        self._slowed: dict[str, Meter] = {}
        self._capped: dict[str, Meter] = {}

    # -- destinations

    def is_unknown(self, destination: str) -> bool:
        """Whether the hosts of the destination must be asked for before its limits are known."""
        if self.rules is NO_SHAPING:
            return False
        known = self._of(destination)
        return known is None or known.until <= self._clock()

    def meters(self, destination: str) -> tuple[Meter, ...]:
        """See `lanes.Gauges`."""
        if self.rules is NO_SHAPING:
            return ()
        known = self._of(destination)
        return known.meters if known is not None else ()

    def destinations(self, meter: Meter) -> Collection[str]:
        """See `lanes.Gauges`."""
        return self._members.get(meter.key, ())

    def members(self, provider: str) -> Collection[str]:
        """The destinations known to be a provider's."""
        return self._members.get(PROVIDER + provider, ())

    def providers(self) -> set[str]:
        """The providers that the rules name, and those that were met."""
        met = {key[len(PROVIDER) :] for key in self._members if key.startswith(PROVIDER)}
        return met | self.rules.named

    def meter(self, key: str) -> Meter | None:
        """The meter of a subject, when it was met."""
        return self._meters.get(key)

    def shape(self, destination: str) -> Shape:
        """What holds for a destination, as far as it is known."""
        if self.rules is NO_SHAPING:
            return UNSHAPED
        known = self._of(destination)
        return known.shape if known is not None else self.rules.shape(destination)

    def learn(self, destination: str, hosts: Sequence[str] | None) -> bool:
        """The MX hosts of a destination, those of best preference; None: they could not be had.

        Whether its meters are others now.
        """
        before = self._known.get(destination)
        if hosts is None:
            hosts = self._hosts.get(destination)
        else:
            self._hosts[destination] = tuple(hosts)
        known = self._enter(destination, hosts)
        return before is None or before.meters != known.meters

    def reconfigure(self, rules: ShapingRules) -> None:
        """Take other rules; what is in use stays counted."""
        self.rules = rules
        known, self._known, self._members = self._known, OrderedDict(), {}
        for destination in known:
            if destination in self._hosts:
                self._enter(destination, self._hosts[destination])

    def _of(self, destination: str) -> _Known | None:
        known = self._known.get(destination)
        if known is None and (destination.startswith(_ROUTE) or not self.rules.needs_mx):
            known = self._enter(destination, None)
            known.until = math.inf
        return known

    def _enter(self, destination: str, hosts: Sequence[str] | None) -> _Known:
        shape = self.rules.shape(destination, hosts)
        meters = [self._meter(key, limits) for key, limits in shape.subjects]
        own = DOMAIN + destination
        if own in self._slowed and all(meter.key != own for meter in meters):
            meters.append(self._slowed[own])
        self._forget(destination)
        known = self._known[destination] = _Known(shape, tuple(meters), self._clock() + _LEARNT)
        for key in _memberships(shape):
            self._members.setdefault(key, set()).add(destination)
        if len(self._known) > KEPT:
            self._sweep()
        return known

    def _meter(self, key: str, limits: Limits) -> Meter:
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(key, limits, self._kept.pop(key, None))
        else:
            meter.resize(limits)
        if meter.daily is not None:
            self._capped[key] = meter
        else:
            self._capped.pop(key, None)
        return meter

    def _forget(self, destination: str) -> None:
        known = self._known.pop(destination, None)
        if known is None:
            return
        for key in _memberships(known.shape):
            members = self._members.get(key)
            if members is not None:
                members.discard(destination)
                if not members:
                    del self._members[key]

    def _sweep(self) -> None:
        """Forget the destinations that have not been met for longest, and the meters that hold nothing."""
        for destination in list(self._known)[: KEPT // 10]:
            self._forget(destination)
            self._hosts.pop(destination, None)
        now = self._clock()
        used = {meter.key for known in self._known.values() for meter in known.meters}
        for key, meter in list(self._meters.items()):
            if key not in used and meter.is_idle(now):
                del self._meters[key]
                self._capped.pop(key, None)
        self._slowed = {key: meter for key, meter in self._slowed.items() if meter.factor(now) < 1.0}

    # -- answers

    def heard(self, destination: str, outcomes: Iterable[Outcome]) -> list[Complaint]:
        """What follows from the refusals of an attempt; each rule once."""
        rules = self.rules.responses
        if not rules.rules:
            return []
        provider = self.shape(destination).provider
        found: dict[str, Complaint] = {}
        for outcome in outcomes:
            if outcome.result not in _FAILED or outcome.ours or outcome.uncounted:
                continue
            rule = rules.find(provider, outcome.reply, outcome.class_)
            if rule is not None and rule.id not in found:
                whole = provider and rule.scope is Scope.PROVIDER
                subject = PROVIDER + provider if whole else destination
                found[rule.id] = Complaint(rule, subject, str(outcome.reply)[:_SHOWN])
        return list(found.values())

    def slow(self, destination: str, complaint: Complaint) -> Meter | None:
        """Give less, as a rule says; whose meter that is, None when nothing changed."""
        rule = complaint.rule
        assert rule.action is Action.SLOW
        key = complaint.subject
        meter = self._meters.get(key) if key.startswith(PROVIDER) else None
        if meter is None:
            meter = self._own_meter(destination)
        changed = meter.slow(self._clock(), rule.share, rule.seconds, rule.id, complaint.reason)
        return meter if changed else None

    def _own_meter(self, destination: str) -> Meter:
        """The meter of a destination alone, made when there is none: with nothing to limit but how much at once."""
        key = DOMAIN + destination
        known = self._of(destination)
        for meter in known.meters if known is not None else ():
            if meter.key == key:
                return meter
        meter = self._slowed[key] = self._meter(key, Limits(concurrency=self._most()))
        if known is not None:
            known.meters = (*known.meters, meter)
        return meter

    # -- the day's counts

    def restore(self, counts: Mapping[str, Count]) -> None:
        """What the disk says of the day."""
        self._kept = dict(counts)

    def wanted(self) -> dict[str, Count]:
        """What must be written so that mail under a daily cap can go on."""
        now = self._clock()
        return {
            key: count
            for key, meter in self._capped.items()
            if meter.daily is not None and (count := meter.daily.wanted(now)) is not None
        }

    def written(self, counts: Mapping[str, Count]) -> list[Meter]:
        """It was; the meters that may have room now."""
        found = [self._meters[key] for key in counts if key in self._meters]
        for meter in found:
            if meter.daily is not None:
                meter.daily.keep(counts[meter.key])
        return found

    def exact(self) -> dict[str, Count]:
        """What to write at the end."""
        return {key: meter.daily.exact() for key, meter in self._capped.items() if meter.daily is not None}


def _memberships(shape: Shape) -> set[str]:
    """The keys under which a destination is found again."""
    keys = {key for key, _ in shape.subjects}
    return keys | {PROVIDER + shape.provider} if shape.provider else keys
