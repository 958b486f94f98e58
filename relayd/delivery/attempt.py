"""One attempt: a job's recipients to one next hop.

Way after way, where a route has several hosts (`ways`): first an idle connection, where the pool has one; then host
after host until every recipient has its outcome.  A connection that was reused and dies before it said a word is
replaced without anyone noticing.  A connection that took some recipients and then closed is opened again to the same
address, so that a host which limits the messages of a connection still gets them all.  Whatever is left when no host is
left is deferred, with the last thing learnt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from msgspec import structs

from relayd.delivery.connection import Connection, Dialer
from relayd.delivery.content import OpenBody, QueuedContent, SignAgain
from relayd.delivery.delivering import Delivering
from relayd.delivery.endpoint import ConnectionFailed, Endpoint
from relayd.delivery.exchange import Transaction
from relayd.delivery.hosts import Hosts, NoHosts
from relayd.delivery.options import ReuseOptions
from relayd.delivery.outcome import Trouble
from relayd.delivery.parameters import asked_tls, mail_line, rcpt_line
from relayd.delivery.permit import Permit
from relayd.delivery.pool import Pool
from relayd.delivery.ways import Wait, Way, Ways
from relayd.events import delivery as events
from relayd.events.event import EventStream, Span
from relayd.mail.snowflake import Snowflakes
from relayd.queue.message import Job, Outcome, Recipient
from relayd.routing.bounce_rules import NO_RULES, Rules
from relayd.routing.next_hop import MessageTls, NextHop


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """What attempts and probes need to reach a peer.

    ways: through which hosts, and from where.  rules: by which what it refuses is classified.
    """

    hosts: Hosts
    dialer: Dialer
    pool: Pool
    reuse: ReuseOptions
    ways: Ways
    rules: Rules = NO_RULES


class Attempts:
    """Makes attempts.

    soft_bounce: `queue.soft-bounce`.  snowflakes: ids of spans, one for each attempt.  sign_again: see SignAgain.
    """

    def __init__(
        self,
        road: Road,
        open_body: OpenBody,
        stream: EventStream,
        snowflakes: Snowflakes,
        *,
        sign_again: SignAgain,
        soft_bounce: bool = False,
    ) -> None:
        self._road = road
        self._open_body = open_body
        self._sign_again = sign_again
        self._stream = stream
        self._snowflakes = snowflakes
        self._soft_bounce = soft_bounce
        self._clock: Callable[[], float] = stream.clock

    def reconfigure(self, road: Road, *, soft_bounce: bool) -> None:
        """Take another road from the next attempt on."""
        self._road = road
        self._soft_bounce = soft_bounce

    async def mx_hosts(self, next_hop: NextHop) -> list[str] | None:
        """See `parts.Attempter`."""
        return await self._road.hosts.best(next_hop)

    async def run(self, job: Job, next_hop: NextHop, permit: Permit | None = None) -> list[Outcome]:
        """Try every recipient of the job once; an outcome for each, in no order.  Raises nothing but CancelledError."""
        groups = self._road.ways.groups(job.message, next_hop)
        if len(groups) == 1:
            return await self._run(job, next_hop, permit)
        outcomes: list[Outcome] = []
        for recipients in groups:
            part = structs.replace(job, message=structs.replace(job.message, recipients=recipients))
            outcomes += await self._run(part, next_hop, permit)
        return outcomes

    async def _run(self, job: Job, next_hop: NextHop, permit: Permit | None) -> list[Outcome]:
        message = job.message
        if message.tls is not MessageTls.USUAL:
            next_hop = replace(next_hop, message_tls=asked_tls(message))
        started = time.monotonic()
        to = [recipient.address for recipient in message.recipients]
        keys = {"queueId": message.id, "from": message.return_path, "to": to, "domain": next_hop.key}
        span = Span(self._stream, self._snowflakes.issue(self._clock()), keys)
        events.ATTEMPT_START(
            span, queue_id=message.id, from_=message.return_path, to=to, size=message.size, total=len(to)
        )
        for domain, retry in _domains(message.recipients).items():
            events.DOMAIN_DELIVERY_START(span, domain=domain, total=retry)
        delivering = Delivering(message, next_hop, span, soft_bounce=self._soft_bounce, rules=self._road.rules)
        delivering.permit = permit
        waiting: Wait | None = None
        ways = self._road.ways.of(next_hop, message.terms.rules, to[0])
        try:
            if message.terms.returns and message.terms.by is not None and self._clock() >= message.terms.by:
                delivering.fail(Trouble.TOO_LATE, "the message was to be returned when it is late (RFC 2852)")
            elif isinstance(ways, Wait):
                waiting = ways
            else:
                content = await QueuedContent.of(job, self._open_body, self._sign_again)
                try:
                    waiting = await self._over(ways, delivering, content)
                finally:
                    content.close()
        except Exception as error:  # a failure of ours is temporary: no mail may be lost or bounced by it
            events.FAILED(span, queue_id=message.id, reason=repr(error))
            delivering.fail(Trouble.INTERNAL, f"{type(error).__name__}: {error}")
        if waiting is not None:
            delivering.postpone(waiting.reply, waiting.due)
        delivering.give_up()
        events.ATTEMPT_END(span, queue_id=message.id, elapsed=time.monotonic() - started)
        return delivering.outcomes

    async def _over(self, ways: Sequence[Way], delivering: Delivering, content: QueuedContent) -> Wait | None:
        """Way after way until nobody is left; a Wait when none of them may be tried now."""
        tried = False
        for way in ways:
            delivering.next_hop = way.hop
            if way.host is None:
                tried = True
                await self._over_one(way, delivering, content)
            else:
                async with self._road.ways.slots.one(way.host):
                    tried |= await self._over_smarthost(way, delivering, content)
            if not delivering.todo:
                return None
        return None if tried else self._road.ways.spent()

    async def _over_smarthost(self, way: Way, delivering: Delivering, content: QueuedContent) -> bool:
        """One host that has shares or budgets; False: it has no messages left."""
        ways = self._road.ways
        if not ways.begin(way, delivering.span):
            return False
        given, heard = delivering.transactions, delivering.heard
        try:
            await self._over_one(way, delivering, content)
        finally:
            begun = delivering.transactions - given
            reached = delivering.heard > heard or (False if begun or delivering.todo else None)
            ways.end(way, delivering.span, given=begun, reached=reached)
        return True

    async def _over_one(self, way: Way, delivering: Delivering, content: QueuedContent) -> None:
        await self._over_idle(delivering, content)
        if delivering.todo:
            self._road.pool.make_room(way.hop, self._road.ways.room(way))
            await self._over_hosts(delivering, content)

    async def _over_idle(self, delivering: Delivering, content: QueuedContent) -> None:
        """Idle connections as long as they help."""
        while delivering.todo:
            connection = await self._road.pool.take_checked(delivering.next_hop)
            if connection is None:
                return
            silent, progress = await self._use(connection, delivering, content, reused=True)
            if not silent and not progress:
                return

    async def _over_hosts(self, delivering: Delivering, content: QueuedContent) -> None:
        """New connections, host after host."""
        try:
            async with aclosing(self._road.hosts.find(delivering.next_hop, delivering.span)) as endpoints:
                async for endpoint in endpoints:
                    while await self._over_new(endpoint, delivering, content):
                        pass
                    if not delivering.todo:
                        return
        except NoHosts as none:
            delivering.fail(none.trouble, str(none))

    async def _over_new(self, endpoint: Endpoint, delivering: Delivering, content: QueuedContent) -> bool:
        """A new connection to one address; True when it is worth another one to the same."""
        idle = delivering.permit.idle_left() if delivering.permit is not None else None
        if idle is not None:
            self._road.pool.keep_within(*idle)
        try:
            connection = await self._road.dialer.connect(endpoint, delivering.next_hop, delivering.span)
        except ConnectionFailed as failure:
            delivering.not_connected(endpoint.host, failure)
            return False
        _, progress = await self._use(connection, delivering, content, reused=False)
        return progress and bool(delivering.todo)

    async def _use(
        self, connection: Connection, delivering: Delivering, content: QueuedContent, *, reused: bool
    ) -> tuple[bool, bool]:
        """`_transact`, and the connection is given back, or closed when anything of ours fails."""
        try:
            result = await self._transact(connection, delivering, content, reused)
        except BaseException:
            connection.protocol.abort()
            raise
        permit = delivering.permit
        if permit is not None and connection.messages >= permit.messages(connection.messages + 1):
            self._road.pool.drop(connection)
        else:
            idle = permit.idle_left() if permit is not None else None
            self._road.pool.give_back(delivering.next_hop, connection, idle[0] if idle is not None else "")
        return result

    async def _transact(
        self, connection: Connection, delivering: Delivering, content: QueuedContent, reused: bool
    ) -> tuple[bool, bool]:
        """Run transactions; whether the connection was dead before it said a word, and whether it was of use and then
        closed with recipients left.
        """
        protocol, reuse = connection.protocol, self._road.reuse
        before = len(delivering.outcomes)
        silent = False
        fitting = await delivering.fit(connection, content)
        limit = min(reuse.recipients, connection.extensions.limits.get("RCPTMAX", reuse.recipients) or 1)
        most = connection.extensions.limits.get("MAILMAX", 0) or reuse.messages
        permit = delivering.permit
        if permit is not None:
            limit, most = permit.recipients(limit), permit.messages(most)
        next_host: list[Recipient] = []
        while fitting is not None and delivering.todo and protocol.is_usable:
            if connection.messages >= most:
                break
            if permit is not None and not await permit.next_message():
                delivering.put_off(permit.until)
                break
            connection.messages += 1
            delivering.transactions += 1
            batch = delivering.todo[:limit]
            started = time.monotonic()
            answers = await protocol.send(
                Transaction(
                    mail=mail_line(
                        delivering.message,
                        connection.extensions,
                        size=fitting.size,
                        eight_bit=delivering.eight_bit,
                        smtputf8=delivering.smtputf8,
                        now=self._clock(),
                    ),
                    rcpts=[rcpt_line(recipient, connection.extensions) for recipient in batch],
                    content=fitting,
                    span=delivering.span,
                    host=connection.host,
                )
            )
            if reused and answers.silent and answers.lost:
                silent = True
                delivering.transactions -= 1
                break
            delivering.todo = delivering.todo[limit:]
            again, failed = delivering.answered(batch, answers, connection, time.monotonic() - started)
            delivering.todo[:0] = again
            next_host += failed
        closed = not protocol.is_usable or connection.messages >= most
        delivering.todo = delivering.todo + next_host
        return silent, closed and len(delivering.outcomes) > before and bool(delivering.todo)


def _domains(recipients: Sequence[Recipient]) -> dict[str, int]:
    """The recipients' domains in their order, and how often each was tried before."""
    found: dict[str, int] = {}
    for each in recipients:
        domain = each.address.rpartition("@")[2].lower()
        before = max(0, each.attempts - 1)
        if before >= found.get(domain, 0):
            found[domain] = before
    return found
