"""Asking a recipient's next hop whether it would take the recipient: MAIL FROM:<>, RCPT, RSET.

Reception asks before it promises mail for a relay domain whose recipients are listed nowhere, and remembers the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from relayd.delivery.attempt import Road
from relayd.delivery.connection import Connection
from relayd.delivery.endpoint import ConnectionFailed
from relayd.delivery.exchange import Answers
from relayd.delivery.hosts import NoHosts
from relayd.delivery.outcome import Stage, Verdict, judge_trouble, with_enhanced
from relayd.delivery.ways import Wait
from relayd.events.event import EventStream, Span
from relayd.mail.reply import Reply
from relayd.routing.next_hop import NextHop
from relayd.routing.route import Router


class NextHopProber:
    """Reception's Prober.  router: the one in force now.  timeout: seconds after which the answer is unknown."""

    def __init__(self, road: Road, router: Callable[[], Router], stream: EventStream, *, timeout: float = 30.0) -> None:
        self._road = road
        self._router = router
        self._stream = stream
        self._timeout = timeout

    def reconfigure(self, road: Road) -> None:
        """Take another road from the next question on."""
        self._road = road

    async def probe(self, address: str) -> Reply | None:
        """The next hop's reply to RCPT; a 5xx of ours when the domain cannot have mail; None when nobody could say."""
        if not address.isprintable():  # a control character would end the command line
            return None
        router = self._router()
        next_hop = router.next_hop(router.destination(address))
        span = Span(self._stream, 0, {"from": "", "to": [address], "domain": next_hop.key})
        try:
            async with asyncio.timeout(self._timeout):
                return await self._over(address, next_hop, span)
        except (TimeoutError, OSError):
            return None

    async def _over(self, address: str, next_hop: NextHop, span: Span) -> Reply | None:
        """The next hop's hosts, one after the other, until one has an answer."""
        ways = self._road.ways.of(next_hop, (), address)
        if isinstance(ways, Wait):
            return None
        for way in ways:
            async with self._road.ways.slots.one(way.host):
                answered, reply = await self._over_idle(address, way.hop)
                if not answered:
                    reply = await self._over_hosts(address, way.hop, span)
            if answered or reply is not None:
                return reply
        return None

    async def _over_idle(self, address: str, next_hop: NextHop) -> tuple[bool, Reply | None]:
        while (connection := await self._road.pool.take_checked(next_hop)) is not None:
            answers = await self._ask(connection, address, next_hop)
            if answers is None or not (answers.silent and answers.lost):
                return True, _reply_of(answers)
        return False, None

    async def _over_hosts(self, address: str, next_hop: NextHop, span: Span) -> Reply | None:
        try:
            async with aclosing(self._road.hosts.find(next_hop, span)) as endpoints:
                async for endpoint in endpoints:
                    try:
                        connection = await self._road.dialer.connect(endpoint, next_hop, span)
                    except ConnectionFailed:
                        continue
                    reply = _reply_of(await self._ask(connection, address, next_hop))
                    if reply is not None:
                        return reply
        except NoHosts as none:
            judgement, reply = judge_trouble(none.trouble, str(none))
            return reply if judgement.verdict is Verdict.BOUNCED else None
        return None

    async def _ask(self, connection: Connection, address: str, next_hop: NextHop) -> Answers | None:
        """The answers, or None where SMTPUTF8 is needed and not offered: then another host may say."""
        utf8 = not address.isascii()
        try:
            if utf8 and not connection.extensions.smtputf8:
                return None
            mail = b"MAIL FROM:<> SMTPUTF8\r\n" if utf8 else b"MAIL FROM:<>\r\n"
            return await connection.protocol.probe(mail, f"RCPT TO:<{address}>\r\n".encode())
        finally:
            self._road.pool.give_back(next_hop, connection)


def _reply_of(answers: Answers | None) -> Reply | None:
    """The reply to RCPT, when there is one that is about the recipient."""
    if answers is None or answers.mail is None or not answers.mail.is_positive or not answers.rcpts:
        return None
    reply = with_enhanced(answers.rcpts[0], Stage.RCPT)
    return None if reply.code == 421 else reply
