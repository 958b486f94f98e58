"""What keeps the scheduler's lanes within the limits: timers, suspensions, the day's counts, and what is stated.

Mail that a limit holds back for a moment waits in memory, and a timer starts it.  What would wait longer than REST goes
back to disk uncounted, and its destinations are left out of leasing until the time has come; so do those of a suspended
provider.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from relayd.delivery.due import postponed
from relayd.delivery.lanes import Lanes
from relayd.delivery.limits import LimitsInForce, limits_in_force
from relayd.delivery.parts import QueueSide
from relayd.delivery.shaping import Complaint, CountStore, Shaping
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.address import mailbox_key
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Outcome, Recipient
from relayd.queue.suspension import Subject, subject_of
from relayd.routing.shaping.meter import Hold, Meter

REST = 60.0
"""Seconds of waiting past which mail goes back to disk."""

STATED = 60.0
"""Seconds for which one limit is not stated again."""

HELD = Reply(451, "4.4.5", "Deliveries to the domain are suspended")

HELD_LOOK = 300.0
"""Seconds after which mail of a suspended domain that goes by a route looks again whether it may."""

_ROUTE = "route:"
_AGAIN = 1.0
_MOST_STATED = 4096


class Actions(Protocol):
    """What the throttle asks of the scheduler."""

    def start_more(self) -> None:
        """Limits have room."""

    def changed(self) -> None:
        """Look at the queue now."""

    def own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the scheduler's name."""

    def report(self, queue_id: int, reason: str) -> None:
        """A failure of this server."""


class Throttle:
    """clock: Unix time.  counts: where the day's counts are kept; None: in memory alone."""

    def __init__(
        self,
        shaping: Shaping,
        lanes: Lanes,
        actions: Actions,
        queue: QueueSide,
        span: Span,
        counts: CountStore | None = None,
    ) -> None:
        self.shaping = shaping
        self._lanes = lanes
        self._actions = actions
        self._keep = queue.suspend
        self._lift = queue.unsuspend
        self._span = span
        self._clock: Callable[[], float] = span.stream.clock
        self._counts = counts
        self._keys: frozenset[str] = frozenset()
        self._pending: frozenset[str] = frozenset()
        self._domains: frozenset[str] = frozenset()
        self._resting: dict[str, tuple[Meter, float]] = {}
        self._stated: dict[tuple[str, str], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._writing = False
        self._is_open = False
        lanes.on_hold = self._held
        lanes.on_low = actions.changed

    async def open(self) -> None:
        """Read the day's counts.  A failure of the database is reported: the day then begins anew."""
        if self._counts is None:
            return
        try:
            self.shaping.restore(await self._counts.load())
        except Exception as error:  # mail goes on
            self._actions.report(0, f"the day's counts could not be read: {error!r}")

    async def close(self) -> None:
        """Write the day's counts as they are."""
        if self._timer is not None:
            self._timer.cancel()
        counts = self.shaping.exact()
        if self._counts is None or not counts:
            return
        try:
            await self._counts.keep(counts)
        except Exception as error:  # what was reserved stays used
            self._actions.report(0, f"the day's counts could not be kept: {error!r}")

    # -- suspensions

    def refresh(self, suspensions: Iterable[Any]) -> None:
        """Take note of what is suspended now; what is new, and who was and is no more, is stated.

        Not at the start: what was on disk is no news.
        """
        found = {each.destination: each for each in suspensions}
        for key in self._keys - found.keys() - self._pending:
            events.RESUMED(self._span, id=key)
        for key in found.keys() - self._keys if self._is_open else ():
            each = found[key]
            events.SUSPENDED(self._span, id=key, account_name=each.by, reason=each.reason, due=each.until)
        self._keys, self._is_open = frozenset(found) | self._pending, True
        self._apply()

    async def suspend(self, key: str, due: float, by: str, reason: str) -> None:
        """Attempt nothing there until `due`, from now on: the queue is told, and may take its time."""
        self._pending |= {key}
        self._keys |= {key}
        self._apply()
        events.SUSPENDED(self._span, id=key, account_name=by, reason=reason, due=due)
        try:
            await self._keep(key, due, by, reason)
        except Exception as error:  # in force until the next round asks the queue
            self._actions.report(0, f"the suspension of {key} could not be kept: {error!r}")
        finally:
            self._pending -= {key}

    async def lift_gone(self, is_known: Callable[[str], bool]) -> None:
        """Lift the suspensions of routes that are not there any more: their mail moves, and nobody else has them.

        is_known: whether a destination still names something.
        """
        gone = [key for key in self._keys if subject_of(key)[0] is Subject.ROUTE and not is_known(key)]
        for key in gone:
            try:
                await self._lift(key)
            except Exception as error:  # it can be lifted by hand
                self._actions.report(0, f"the suspension of {key}, which is gone, could not be lifted: {error!r}")
        if gone:
            self._actions.changed()

    def part(self, job: Job) -> tuple[Job | None, list[Outcome]]:
        """Take out the recipients of a job for a route whose own domain is suspended: other mail of the route goes on.

        What is left, None: nothing; and the outcomes of the others.
        """
        recipients = job.message.recipients
        if not self._domains or not job.destination.startswith(_ROUTE):
            return job, []
        held = tuple(each for each in recipients if mailbox_key(each.address)[1] in self._domains)
        if not held:
            return job, []
        left = tuple(each for each in recipients if each not in held)
        outcomes = postponed(_with(job, held), HELD, self._clock() + HELD_LOOK)
        return _with(job, left) if left else None, outcomes

    def is_suspended(self, destination: str) -> bool:
        """Whether nothing may be sent there now."""
        return destination in self._lanes.suspended

    def suspension_of(self, destination: str, provider: str) -> str:
        """The key of the suspension that holds a destination of a provider back, "" when none does."""
        keys = (destination, destination.removeprefix("mx:"), f"{Subject.PROVIDER.value}:{provider}")
        return next((key for key in keys if key in self._keys), "")

    def limits_of(self, destination: str, hosts: Sequence[str] | None = None) -> LimitsInForce:
        """What holds for a destination now.  hosts: its MX hosts of best preference, for one that was not met yet."""
        shaping = self.shaping
        shape = shaping.shape(destination)
        if hosts is not None and shaping.is_unknown(destination):
            shape = shaping.rules.shape(destination, hosts)
        meters = {key: meter for key, _ in shape.subjects if (meter := shaping.meter(key)) is not None}
        meters |= {meter.key: meter for meter in shaping.meters(destination)}
        return limits_in_force(shape, meters, self._clock(), self.suspension_of(destination, shape.provider))

    def next_end(self) -> float:
        """When the first limit that mail rests for has room again; infinity: none does."""
        return min((until for _, until in self._resting.values()), default=math.inf)

    def _apply(self) -> None:
        now = self._clock()
        closed: set[str] = set()
        accounts, domains = set(), set()
        for key in self._keys:
            subject, name = subject_of(key)
            if subject is Subject.PROVIDER:
                closed.update(self.shaping.members(name))
            elif subject is Subject.ACCOUNT:
                accounts.add(name)
            elif subject is Subject.ROUTE:
                closed.add(key)
            elif subject is Subject.DOMAIN:
                domains.add(name)
                closed.update((name, f"mx:{name}"))
        for key, (meter, until) in list(self._resting.items()):
            if until <= now or meter.hold(now) is None:
                del self._resting[key]
            else:
                closed.update(self._members(meter))
        self._lanes.suspended = closed
        self._lanes.suspended_senders = frozenset(accounts)
        self._domains = frozenset(domains)

    def _members(self, meter: Meter) -> Iterable[str]:
        return self.shaping.destinations(meter)

    # -- limits

    def learn(self, destination: str, hosts: list[str] | None) -> None:
        """The MX hosts of a destination are known now, or could not be had."""
        if self.shaping.learn(destination, hosts):
            self._lanes.equip(destination)
        shape = self.shaping.shape(destination)
        if f"{Subject.PROVIDER.value}:{shape.provider}" in self._keys or any(
            meter.key in self._resting for meter in self.shaping.meters(destination)
        ):
            self._lanes.suspended.add(destination)

    def slow(self, destination: str, complaint: Complaint) -> None:
        """Give a provider less."""
        meter = self.shaping.slow(destination, complaint)
        if meter is None:
            return
        self._lanes.equip(destination)
        rule = complaint.rule
        now = self._clock()
        events.SLOWED(
            self._span,
            id=meter.key,
            rule=rule.id,
            reason=complaint.reason,
            value=meter.factor(now),
            due=now + rule.seconds,
        )

    def started(self, meters: tuple[Meter, ...]) -> None:
        """A job was counted at these."""
        now = self._clock()
        if any(meter.daily is not None and meter.daily.wanted(now) is not None for meter in meters):
            self._write()

    def arm(self) -> None:
        """Set the timer for the next limit that has room."""
        self._set_timer(self._lanes.next_release())

    def _set_timer(self, at: float) -> None:
        if at == self._armed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed, self._timer = at, None
        if at < math.inf:
            delay = max(0.0, at - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._armed, self._timer = math.inf, None
        self._actions.start_more()

    def _held(self, meter: Meter, hold: Hold) -> None:
        now = self._clock()
        if hold.at == math.inf and hold.limit == "daily":
            self._write()
            return
        self._state(meter, hold, now)
        if hold.at == math.inf:
            return
        if hold.at - now > REST and meter.key not in self._resting:
            self._resting[meter.key] = (meter, hold.at)
            self._actions.changed()
        elif hold.at < self._armed:
            self._set_timer(hold.at)

    def _state(self, meter: Meter, hold: Hold, now: float) -> None:
        """State that a limit holds mail back, unless that was stated just now."""
        about = (meter.key, hold.limit)
        if 0.0 <= now - self._stated.get(about, -math.inf) < STATED:
            return
        if len(self._stated) >= _MOST_STATED:
            self._stated.clear()
        self._stated[about] = now
        if hold.limit in ("concurrency", "connections"):
            events.CONCURRENCY_LIMIT_EXCEEDED(self._span, id=meter.key, limit=hold.limit)
        else:
            events.RATE_LIMIT_EXCEEDED(self._span, id=meter.key, limit=hold.limit, next_retry=hold.at)

    def _write(self) -> None:
        """Reserve more of the day's counts, in the background."""
        if not self._writing:
            self._writing = True
            self._actions.own(self._reserve())

    async def _reserve(self) -> None:
        try:
            while counts := self.shaping.wanted():
                if self._counts is not None:
                    await self._counts.keep(counts)
                for meter in self.shaping.written(counts):
                    self._lanes.release(meter)
        except Exception as error:  # mail under a cap waits: it may not go uncounted
            self._actions.report(0, f"the day's counts could not be kept: {error!r}")
            asyncio.get_running_loop().call_later(_AGAIN, self._write)
        finally:
            self._writing = False
        self._actions.start_more()


def _with(job: Job, recipients: tuple[Recipient, ...]) -> Job:
    return replace(job, message=replace(job.message, recipients=recipients))
