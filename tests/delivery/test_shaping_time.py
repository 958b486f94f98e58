"""Shaping in moved time: what is sent when, by the lanes under the shipped rules and some of the test's own.

A simulation of the scheduler's work without its tasks: attempts take as long as a test says, timers ring when the lanes
ask for it, and what is leased beyond memory comes when there is room.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relayd.delivery.lanes import Lanes
from relayd.delivery.shaping import Shaping
from relayd.delivery.slots import Slot
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Outcome, Result
from relayd.routing.options import ConcurrencyOptions
from relayd.routing.shaping.options import ShapingOptions
from relayd.routing.shaping.pace import Rate
from relayd.routing.shaping.responses import Action
from relayd.routing.shaping.rules import ShapingRules, read_rules
from tests.delivery.setting import job

NOW = 1_800_000_000.0
PROVIDERS = ("alpha", "beta", "gamma")


@dataclass
class Sent:
    """One message at its provider."""

    provider: str
    domain: str
    started: float
    ended: float


@dataclass
class Simulation:
    """Lanes, and a clock that jumps from one happening to the next."""

    rules: ShapingRules
    took: Callable[[], float]
    options: ConcurrencyOptions = field(default_factory=lambda: ConcurrencyOptions(total=200, per_destination=50))
    now: float = NOW
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shaping = Shaping(self.rules, lambda: self.now, lambda: self.options.per_destination)
        self.lanes = Lanes(self.options, self.shaping, lambda: self.now)
        self.disk: dict[str, deque[Job]] = defaultdict(deque)
        self._ends: list[tuple[float, int, Slot, Job]] = []
        self._numbers = itertools.count()
        self._look = 0.0
        self.on_end: Callable[[Job], None] = lambda job: None

    def offer(self, work: Job) -> None:
        """A new message, as reception offers it."""
        if not self.lanes.admits(work.destination, "a"):
            self.disk[work.destination].append(work)
        elif (slot := self.lanes.start_at_once(work)) is None:
            self.lanes.enter(work)
        else:
            self._start(slot, work)

    def _start(self, slot: Slot, work: Job) -> None:
        heapq.heappush(self._ends, (self.now + self.took(), next(self._numbers), slot, work))
        provider = self.shaping.shape(work.destination).provider
        self.sent.append(Sent(provider, work.destination, self.now, self._ends[0][0]))

    def run(self, until: float = math.inf) -> None:
        """Go on until nothing is left, or until a time."""
        while self.now < until:
            self._lease()
            self._reserve()
            while (started := self.lanes.start_next()) is not None:
                self._start(*started)
            at = min(self._ends[0][0] if self._ends else math.inf, self.lanes.next_release())
            if at == math.inf and any(self.disk.values()):
                at = self._look
            if at == math.inf:
                return
            self.now = max(self.now, at)
            while self._ends and self._ends[0][0] <= self.now:
                _, _, slot, work = heapq.heappop(self._ends)
                self.lanes.judge(slot.key, answered=True)
                self.lanes.end(slot)
                self.on_end(work)

    def _lease(self) -> None:
        if self.now < self._look or not any(self.disk.values()):
            return
        self._look = self.now + 0.2
        closed = self.lanes.full()
        for destination, waiting in self.disk.items():
            while waiting and destination not in closed and self.lanes.room:
                self.lanes.enter(waiting.popleft())
                closed = self.lanes.full() if len(waiting) % 50 == 0 else closed

    def _reserve(self) -> None:
        while counts := self.shaping.wanted():
            for meter in self.shaping.written(counts):
                self.lanes.release(meter)


def to(domain: str, number: int = 0) -> Job:
    """A message to a domain."""
    work = job(f"u{number}@{domain}")
    return replace(work, destination=domain, message=replace(work.message, sender_key="a"))


def known(simulation: Simulation, domains: dict[str, str]) -> None:
    """Tell the domains' MX hosts."""
    for domain, provider in domains.items():
        simulation.shaping.learn(domain, [f"mx1.{provider}.example", f"mx2.{provider}.example"])


limits = st.builds(
    ShapingOptions,
    mx=st.just(()),
    concurrency=st.integers(1, 30),
    rate=st.lists(
        st.one_of(
            st.builds(Rate, st.integers(20, 200), st.just(1.0)),
            st.builds(Rate, st.integers(1000, 6000), st.just(60.0)),
            st.builds(Rate, st.integers(60_000, 200_000), st.just(3600.0)),
        ),
        max_size=2,
        unique_by=lambda rate: rate.period,
    ).map(tuple),
    daily=st.one_of(st.none(), st.integers(500, 5000)),
    domain_concurrency=st.one_of(st.none(), st.integers(1, 10)),
)


@settings(max_examples=6, deadline=None)
@given(
    options=st.tuples(limits, limits, limits),
    seed=st.integers(0, 2**32),
    hurry=st.floats(0.01, 1.0),
    share=st.booleans(),
)
def test_ten_thousand_messages_to_three_providers_obey_every_limit_at_every_second(
    options: tuple[ShapingOptions, ...], seed: int, hurry: float, share: bool
) -> None:
    chance = random.Random(seed)
    records = {
        name: dataclasses.replace(each, mx=(f"{name}.example",)) for name, each in zip(PROVIDERS, options, strict=True)
    }
    simulation = Simulation(ShapingRules((), records), took=lambda: chance.expovariate(1.0) * hurry)
    domains = {f"d{number}.example": PROVIDERS[number % 3] for number in range(30)}
    known(simulation, domains)
    names = list(domains)
    for number in range(10_000):
        simulation.offer(to(names[int(chance.random() ** (3 if share else 1) * len(names))], number))
        if number % 10 == 0:
            simulation.run(simulation.now + 0.01)
    simulation.run()
    assert_obeyed(simulation, records)
    assert len(simulation.sent) == 10_000


def assert_obeyed(simulation: Simulation, records: dict[str, ShapingOptions]) -> None:
    """No limit was passed in any second, minute, hour, day or moment."""
    by_provider: dict[str, list[Sent]] = defaultdict(list)
    for each in simulation.sent:
        by_provider[each.provider].append(each)
    for provider, sent in by_provider.items():
        options = records[provider]
        times = [each.started for each in sent]
        for rate in options.rate:
            for first, beyond in zip(times, times[rate.messages :], strict=False):
                assert beyond - first >= rate.period - 1e-6, (provider, str(rate))
        if options.concurrency is not None:
            assert most_at_once(sent) <= options.concurrency
        if options.domain_concurrency is not None:
            domains = {each.domain for each in sent}
            of_each = (most_at_once([one for one in sent if one.domain == each]) for each in domains)
            assert max(of_each) <= options.domain_concurrency
        if options.daily is not None:
            days: dict[int, int] = defaultdict(int)
            for at in times:
                days[int(at // 86400)] += 1
            assert max(days.values()) <= options.daily


def most_at_once(sent: list[Sent]) -> int:
    """How many ran at the busiest moment."""
    changes = sorted([(each.ended, -1) for each in sent] + [(each.started, 1) for each in sent])
    return max(itertools.accumulate(change for _, change in changes))


def test_as_many_run_as_may_and_no_more() -> None:
    records = {
        "alpha": ShapingOptions(mx=("alpha.example",), concurrency=7, domain_concurrency=3),
        "beta": ShapingOptions(mx=("beta.example",), concurrency=2),
    }
    simulation = Simulation(ShapingRules((), records), took=lambda: 1.0)
    known(simulation, {"a1.example": "alpha", "a2.example": "alpha", "a3.example": "alpha", "b.example": "beta"})
    for number in range(400):
        simulation.offer(to(("a1.example", "a2.example", "a3.example", "b.example")[number % 4], number))
    peaks: dict[str, int] = defaultdict(int)

    def watch(work: Job) -> None:
        for key, meter in simulation.shaping._meters.items():
            peaks[key] = max(peaks[key], meter.running)

    simulation.on_end = watch
    simulation.run()
    assert len(simulation.sent) == 400
    assert peaks.pop("provider:beta") <= 2
    assert peaks.pop("provider:alpha") <= 7
    assert max(peaks.values()) <= 3
    ends = max(each.started for each in simulation.sent if each.provider == "alpha") - NOW
    assert ends < 300 / 7 + 4, "the slots were used"


def test_a_rate_is_used_to_the_full_by_many_domains() -> None:
    records = {"alpha": ShapingOptions(mx=("alpha.example",), rate=(Rate(50, 1.0),))}
    simulation = Simulation(ShapingRules((), records), took=lambda: 0.05)
    known(simulation, {f"d{number}.example": "alpha" for number in range(500)})
    for number in range(3000):
        simulation.offer(to(f"d{number % 500}.example", number))
    simulation.run()
    assert_obeyed(simulation, records)
    last = max(each.started for each in simulation.sent) - NOW
    assert last == pytest.approx(60.0, rel=0.05)


RESPONSE = """
[provider.alpha]
mx = ["alpha.example"]
[provider.beta]
mx = ["beta.example"]
[[response]]
id = "alpha-busy"
providers = ["alpha"]
codes = [421]
text = ["try again in an hour"]
action = "suspend"
for = "1h"
"""


def test_a_421_rule_suspends_one_and_no_other() -> None:
    shaping = Shaping(ShapingRules((read_rules(RESPONSE, "own.toml"),)), lambda: NOW, lambda: 20)
    for domain, provider in (("a.example", "alpha"), ("b.example", "beta"), ("c.example", "gamma")):
        shaping.learn(domain, [f"mx.{provider}.example"])
    refused = Outcome(
        number=0, address="x", result=Result.DEFERRED, reply=Reply(421, "4.7.0", "busy, try again in an hour")
    )
    found = {domain: shaping.heard(domain, [refused, refused]) for domain in ("a.example", "b.example", "c.example")}
    assert [(each.subject, each.rule.action) for each in found["a.example"]] == [("provider:alpha", Action.SUSPEND)]
    assert found["b.example"] == found["c.example"] == []
    ours = replace(refused, ours=True)
    assert shaping.heard("a.example", [ours]) == []
