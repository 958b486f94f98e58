"""Whom an operator's questions about mail are put to: where it would go, and what would be found about its sender."""

from __future__ import annotations

from collections.abc import Callable

from relayd.assembly.delivering import Delivering, soft_bounce
from relayd.assembly.loaded import Loaded
from relayd.assembly.receiving import Receiving
from relayd.delivery.outlook import Outlooks, Roads
from relayd.delivery.rehearsal import Means, Rehearsals
from relayd.events import smtp
from relayd.events.event import EventStream, Span
from relayd.reception.examination import Examinations, InForce
from relayd.resolver.live import LiveResolver
from relayd.routing import options as routing


class Troubleshooting:
    """Answers by what is in force when it is asked."""

    def __init__(
        self,
        loaded: Callable[[], Loaded],
        resolver: Callable[[], LiveResolver],
        receiving: Receiving,
        delivering: Delivering,
    ) -> None:
        self._loaded = loaded
        self._resolver = resolver
        self._receiving = receiving
        self._delivering = delivering
        self._span: Span
        self.examinations: Examinations
        self.outlooks: Outlooks
        self.rehearsals: Rehearsals

    def open(self, stream: EventStream, span: Span) -> None:
        """Bring the parts up."""
        self._span = span
        self.examinations = Examinations(self._in_force, stream.clock)
        self.outlooks = Outlooks(self._roads, stream.clock)
        self.rehearsals = Rehearsals(self._means, span)

    def _in_force(self) -> InForce:
        return InForce(
            policy=self._receiving.reception.policy,
            resolver=self._resolver(),
            on_bug=self._bug_in_check,
            origin=lambda address: self._receiving.scoring.origins.of(address, self._span),
        )

    def _roads(self) -> Roads:
        loaded = self._loaded()
        return Roads(
            router=loaded.router,
            outbound=loaded.config.section(routing.OutboundOptions),
            schedule=loaded.settings.schedule,
            resolver=self._resolver(),
            hosts=lambda resolver: self._delivering.hosts(loaded, resolver),
            lane=self._delivering.lane,
            limits=self._delivering.scheduler.throttle.limits_of,
            most=loaded.settings.concurrency.per_destination,
            soft_bounce=soft_bounce(loaded),
            memory=self._delivering.tls_hosts.memory,
            standings=self._delivering.ways.standings,
            ways=self._delivering.ways.of,
        )

    def _means(self) -> Means:
        loaded, delivering = self._loaded(), self._delivering
        return Means(
            router=loaded.router,
            outbound=loaded.config.section(routing.OutboundOptions),
            resolver=self._resolver(),
            hosts=lambda direct: delivering.hosts(loaded, self._resolver(), strict=direct),
            sts=delivering.sts,
            dialer=lambda timeouts: delivering.dialer(loaded, timeouts),
            ways=delivering.ways.of,
        )

    def _bug_in_check(self, check: str, error: Exception) -> None:
        smtp.HANDLER_ERROR(self._span, reason=f"check {check}: {type(error).__name__}: {error}")
