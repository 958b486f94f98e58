"""The road that mail for an address would take now, found as an attempt finds it, without connecting to anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec

from relayd.delivery.endpoint import Endpoint
from relayd.delivery.errand import WaysOf, only_way
from relayd.delivery.host_policy import configured
from relayd.delivery.hosts import Hosts, NoHosts
from relayd.delivery.lane import LaneStats
from relayd.delivery.limits import LimitsInForce
from relayd.delivery.outcome import Verdict, judge_trouble
from relayd.delivery.tls import demanded_mode
from relayd.delivery.ways import Wait, Way
from relayd.events import delivery as events
from relayd.events.event import Event, EventStream, Span
from relayd.mail.address import mailbox_key
from relayd.options import format_duration
from relayd.resolver.answer import Resolver
from relayd.resolver.budget import BudgetResolver, Question
from relayd.routing.next_hop import NextHop, TlsMode
from relayd.routing.options import OutboundOptions
from relayd.routing.route import MX, Router
from relayd.routing.rule import Facts
from relayd.routing.schedule import Schedule
from relayd.routing.smarthost import Standings
from relayd.routing.source import SourcePool
from relayd.routing.tls_memory import TlsMemory, may_be_left_out
from relayd.routing.tls_policy import TlsPolicy
from relayd.telemetry.render import own_fields, rfc3339

SECONDS = 20.0
"""For all questions about one road."""

_FOUND = (events.MX_LOOKUP, events.IP_LOOKUP)
"""What the outlook itself shows."""

_TLS = {
    TlsMode.NONE: "none: everything is sent in the clear",
    TlsMode.OPPORTUNISTIC: "STARTTLS where the host offers it, whatever its certificate; else in the clear",
    TlsMode.REQUIRED: "TLS or no delivery, whatever the certificate",
    TlsMode.VERIFIED: "TLS with a certificate that is valid for the host's name, or no delivery",
}


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host in the order in which it would be tried; those of one preference by chance.

    preference: of its MX record, null where none was asked for.  tls: what is demanded of it; tls_why: who says so.
    tls_known: what is remembered of its TLS, "" for nothing.
    """

    host: str
    addresses: tuple[str, ...]
    port: int
    preference: int | None = None
    tls: str
    tls_why: tuple[str, ...]
    tls_known: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of mail that always fails.  delay: seconds since the one before, age: of the message."""

    attempt: int
    delay: float
    age: float
    note: str


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """`queue.schedule.*`, and the attempts that it comes to."""

    retry: tuple[str, ...]
    notify: tuple[str, ...]
    expire: str
    attempts: tuple[Attempt, ...]


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """The road to one address.

    destination: the name of the next hop in the queue, in suspensions and limits.  setting: the key that decided, and
    its value; why: the same in words.  route: its id, null for the domain's own hosts.  host: whose hosts these are.
    tls: the mode; tls_policy: the same in words.  sign_in_as: the name that we sign in with there, "" for none.
    leaves_from: the source, or the pool of sources, in words, "" for the system's choice.  smarthosts: those of a route
    with several or with budgets, in words.
    waits: why no attempt would be made now, and when the next look is taken, "" when one would.
    problem: why there is no host to try, "" when there is; outcome: what then becomes of the mail.  notes: what was
    seen on the way.  running, waiting, limit: deliveries there now, in memory, and how many there may be at once.
    shaping: what else limits them.
    """

    address: str
    destination: str
    setting: str
    why: str
    route: str | None
    host: str
    port: int
    protocol: str
    use_mx: bool
    tls: str
    tls_implicit: bool
    tls_policy: str
    sign_in_as: str
    leaves_from: str
    smarthosts: tuple[str, ...]
    waits: str
    hosts: tuple[Host, ...]
    problem: str
    outcome: str
    notes: tuple[str, ...]
    running: int
    waiting: int
    limit: int
    shaping: LimitsInForce
    retries: Retries
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roads:
    """What outlooks go by now.  hosts: finds them through a resolver.  lane: of a destination, None: it has no work.

    limits: of a destination, and when it was not met yet by its best MX hosts.  most: deliveries at once to one
    destination.  standings: of smarthosts.  memory: what is remembered of hosts' TLS.  ways: of an attempt.
    """

    router: Router
    outbound: OutboundOptions
    schedule: Schedule
    resolver: Resolver
    hosts: Callable[[Resolver], Hosts]
    lane: Callable[[str], LaneStats | None]
    limits: Callable[[str, Sequence[str] | None], LimitsInForce]
    most: int
    soft_bounce: bool
    memory: TlsMemory = field(default_factory=TlsMemory)
    standings: Standings = field(default_factory=lambda: Standings(()))
    ways: WaysOf = only_way


class Outlooks:
    """Finds roads.  roads: asked for each."""

    def __init__(self, roads: Callable[[], Roads], clock: Callable[[], float]) -> None:
        self._roads = roads
        self._clock = clock

    async def of(self, address: str, sender: str = "") -> Outlook:
        """The road to an address with its domain; DNS is asked for no longer than SECONDS.

        sender: by which rules are looked at; those that ask for account, listener or header match nothing here.
        """
        now = self._roads()
        rules = now.router.rules.matching(Facts(return_path=sender)) if now.router.rules else ()
        destination = now.router.destination_by(address, None, rules)
        next_hop = now.router.next_hop(destination)
        resolver = BudgetResolver(now.resolver, SECONDS, keep=True)
        told: list[Event] = []
        span = Span(EventStream(self._clock, [told.append]))
        endpoints: list[Endpoint] = []
        problem = outcome = ""
        try:
            async with aclosing(now.hosts(resolver).find(next_hop, span)) as found:
                endpoints = [each async for each in found]
        except NoHosts as none:
            judgement, reply = judge_trouble(none.trouble, str(none), soft_bounce=now.soft_bounce)
            problem = f"{reply} ({none.trouble.value})"
            outcome = "bounced" if judgement.verdict is Verdict.BOUNCED else "deferred"
        setting, why = _decided(now, address, next_hop, rules)
        lane = now.lane(destination)
        preferences = _preferences(resolver.asked)
        best = min(preferences.values(), default=0)
        shown = [host for host, preference in preferences.items() if preference == best]
        mode = TlsMode.NONE if next_hop.host.startswith("unix:") else demanded_mode(next_hop)
        return Outlook(
            address=address,
            destination=destination,
            setting=setting,
            why=why,
            route=next_hop.route,
            host=next_hop.host,
            port=next_hop.port,
            protocol=next_hop.protocol.value,
            use_mx=next_hop.use_mx and not next_hop.host.startswith("unix:"),
            tls=mode.value,
            tls_implicit=next_hop.implicit_tls,
            tls_policy=_TLS[mode],
            sign_in_as=next_hop.username or "",
            leaves_from=_leaves_from(now.router.source(next_hop, rules, address)),
            smarthosts=tuple(self._smarthosts(now, next_hop)),
            waits=_waits(now.ways(next_hop, rules, address)),
            hosts=tuple(_hosts(endpoints, next_hop, preferences, self._known(now.memory))),
            problem=problem,
            outcome=outcome,
            notes=(*_other_rules(now, sender, address, rules), *_told(told)),
            running=lane.running if lane else 0,
            waiting=lane.waiting if lane else 0,
            limit=lane.limit if lane else now.most,
            shaping=now.limits(destination, shown or None),
            retries=_retries(now.schedule),
            questions=tuple(resolver.asked),
        )

    def _smarthosts(self, now: Roads, next_hop: NextHop) -> Iterator[str]:
        """Share, health and budget of each host of a route."""
        at = self._clock()
        for each in now.router.hosts.get(next_hop.route or "", ()):
            standing, allowance = now.standings.of(each), each.allowance
            words = [f"weight {each.weight}"]
            if allowance.hour:
                words.append(f"{standing.hour.left(at)} of {allowance.hour} messages left this hour")
            if allowance.day:
                words.append(f"{standing.day.left(at)} of {allowance.day} messages left this day")
            if allowance.connections:
                words.append(f"at most {allowance.connections} connections")
            if standing.aside_until > at:
                words.append(f"set aside until {rfc3339(standing.aside_until)}, failures in a row: {standing.failures}")
            yield f"{each.name.partition(' ')[2]}: {', '.join(words)}"

    def _known(self, memory: TlsMemory) -> Callable[[str, TlsPolicy], str]:
        """What is remembered of a host's TLS, in words."""
        now = self._clock()

        def known(host: str, policy: TlsPolicy) -> str:
            found = memory.get(host)
            if found is None:
                return ""
            if found.is_broken(now) and may_be_left_out(policy):
                return f"TLS failed there, so it is left out until {rfc3339(found.broken_until)}: {found.reason}"
            if found.gone:
                return f"it gave TLS before, and offered none on {rfc3339(found.gone)}"
            return f"it gave {found.version} on {rfc3339(found.secured)[:10]}" if found.secured else ""

        return known


def _leaves_from(pool: SourcePool | None) -> str:
    if pool is None:
        return ""
    members = [
        f"{each.address or each.address_v6}"
        + (f" as {each.ehlo}" if each.ehlo else "")
        + f" ({each.id}, weight {weight})"
        for each, weight in zip(pool.members, pool.weights, strict=True)
    ]
    return f"{pool.id}: {', '.join(members)}"


def _other_rules(now: Roads, sender: str, address: str, rules: Sequence[str]) -> Iterator[str]:
    for rule in now.router.rules.beyond(sender, address, now.router.rules.of(rules, address)):
        names = (("next hop", rule.next_hop), ("source", rule.source))
        chosen = " and ".join(f"{kind} {name}" for kind, name in names if name)
        yield f"queue.rule.{rule.id} would choose {chosen} where it matches ({rule.conditions()})"


def _told(told: Sequence[Event]) -> Iterator[str]:
    return (f"{each.kind.text}: {', '.join(own_fields(each))}" for each in told if each.kind not in _FOUND)


def _waits(ways: Sequence[Way] | Wait) -> str:
    return f"{ways.reply.text}; looked at again at {rfc3339(ways.due)}" if isinstance(ways, Wait) else ""


def _decided(now: Roads, address: str, next_hop: NextHop, rules: Sequence[str]) -> tuple[str, str]:
    """The setting that names the next hop, and why it counts."""
    rule = now.router.rules.of(rules, address)
    if rule is not None and rule.next_hop is not None:
        return f'queue.rule.{rule.id}.next-hop = "{rule.next_hop}"', f"the rule matches ({rule.conditions()})"
    domain = mailbox_key(address)[1]
    word = now.router.of_directory.get(domain)
    if word is not None and (word == MX or word in now.router.routes):
        return f'domain {domain} of the directory: "{word}"', f"{domain} has a next hop of its own"
    if domain in now.router.domains:
        word = "mx" if next_hop.route is None else next_hop.route
        return f'queue.outbound.domain.{domain} = "{word}"', f"{domain} has a next hop of its own"
    return f'queue.outbound.next-hop = "{now.outbound.next_hop}"', "no setting names the domain, so the default counts"


def _preferences(questions: list[Question]) -> dict[str, int]:
    """Of each exchange, its best: the records are kept as "10 mx.example"."""
    found: dict[str, int] = {}
    for question in questions:
        if question.type == "MX":
            for record in question.records:
                preference, _, exchange = record.partition(" ")
                found[exchange] = min(int(preference), found.get(exchange, 65535))
    return found


def _hosts(
    endpoints: list[Endpoint], next_hop: NextHop, preferences: dict[str, int], known: Callable[[str, TlsPolicy], str]
) -> Iterator[Host]:
    by_host: dict[str, list[Endpoint]] = {}
    for each in endpoints:
        by_host.setdefault(each.host, []).append(each)
    for host, group in by_host.items():
        addresses = tuple(each.address for each in group)
        tls = (group[0].policy or configured(next_hop, host)).tls
        yield Host(
            host=host,
            addresses=addresses,
            port=group[0].port,
            preference=preferences.get(host),
            tls=tls.level.value,
            tls_why=tls.reasons,
            tls_known=known(host, tls),
        )


def _retries(schedule: Schedule) -> Retries:
    return Retries(
        retry=tuple(format_duration(each) for each in schedule.retry),
        notify=tuple(format_duration(each) for each in schedule.notify),
        expire=format_duration(schedule.expire),
        attempts=tuple(
            Attempt(attempt=row.attempt, delay=row.delay, age=row.age, note=row.note) for row in schedule.table()
        ),
    )
