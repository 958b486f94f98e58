"""The hosts of a route: shares, health, budgets, and which of them an attempt tries, in which order.

A host that could not be reached, or would not talk, is set aside for a time that grows with each failure in a row, and
is tried again after it; while all are set aside, all are tried all the same, the one that comes back soonest first.  A
host that has had its messages of the hour or the day is not tried at all until there are new ones.

Pure: time and chance come in.  The state outlives a reload: it is kept by the host's name within its route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayd.routing.budget import Budget
from relayd.routing.next_hop import NextHop
from relayd.routing.weighted import in_turn

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one host may be given: messages, and connections at once; 0: no limit."""

    hour: int = 0
    day: int = 0
    connections: int = 0

    def __bool__(self) -> bool:
        return bool(self.hour or self.day or self.connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Smarthost:
    """One host of a route.  hop: the route as if it had no other host."""

    hop: NextHop
    weight: int = 1
    allowance: Allowance = Allowance()

    @property
    def name(self) -> str:
        """Its name in events, metrics and the kept state: "route:hub a.example:25"."""
        return name_of(self.hop)


def name_of(hop: NextHop) -> str:
    """The name of the host that a next hop of a route is."""
    return f"{hop.key} {hop.host}" if hop.host.startswith("unix:") else f"{hop.key} {hop.host}:{hop.port}"


@dataclass(slots=True)
class Standing:
    """What is known of one host.  failures: in a row.  aside_until: Unix seconds."""

    hour: Budget
    day: Budget
    failures: int = 0
    aside_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Busy:
    """No host of the route has messages left; the first does at `until`."""

    until: float


class Standings:
    """The state of all hosts of routes with several hosts or budgets.

    set_aside: seconds, after each failure in a row; the last repeats.
    """

    def __init__(self, set_aside: Sequence[float]) -> None:
        self.set_aside = set_aside or (30.0,)
        self._standings: dict[str, Standing] = {}

    def order(self, hosts: Sequence[Smarthost], now: float, chance: Callable[[], float]) -> list[Smarthost] | Busy:
        """The hosts that one attempt tries, in order."""
        able = [each for each in hosts if self.left(each, now)]
        if not able:
            return Busy(min(self.free_at(each, now) for each in hosts))
        if len(able) == 1:
            return able
        well = [each for each in able if self.of(each).aside_until <= now]
        aside = [each for each in able if each not in well]
        tried = [well[place] for place in in_turn([each.weight for each in well], chance)]
        return tried + sorted(aside, key=lambda each: self.of(each).aside_until)

    def spend(self, host: Smarthost, now: float, count: int = 1) -> None:
        """Note messages given to a host; a negative count takes back."""
        standing = self.of(host)
        if host.allowance.hour:
            standing.hour.spend(now, count)
        if host.allowance.day:
            standing.day.spend(now, count)

    def succeeded(self, host: Smarthost) -> bool:
        """The host took part in a transaction; True when it had been set aside before."""
        standing = self.of(host)
        before, standing.failures, standing.aside_until = standing.failures, 0, 0.0
        return before > 0

    def failed(self, host: Smarthost, now: float) -> float:
        """The host could not be reached or would not talk: until when it is set aside.

        Failures that attempts side by side have of one trouble count once.
        """
        standing = self.of(host)
        if standing.aside_until <= now:
            standing.failures += 1
            standing.aside_until = now + self.set_aside[min(standing.failures, len(self.set_aside)) - 1]
        return standing.aside_until

    def keep_only(self, hosts: Mapping[str, Smarthost]) -> None:
        """Forget the hosts that the configuration no longer names; the limits of the others are those of `hosts`."""
        self._standings = {name: each for name, each in self._standings.items() if name in hosts}
        for name, standing in self._standings.items():
            allowance = hosts[name].allowance
            standing.hour.limit, standing.day.limit = allowance.hour, allowance.day

    def kept(self) -> dict[str, Any]:
        """The messages spent, by host, as JSON takes them."""
        return {
            name: {"hour": each.hour.kept(), "day": each.day.kept()}
            for name, each in self._standings.items()
            if each.hour.spent or each.day.spent
        }

    def restore(self, kept: Mapping[str, Any], hosts: Mapping[str, Smarthost]) -> None:
        """Take up what `kept` gave, of the hosts that are still there."""
        for name, budgets in kept.items():
            host = hosts.get(name)
            if host is not None:
                standing = self.of(host)
                standing.hour.restore((int(part), int(count)) for part, count in budgets.get("hour", ()))
                standing.day.restore((int(part), int(count)) for part, count in budgets.get("day", ()))

    def of(self, host: Smarthost) -> Standing:
        """What is known of a host."""
        name = host.name
        standing = self._standings.get(name)
        if standing is None:
            allowance = host.allowance
            standing = Standing(Budget(allowance.hour, HOUR), Budget(allowance.day, DAY))
            self._standings[name] = standing
        return standing

    def left(self, host: Smarthost, now: float) -> bool:
        """Whether a host may be given one more message."""
        if not (host.allowance.hour or host.allowance.day):
            return True
        standing = self.of(host)
        return standing.hour.left(now) > 0 and standing.day.left(now) > 0

    def free_at(self, host: Smarthost, now: float) -> float:
        """When a host may be given one more message."""
        standing = self.of(host)
        return max(standing.hour.free_at(now), standing.day.free_at(now))
