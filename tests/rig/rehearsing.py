"""A rehearsal over a zone in a dict, with policies that need no web."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from relayd.delivery.connection import Dialer
from relayd.delivery.host_policy import HostPolicies
from relayd.delivery.hosts import Hosts
from relayd.delivery.options import ReuseOptions
from relayd.delivery.rehearsal import Means, Rehearsals
from relayd.delivery.sts_fetch import FetchFailed
from relayd.delivery.sts_policies import PolicyStore, StsPolicies
from relayd.delivery.tls import TlsContexts
from relayd.delivery.ways import Ways
from relayd.events.event import Event, EventStream, Span
from relayd.resolver.zone import Zone
from relayd.routing.mta_sts import Policy
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router
from relayd.routing.rule import Rules
from relayd.routing.smarthost import Standings
from relayd.routing.source import Sources
from relayd.routing.source_options import RuleOptions, SourceOptions


class NoWeb:
    """Gives the policy that a test has put there."""

    def __init__(self, policy: Policy | None) -> None:
        self.policy = policy

    async def fetch(self, domain: str) -> Policy:
        if self.policy is None:
            raise FetchFailed("the web server answered 404")
        return self.policy


@dataclass(kw_only=True)
class Rehearsing:
    """What a rehearsal goes by, for a test to change.  events: what the daemon hears of it."""

    port: int
    zone: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policy: Policy | None = None
    ca_files: Sequence[str] = ()
    routes: Mapping[str, RouteOptions] = field(default_factory=dict)
    rules: Mapping[str, RuleOptions] = field(default_factory=dict)
    sources: Mapping[str, SourceOptions] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    unsigned: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resolver = Zone(self.zone, secure=True, unsigned=self.unsigned)
        self.outbound = OutboundOptions(**{"port": self.port, "allow_private": True, **self.options})
        self.router = Router(self.outbound, self.routes, rules=Rules(self.rules), sources=Sources(self.sources))
        self.ways = Ways(self.router, Standings((60.0,)), clock=time.time, chance=lambda: 0.0)
        self.sts = StsPolicies(self.resolver, NoWeb(self.policy), PolicyStore(), time.time)
        self.rehearsals = Rehearsals(self._means, Span(EventStream(time.time, [self.events.append])))

    def _means(self) -> Means:
        return Means(
            router=self.router,
            outbound=self.outbound,
            resolver=self.resolver,
            hosts=self._hosts,
            sts=self.sts,
            dialer=lambda timeouts: Dialer("relay.example", timeouts, TlsContexts(self.ca_files)),
            ways=self.ways.of,
        )

    def _hosts(self, direct: bool) -> Hosts:
        return Hosts(
            self.resolver,
            ReuseOptions(),
            allow_private=self.outbound.allow_private,
            is_self=lambda name, port: name == "relay.example",
            chance=lambda: 0.0,
            policies=HostPolicies(self.resolver, sts=self.sts if direct or self.outbound.mta_sts else None),
        )

    async def run(self, recipient: str, **how: Any) -> list[dict[str, Any]]:
        """The stages as they are on the wire, with times that can be compared."""
        found = []
        async for stage in self.rehearsals.run(recipient, **how):
            value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(stage))
            if "elapsed" in value:
                assert isinstance(value["elapsed"], int)
                assert value["elapsed"] >= 0
                value["elapsed"] = 0
            found.append(value)
        return found


def types(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Only what they are called."""
    return [each["type"] for each in found]
