"""Who is told what became of a message: delivery status notifications (RFC 3464, RFC 3461, RFC 6533).

What is reported (RFC 3461 §5, §6):
- a failure (bounced, expired) unless NOTIFY said otherwise;
- a delay when NOTIFY=DELAY asked for it, or NOTIFY was not given and the sender is trusted;
- a success only when NOTIFY=SUCCESS asked for it: "relayed" when the next hop does not take the request further,
  "delivered" when the next hop is LMTP, where delivery ends; else the next hop reports it.

What one settling reports of one message is one notification, with a null return path, so no bounce answers a bounce:
mail with a null return path is never reported to its sender.  A notification of ours that cannot be delivered goes to
the postmaster, once; if that cannot be delivered either, or there is no postmaster, it is dropped (its recipient is
counted as bounced or expired all the same) and DOUBLE_BOUNCE says so.

A failure returns the whole message when RET=FULL asked for it, the sender is trusted, and it is at most 1 MB; else, and
in all other cases, the header, cut at 64 KB.  What is reported of a message under REQUIRETLS is under it too, and never
returns more than the header (RFC 8689 §5).  A notification is queued in the transaction that records the outcome. It is
signed like other mail; with a key that could never be read it is queued held, for an operator to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from relayd.blobs.spool import BlobError
from relayd.delivery.due import notice_due
from relayd.delivery.parts import BodySide, RouterSide
from relayd.directory.address_book import Target
from relayd.events import delivery as events
from relayd.events import queue as queue_events
from relayd.events.event import Span
from relayd.mail.dsn import Action, DsnRequest, ReportedRecipient, compose_dsn
from relayd.mail.envelope import Notify
from relayd.mail.header import split_message
from relayd.mail.snowflake import Snowflakes
from relayd.mail.terms import NO_TERMS, Terms
from relayd.mailauth.signing_key import KeyUnreadable
from relayd.queue.failure import BodyMissing, QueueUnavailable
from relayd.queue.message import Body, Job, Message, NewMessage, NewRecipient, Origin, Outcome, Recipient, Result
from relayd.routing.next_hop import MessageTls, NextHop
from relayd.routing.next_hop import Protocol as Spoken
from relayd.routing.rule import Facts
from relayd.routing.schedule import Schedule

FULL_LIMIT = 1 << 20
"""Octets of the largest message that RET=FULL returns whole."""

HEADER_LIMIT = 64 << 10
"""Octets of a message's beginning in which its header is looked for; a longer header is cut."""


class LocalSide(Protocol):
    """`relayd.reception.local_names`'s LocalNames as bounces use it."""

    @property
    def domains(self) -> frozenset[str]:
        """Our own domains."""

    def targets(self, name: str) -> tuple[str, ...] | None:
        """What a local name stands for."""

    @property
    def postmaster(self) -> tuple[str, ...]:
        """Where mail to postmaster goes."""


class BookSide(Protocol):
    """`relayd.directory.address_book`'s AddressBook as bounces use it."""

    async def domain(self, name: str) -> object | None:
        """Not None for a domain of the directory."""

    def returned(self, address: str) -> str | None:
        """Where a rewritten return path of ours leads."""

    async def stands_for(self, address: str, postmaster: Sequence[str] = ()) -> Sequence[Target] | None:
        """For whom an address of the directory stands."""


class SigningSide(Protocol):
    """`relayd.reception.signing`'s Signing as bounces use it."""

    async def own(self, message: bytes, id: int, now: float) -> bytes:
        """The signatures to be put on top of a message of ours.  KeyUnreadable."""


class Bounces:
    """Writes notifications.

    hostname: the reporting host.  local: what our own names stand for.  router, schedule: replaced at a reload.
    seed: a number nobody else knows, for boundaries.  book: what addresses of the directory stand for.
    """

    def __init__(
        self,
        bodies: BodySide,
        router: RouterSide,
        local: LocalSide,
        *,
        hostname: str,
        ids: Snowflakes,
        schedule: Schedule,
        span: Span,
        seed: Callable[[], int],
        signing: SigningSide,
        book: BookSide | None = None,
    ) -> None:
        self.router = router
        self.local = local
        self.schedule = schedule
        self._bodies = bodies
        self._hostname = hostname
        self._ids = ids
        self._span = span
        self._seed = seed
        self._signing = signing
        self._book = book

    def are_due(self, message: Message, outcomes: Sequence[Outcome], now: float) -> bool:
        """Whether `reports` may have something to write; cheap, it is asked after every attempt."""
        if len(outcomes) == 1 and outcomes[0].result is Result.DELIVERED and message.recipients[0].notify is None:
            return False
        return any(
            outcome.result in _FAILURES
            or (outcome.result is Result.DEFERRED and notice_due(recipient, now))
            or (outcome.result in _SUCCESSES and _success_asked(message, recipient, outcome))
            for recipient, outcome in _pairs(message, outcomes)
        )

    async def reports(
        self, job: Job, outcomes: Sequence[Outcome], next_hop: NextHop | None, now: float
    ) -> list[NewMessage]:
        """What is to be queued with the outcomes of a job.  next_hop: None when no attempt was made.

        Reads the body only when there is something to report.  Raises what reading it raises.
        """
        final = next_hop is not None and next_hop.protocol is Spoken.LMTP
        reported = reported_recipients(job.message, outcomes, now, final=final)
        if not reported:
            return []
        header, content = await self._original(job.message, job.body, reported)
        report = await self._write(job.message, reported, now, header, content)
        return [] if report is None else [report]

    async def compose(self, message: Message, outcomes: Sequence[Outcome], *, now: float) -> NewMessage | None:
        """The report of outcomes that an operator decided, for `queue.actions`; None when nobody is to be told.

        message: with at least the recipients of the outcomes.  A header that cannot be read is left out.
        """
        reported = reported_recipients(message, outcomes, now, final=False)
        if not reported:
            return None
        try:
            header, content = await self._original(message, None, reported)
        except (BodyMissing, BlobError, QueueUnavailable):
            header, content = b"", None
        return await self._write(message, reported, now, header, content)

    async def _write(
        self, message: Message, reported: Sequence[ReportedRecipient], now: float, header: bytes, content: bytes | None
    ) -> NewMessage | None:
        targets = await self._targets(message)
        if not targets:
            return None
        id = self._ids.issue(now)
        message_id = f"<{id}@{self._hostname}>"
        request = DsnRequest(
            hostname=self._hostname,
            now=now,
            message_id=message_id,
            boundary=f"{id:x}{self._seed():x}",
            to=message.return_path or targets[0],
            recipients=reported,
            queue_id=str(message.id),
            arrival=message.created,
            deliver_by=message.terms.by,
            envid=message.envid,
            original_message_id=message.message_id,
            header=header,
            content=content,
            international=message.smtputf8,
        )
        octets = compose_dsn(request)
        held = None
        try:
            octets = await self._signing.own(octets, id, now) + octets
        except KeyUnreadable as error:
            held = f"it must be signed: {error}"
            queue_events.HELD(self._span, queue_id=id, reason=held, account_name="signing")
        self._state(message, reported)
        terms = self._terms(octets, message.terms.priority)
        counts = {"generated": 1}
        if targets != (message.return_path,) and message.return_path:
            counts |= {"replaced": 1, "expanded": len(targets)}
        elif len(targets) > 1:
            counts["generated"] = len(targets)
        head_is_ascii = octets.partition(b"\r\n\r\n")[0].isascii()
        return NewMessage(
            id=id,
            origin=Origin.DSN if message.return_path else Origin.ALERT,
            return_path="",
            recipients=tuple(self._recipient(address, now, terms) for address in targets),
            body=Body(
                head=b"",
                content=octets,
                size=len(octets),
                eight_bit=not octets.isascii(),
                utf8_header=not head_is_ascii,
            ),
            created=now,
            trusted=True,
            smtputf8=not head_is_ascii or not all(address.isascii() for address in targets),
            tls=MessageTls.REQUIRED if message.tls is MessageTls.REQUIRED else MessageTls.USUAL,
            message_id=message_id,
            held=held,
            counts=counts,
            terms=terms,
        )

    def _terms(self, octets: bytes, priority: int) -> Terms:
        """The routing rules that a notification matches; it is as urgent as the message was (RFC 6710 §5)."""
        rules = self.router.rules
        matched = rules.matching(Facts(return_path="", header=split_message(octets)[0])) if rules else ()
        return Terms(priority=priority, rules=matched) if priority or matched else NO_TERMS

    def _recipient(self, address: str, now: float, terms: Terms) -> NewRecipient:
        return NewRecipient(
            address=address,
            destination=self.router.destination_by(address, None, terms.rules),
            next_attempt=now,
            next_notify=None,
            expires=self.schedule.expires(now),
        )

    async def _targets(self, message: Message) -> tuple[str, ...]:
        """Where the report goes: the sender, for our own notifications the postmaster, else nowhere.

        Return paths of ours that stand for somebody else - a rewritten one, the owner of a list - are followed here:
        what is queued for a domain of ours goes to its mailboxes.
        """
        if not message.return_path:
            if message.origin is Origin.DSN:
                return self.local.postmaster
            return ()
        name, _, domain = message.return_path.rpartition("@")
        if not name or domain.lower() in self.local.domains:
            known = self.local.targets(name or domain)
            if known:
                return known
        return await self._behind(message.return_path)

    async def _behind(self, address: str) -> tuple[str, ...]:
        if self._book is None:
            return (address,)
        back = self._book.returned(address)
        if back is not None:
            return (back,)
        if await self._book.domain(address.rpartition("@")[2]) is None:
            return (address,)
        found = await self._book.stands_for(address, self.local.postmaster)
        return tuple(each.address for each in found) if found else (address,)

    async def _original(
        self, message: Message, body: Body | None, reported: Sequence[ReportedRecipient]
    ) -> tuple[bytes, bytes | None]:
        """The header of the message, and all of it where it is to be returned.  body: when it is in memory."""
        whole = (
            message.ret == "FULL"
            and message.trusted
            and message.tls is not MessageTls.REQUIRED
            and message.size <= FULL_LIMIT
            and any(each.action is Action.FAILED for each in reported)
        )
        wanted = message.size if whole else HEADER_LIMIT
        if body is not None and isinstance(body.content, bytes):
            octets = body.head + body.content[body.offset : body.offset + wanted]
        else:
            octets = await self._read(message.id, wanted)
        return header_of(octets), octets if whole else None

    async def _read(self, message_id: int, wanted: int) -> bytes:
        source = await self._bodies.open_body(message_id)
        try:
            chunks: list[bytes] = []
            while wanted > 0 and (chunk := await source.read(wanted)):
                chunks.append(chunk)
                wanted -= len(chunk)
            return b"".join(chunks)
        finally:
            source.close()

    def _state(self, message: Message, reported: Sequence[ReportedRecipient]) -> None:
        """State what is reported of whom."""
        for each in reported:
            fields = {
                "queue_id": message.id,
                "to": each.address,
                "hostname": each.remote,
                "code": each.reply.code if each.reply is not None else 0,
                "details": str(each.reply) if each.reply is not None else "",
            }
            why = {"class_": each.class_, "rule": each.rule}
            if each.action is Action.FAILED:
                events.DSN_PERM_FAIL(self._span, **fields, **why)
            elif each.action is Action.DELAYED:
                events.DSN_TEMP_FAIL(self._span, **fields, **why, expires=each.will_retry_until)
            else:
                events.DSN_SUCCESS(self._span, **fields)

    def undeliverable(self, message: Message, outcomes: Sequence[Outcome]) -> None:
        """State that a notification, or the postmaster's copy of one, could not be delivered."""
        if message.return_path or message.origin not in (Origin.DSN, Origin.ALERT):
            return
        for outcome in outcomes:
            if outcome.result in _FAILURES:
                events.DOUBLE_BOUNCE(self._span, queue_id=message.id, to=outcome.address)


def reported_recipients(
    message: Message, outcomes: Sequence[Outcome], now: float, *, final: bool
) -> list[ReportedRecipient]:
    """Who is to be reported, and as what.  final: delivery to this next hop is the end of the mail's way (LMTP)."""
    if not message.return_path and message.origin is not Origin.DSN:
        return []  # never a bounce for a bounce
    reported = []
    for recipient, outcome in _pairs(message, outcomes):
        action = action_of(message, recipient, outcome, now, final=final)
        if action is None:
            continue
        reported.append(
            ReportedRecipient(
                address=recipient.address,
                action=action,
                status=_expired(message) if outcome.result is Result.EXPIRED else "",
                reply=outcome.reply,
                remote="" if outcome.ours else outcome.host,  # what we judged ourselves no host has said
                orcpt=recipient.orcpt,
                last_attempt=now,
                will_retry_until=recipient.expires if action is Action.DELAYED else None,
                class_=outcome.class_,
                rule=outcome.rule,
                maybe_delivered=now if outcome.maybe_delivered else recipient.maybe_delivered,
            )
        )
    return reported


def _expired(message: Message) -> str:
    """RFC 3463: delivery time expired; for good where the sender asked to have late mail back (RFC 2852 §4.1.3)."""
    return "5.4.7" if message.terms.returns else "4.4.7"


def action_of(message: Message, recipient: Recipient, outcome: Outcome, now: float, *, final: bool) -> Action | None:
    """What is reported of one recipient; None: nothing."""
    notify = recipient.notify
    result = outcome.result
    if result in _FAILURES:
        return Action.FAILED if notify is None or Notify.FAILURE in notify else None
    if result is Result.DEFERRED:
        kept = outcome.uncounted and (message.terms.by is None or (outcome.next_attempt or 0.0) <= now)
        if kept or not message.return_path or not notice_due(recipient, now):
            return None
        wanted = message.trusted if notify is None else Notify.DELAY in notify
        return Action.DELAYED if wanted else None
    if not message.return_path or not _success_asked(message, recipient, outcome):
        return None
    if result is Result.RELAYED:
        return Action.RELAYED
    return Action.DELIVERED if final else None


def header_of(octets: bytes) -> bytes:
    """The header block at the beginning of a message, without the blank line; a cut one ends with a whole line."""
    end = octets.find(b"\r\n\r\n")
    if octets.startswith(b"\r\n"):
        return b""
    if 0 <= end < HEADER_LIMIT:
        return octets[: end + 2]
    cut = octets[:HEADER_LIMIT]
    return cut[: cut.rfind(b"\r\n") + 2] if b"\r\n" in cut else b""


_FAILURES = (Result.BOUNCED, Result.EXPIRED)
_SUCCESSES = (Result.DELIVERED, Result.RELAYED)


def _success_asked(message: Message, recipient: Recipient, outcome: Outcome) -> bool:
    """NOTIFY=SUCCESS, or a deadline with by-trace at a host that does not know of it (RFC 2852 §4.1.4)."""
    if _asked(recipient, Notify.SUCCESS):
        return True
    traced = message.terms.traces and outcome.result is Result.RELAYED
    return traced and (recipient.notify is None or Notify.NEVER not in recipient.notify)


def _asked(recipient: Recipient, what: Notify) -> bool:
    return recipient.notify is not None and what in recipient.notify


def _pairs(message: Message, outcomes: Sequence[Outcome]) -> Iterator[tuple[Recipient, Outcome]]:
    """Each outcome with its recipient."""
    recipients = {recipient.number: recipient for recipient in message.recipients}
    for outcome in outcomes:
        recipient = recipients.get(outcome.number)
        if recipient is not None:
            yield recipient, outcome
