"""Explanations over a zone in a dict: whom the control socket asks about the road of mail, without a daemon."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relayd.control.api.troubleshoot import Explaining
from relayd.delivery.hosts import Hosts
from relayd.delivery.lane import LaneStats
from relayd.delivery.limits import LimitsInForce
from relayd.delivery.options import ReuseOptions
from relayd.delivery.outlook import Outlook, Outlooks, Roads
from relayd.delivery.stages import Stage
from relayd.mail.options import ServerOptions
from relayd.mailauth.options import AuthOptions
from relayd.reception.examination import Examination, Examinations, InForce, Suspect
from relayd.reception.options import RcptOptions, ReceptionOptions
from relayd.reception.policy import Policy
from relayd.reception.trial import Trial, Trials
from relayd.resolver.answer import Resolver
from relayd.resolver.zone import Zone
from relayd.routing.options import OutboundOptions, RouteOptions
from relayd.routing.route import Router
from relayd.routing.rule import Rules
from relayd.routing.schedule import Schedule
from relayd.routing.source_options import RuleOptions
from tests.rig.reception import real_reception
from tests.rig.rehearsing import Rehearsing


@dataclass
class World:
    """What explanations go by, for a test to change.  reception: options beside the host name.  lanes: that work."""

    directory: Path
    names: dict[str, dict[str, Any]] = field(default_factory=dict)
    resolver: Resolver | None = None
    auth: AuthOptions = field(default_factory=AuthOptions)
    reception: dict[str, Any] = field(default_factory=dict)
    outbound: OutboundOptions = field(default_factory=lambda: OutboundOptions(allow_private=True))
    routes: Mapping[str, RouteOptions] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, RuleOptions] = field(default_factory=dict)
    lanes: Mapping[str, LaneStats] = field(default_factory=dict)
    bugs: list[tuple[str, Exception]] = field(default_factory=list)

    def explaining(self) -> Explaining:
        """As the daemon makes it, of what holds when it is asked."""
        return Explaining(examine=self.examine, rcpt=self.rcpt, road=self.road, rehearse=self.rehearse)

    async def examine(self, suspect: Suspect, *, everything: bool = False) -> Examination:
        """See `Examinations`."""
        return await Examinations(self._in_force, time.time).examine(suspect, everything=everything)

    async def rcpt(self, to: str, sender: str) -> Trial:
        """See `Trials`."""
        parts = real_reception(self.directory)[0]._parts
        return await Trials(parts, self._policy).rcpt(to, sender)

    async def road(self, address: str, sender: str = "") -> Outlook:
        """See `Outlooks`."""
        return await Outlooks(self._roads, time.time).of(address, sender)

    def rehearse(
        self, recipient: str, sender: str = "", *, seconds: float = 30.0, direct: bool = False
    ) -> AsyncGenerator[Stage, None]:
        """See `Rehearsals`."""
        rehearsing = Rehearsing(port=self.outbound.port, zone=self.names)
        return rehearsing.rehearsals.run(recipient, sender, seconds=seconds, direct=direct)

    def _policy(self) -> Policy:
        usual = {
            "server": ServerOptions(postmaster="ops@mx.test", aliases=("sales: ann@a.test, bob@b.test",)),
            "rcpt": RcptOptions(relay_networks=(), relay_domains=("relayed.test",)),
        }
        return Policy(ReceptionOptions(hostname="mx.test", auth=self.auth, **{**usual, **self.reception}))

    def _resolver(self) -> Resolver:
        return self.resolver or Zone(self.names)

    def _in_force(self) -> InForce:
        return InForce(policy=self._policy(), resolver=self._resolver(), on_bug=self._on_bug)

    def _on_bug(self, check: str, error: Exception) -> None:
        self.bugs.append((check, error))

    def _roads(self) -> Roads:
        return Roads(
            router=Router(self.outbound, self.routes, self.domains, Rules(self.rules)),
            outbound=self.outbound,
            schedule=Schedule(),
            resolver=self._resolver(),
            hosts=self._hosts,
            lane=self.lanes.get,
            limits=lambda destination, hosts: LimitsInForce(),
            most=20,
            soft_bounce=False,
        )

    def _hosts(self, resolver: Resolver) -> Hosts:
        return Hosts(
            resolver,
            ReuseOptions(),
            allow_private=self.outbound.allow_private,
            is_self=lambda host, port: host == "mx.test",
            chance=lambda: 0.0,
        )
