"""Why mail comes and goes as it does: `POST /explain/inbound`, `GET /explain/outbound`; ours, for `relayd explain`.

Nothing is sent, queued or connected to; only the DNS is asked, and every question stands in the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import msgspec

from relayd.control.answers import Problem
from relayd.control.api.steering import QueueOfMessages
from relayd.control.api.troubleshoot import AREA, Explaining, address_of, check_length, examined
from relayd.control.queries import TEXT, parameter
from relayd.control.routes import Call, Route
from relayd.delivery.outlook import Outlook
from relayd.mail.address import AddressError, mailbox_key, parse_address, qualify
from relayd.queue.filter import Filter, Kind
from relayd.reception.examination import Examination, Suspect
from relayd.reception.trial import Trial
from relayd.telemetry.render import rfc3339

_MOST_ROADS = 20
_MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundQuery:
    """Who gives the message.  Its octets are the body; without one, a message that is just from `from` is taken."""

    remote_ip: str | None = parameter(TEXT, "Address of the client.")
    helo: str | None = parameter(TEXT, "The name it gives in EHLO.")
    sender: str | None = parameter(TEXT, "The return path; absent: the null one.", name="from")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundQuery:
    """Whose mail to whom."""

    recipient: str | None = parameter(TEXT, "The recipient.", name="to")
    sender: str | None = parameter(TEXT, "The return path; absent: the null one.", name="from")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue knows of a destination.

    suspended: why and until when, "" when it is not.  queued, deferred, held: messages for it, counted up to 1,000.
    """

    suspended: str
    queued: int
    deferred: int
    held: int


class Road(TypedDict):
    """One address that the message would be queued for, and its road."""

    outlook: Outlook
    standing: Standing


class OutboundValue(TypedDict):
    """What would become of it.  recipient: as it was asked about.  paused: why nothing is delivered now, "" when the
    queue runs.

    roads: of the first twenty recipients; unshown: how many more there are.
    """

    recipient: str
    trial: Trial
    paused: str
    roads: list[Road]
    unshown: int


class Explanations:
    """The handlers."""

    def __init__(self, explaining: Explaining, queue: QueueOfMessages) -> None:
        self._explaining = explaining
        self._queue = queue

    def routes(self) -> Iterator[Route]:
        """Both operations."""
        yield Route(
            method="POST",
            path="/explain/inbound",
            permission="troubleshoot",
            handler=self.inbound,
            summary="What is found out about a message, step by step, and what follows",
            area=AREA,
            query=InboundQuery,
            body=bytes,
            answer=Examination,
        )
        yield Route(
            method="GET",
            path="/explain/outbound",
            permission="troubleshoot",
            handler=self.outbound,
            summary="Which way mail to an address would go now, and why",
            area=AREA,
            query=OutboundQuery,
            answer=OutboundValue,
        )

    async def inbound(self, call: Call) -> Examination:
        """The checks as they are configured, on what the client is here."""
        query: InboundQuery = call.query
        address = address_of(query.remote_ip or "")
        if address is None:
            raise _bad("remote-ip: expected an IP address")
        if not query.helo:
            raise _bad("helo: expected the name that the client gives in EHLO")
        sender = query.sender or ""
        check_length("helo", query.helo)
        check_length("from", sender)
        suspect = Suspect(address=address, helo=query.helo, return_path=sender, message=call.body or None)
        return await examined(self._explaining, suspect, everything=False)

    async def outbound(self, call: Call) -> OutboundValue:
        """What RCPT would come to, and the road of everybody whom the message would be queued for."""
        query: OutboundQuery = call.query
        recipient = _address("to", query.recipient or "")
        sender = _address("from", query.sender) if query.sender else ""
        trial = await self._explaining.rcpt(recipient, sender)
        shown = trial.recipients[:_MOST_ROADS]
        roads = await asyncio.gather(*(self._road(each, trial.return_path) for each in shown))
        pause = self._queue.paused
        paused = "" if pause is None else _since(pause.since, pause.by, pause.reason)
        return OutboundValue(
            recipient=recipient,
            trial=trial,
            paused=paused,
            roads=list(roads),
            unshown=len(trial.recipients) - len(shown),
        )

    async def _road(self, address: str, sender: str) -> Road:
        outlook = await self._explaining.road(address, sender)
        domain = mailbox_key(address)[1]  # counts beside a route's own suspension
        standing = await self._standing(outlook.destination, (outlook.shaping.suspended, domain))
        return Road(outlook=outlook, standing=standing)

    async def _standing(self, destination: str, others: Sequence[str]) -> Standing:
        keys = (destination, *others)
        found = [each for each in self._queue.suspensions() if each.destination in keys]
        suspended = ""
        for each in found:
            until = "until it is lifted" if each.until is None else f"until {rfc3339(each.until)}"
            suspended = f"{until}, {_since(each.since, each.by, each.reason)}"
        counts = [
            (await self._queue.list(Filter(destination=destination, kind=kind), 0, 1, _MOST_COUNTED))[1]
            for kind in (None, Kind.DEFERRED, Kind.HELD)
        ]
        return Standing(suspended=suspended, queued=counts[0], deferred=counts[1], held=counts[2])


def _since(at: float, by: str, reason: str) -> str:
    return f"since {rfc3339(at)} by {by}: {reason or 'no reason given'}"


def _address(name: str, text: str) -> str:
    """An address, or a bare name, as it is kept.  Raises Problem 400."""
    text = text.removeprefix("<").removesuffix(">")
    try:
        found = parse_address(qualify(text, "name.invalid"), smtputf8=True)
    except AddressError as error:
        raise _bad(f"{name}: expected an address: {error.text}") from None
    return found if "@" in text else text


def _bad(detail: str) -> Problem:
    return Problem(400, "Invalid parameters", detail)
