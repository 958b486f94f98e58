"""The ways of one attempt: which hosts of a route it tries, in which order, and from which source.

Between `routing` (pure: shares, health, budgets, sources) and the attempts: what became of each try is told back here,
and stated.  Where no route has several hosts or budgets and no source is named, an attempt has its one way at no cost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.queue.message import Message, Recipient
from relayd.routing.next_hop import NextHop
from relayd.routing.route import Router
from relayd.routing.smarthost import Busy, Smarthost, Standings
from relayd.routing.source import Source, SourcePool

SPENT = Reply(451, "4.4.5", "Every smarthost of the route has had its messages for now")
SOURCES_SUSPENDED = Reply(451, "4.4.5", "Every source that the mail may leave from is suspended")

SUSPENDED_LOOK = 60.0
"""Seconds after which mail looks again whether a source is no longer suspended, when nobody said until when."""

_SPREAD = 30.0
"""Seconds over which mail that waits for the same moment comes back."""


@dataclass(frozen=True, slots=True)
class Way:
    """One next hop of an attempt.  host: the smarthost that it is, when it has shares or budgets."""

    hop: NextHop
    host: Smarthost | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """No attempt can be made before `due` (Unix seconds); reply: why."""

    reply: Reply
    due: float


class Slots:
    """Connections at once to each smarthost that has a limit of them; who comes too late waits in line."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    def is_free(self, host: Smarthost) -> bool:
        """Whether a slot would be had at once."""
        most = host.allowance.connections
        return not most or self._used.get(host.name, 0) < most

    def used(self, host: Smarthost) -> int:
        """How many are in use."""
        return self._used.get(host.name, 0)

    @asynccontextmanager
    async def one(self, host: Smarthost | None) -> AsyncIterator[None]:
        """Hold one, for the time of a try."""
        if host is None or not host.allowance.connections:
            yield
            return
        name = host.name
        while self._used.get(name, 0) >= host.allowance.connections:
            waiter = asyncio.get_running_loop().create_future()
            line = self._lines.setdefault(name, deque())
            line.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter in line:
                    line.remove(waiter)
                else:
                    self._next(name)  # it was woken and is not there to go on
                raise
        self._used[name] = self._used.get(name, 0) + 1
        try:
            yield
        finally:
            self._used[name] -= 1
            self._next(name)

    def _next(self, name: str) -> None:
        line = self._lines.get(name)
        while line:
            waiter = line.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        if not line:
            self._lines.pop(name, None)
        if not self._used.get(name, 1):
            self._used.pop(name)


class Ways:
    """router: the configuration.  standings: of the hosts; kept over reloads.  chance: 0 <= x < 1.

    suspended_until: of a source's key; None: it is not suspended, infinity: until somebody resumes it.
    """

    def __init__(
        self,
        router: Router,
        standings: Standings,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        suspended_until: Callable[[str], float | None] = lambda key: None,
    ) -> None:
        self.standings = standings
        self.slots = Slots()
        self._clock = clock
        self._chance = chance
        self._suspended_until = suspended_until
        self.reconfigure(router)

    def reconfigure(self, router: Router) -> None:
        """Take another configuration from the next attempt on; what is known of hosts that it still names stays."""
        self._router = router
        self._has_sources = bool(router.sources.sources)
        self.standings.keep_only(self.hosts())

    def hosts(self) -> dict[str, Smarthost]:
        """All smarthosts with shares or budgets, by name."""
        return {host.name: host for hosts in self._router.hosts.values() for host in hosts}

    def of(self, next_hop: NextHop, rules: Sequence[str], address: str) -> Sequence[Way] | Wait:
        """The ways of an attempt to `next_hop`, in order.

        rules: those that matched the message.  address: its recipient, or the first of them.
        """
        hosts = self._router.hosts.get(next_hop.route) if next_hop.route is not None else None
        if hosts is None and not self._has_sources:
            return (Way(next_hop),)
        now = self._clock()
        source = None
        if self._has_sources and not next_hop.host.startswith("unix:"):
            pool = self._router.source(next_hop, rules, address)
            if pool is not None:
                source = pool.choose(self._chance, lambda key: self._suspended_until(key) is not None)
                if source is None:
                    return self._wait(SOURCES_SUSPENDED, self._resumed_at(pool, now))
        if hosts is None:
            return (Way(_from(next_hop, source)),)
        order = self.standings.order(hosts, now, self._chance)
        if isinstance(order, Busy):
            return self._wait(SPENT, order.until)
        if len(order) > 1:  # one that has a connection to give goes before one that has none, among their like
            aside = {each.name: self.standings.of(each).aside_until > now for each in order}
            order.sort(key=lambda each: (aside[each.name], not each.weight, not self.slots.is_free(each)))
        return [Way(replace(each.hop, source=source, message_tls=next_hop.message_tls), each) for each in order]

    def groups(self, message: Message, next_hop: NextHop) -> list[tuple[Recipient, ...]]:
        """The recipients by the source that their rules name; nearly always one group."""
        rules, recipients = message.terms.rules, message.recipients
        if not rules or not self._has_sources or len(recipients) == 1:
            return [recipients]
        found: dict[str, list[Recipient]] = {}
        for each in recipients:
            pool = self._router.source(next_hop, rules, each.address)
            found.setdefault("" if pool is None else pool.id, []).append(each)
        return [tuple(group) for group in found.values()]

    def begin(self, way: Way, span: Span) -> bool:
        """Set one message of a host's budget apart for a try; False: another attempt had the last."""
        host = way.host
        if host is None:
            return True
        now = self._clock()
        if not self.standings.left(host, now):
            return False
        self.standings.spend(host, now)
        if not self.standings.left(host, now):
            events.SMARTHOST_SPENT(span, id=host.name, due=self.standings.free_at(host, now))
        return True

    def end(self, way: Way, span: Span, *, given: int, reached: bool | None) -> None:
        """A try is over.  given: messages that the host was given.  reached: None when it was not put to the test."""
        host = way.host
        if host is None:
            return
        now = self._clock()
        if given != 1:
            self.standings.spend(host, now, given - 1)
        if reached:
            if self.standings.succeeded(host):
                events.SMARTHOST_BACK(span, id=host.name)
        elif reached is False:
            before = self.standings.of(host).aside_until
            until = self.standings.failed(host, now)
            if until != before:
                events.SMARTHOST_ASIDE(span, id=host.name, due=until, total=self.standings.of(host).failures)

    def room(self, way: Way) -> int | None:
        """How many connections to the way's host may be idle while one more is made; None: as many as there are."""
        host = way.host
        if host is None or not host.allowance.connections:
            return None
        return max(0, host.allowance.connections - self.slots.used(host))

    def aside(self) -> dict[str, float]:
        """For metrics: seconds for which each host is still set aside."""
        now = self._clock()
        return {name: max(0.0, self.standings.of(host).aside_until - now) for name, host in self.hosts().items()}

    def left(self) -> dict[str, float]:
        """For metrics: messages that each host with a budget may be given now."""
        now, found = self._clock(), {}
        for name, host in self.hosts().items():
            if host.allowance.hour or host.allowance.day:
                standing = self.standings.of(host)
                found[name] = float(min(standing.hour.left(now), standing.day.left(now)))
        return found

    def connections(self) -> dict[str, float]:
        """For metrics: connections in use to each host that has a limit of them."""
        return {name: float(self.slots.used(host)) for name, host in self.hosts().items() if host.allowance.connections}

    def spent(self) -> Wait:
        """For an attempt of which every way was refused by `begin`."""
        return self._wait(SPENT, self._clock() + _SPREAD)

    def _wait(self, reply: Reply, due: float) -> Wait:
        return Wait(reply, due + _SPREAD * self._chance())

    def _resumed_at(self, pool: SourcePool, now: float) -> float:
        ends = [until for each in pool.members if (until := self._suspended_until(each.key)) is not None]
        return max(now + 1.0, min([*ends, now + SUSPENDED_LOOK]))


def _from(next_hop: NextHop, source: Source | None) -> NextHop:
    return next_hop if source is None else replace(next_hop, source=source)
