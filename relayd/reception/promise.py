"""From complete content to a promise: the message is made, queued durably, and handed over to delivery."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from relayd.blobs.spool import BlobFull
from relayd.events import queue as queue_events
from relayd.events import smtp
from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.mail.terms import Terms
from relayd.mail.trace import count_received
from relayd.mailauth.signing_key import KeyUnreadable
from relayd.queue.failure import QueueFull
from relayd.queue.message import Body, Job, Message, NewMessage, NewRecipient, Origin, Recipient, State
from relayd.reception.admission import Admission, Plan
from relayd.reception.body import HeaderTooLarge
from relayd.reception.checks import Checks
from relayd.reception.filtering import Filtering
from relayd.reception.head import Head, compose_head, message_id_of
from relayd.reception.scoring import Scoring
from relayd.reception.signing import Signing
from relayd.reception.strangers import Strangers
from relayd.reception.submission import Submissions
from relayd.reception.transaction import Accepted, Discarded, Refused, Transaction
from relayd.routing.next_hop import MessageTls
from relayd.routing.rule import Facts

MAX_RECEIVED = 100
"""Received fields of any host; RFC 5321 §6.3 asks for a limit of at least 100."""

MAX_RECEIVED_OURS = 10
"""Received fields of this host: a message may come by more than once (a filter gives it back), not for ever."""

NO_SPACE = Reply(452, "4.3.1", "Insufficient system storage")
TROUBLE = Reply(451, "4.3.0", "Local error in processing, try again later")
NO_KEY = Reply(451, "4.3.0", "The key that signs this mail cannot be read now, try again later")
HEADER_TOO_LARGE = Reply(554, "5.6.0", "The header of the message is too large")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
LOOP = Reply(554, "5.4.6", "Mail loop: the message has passed too many hosts")
LINE_TOO_LONG = Reply(554, "5.6.0", "A line of the message is too long")

AHEAD = 60.0
"""Seconds by which each step of MT-PRIORITY puts a message before others that wait on disk for the same next hop: so
nobody waits for ever behind urgent mail."""

MAX_TEXT_LINE = 998
"""Octets of a line without its CRLF (RFC 5322 §2.1.1); longer ones of trusted sessions are re-encoded."""

_SUBJECT = re.compile(rb"^subject[ \t]*:[ \t]*((?:[^\r\n]|\r\n[ \t])*)", re.I | re.M)
_LONGEST_SUBJECT = 200


class Intake(Protocol):
    """The queue, as far as reception needs it; see `relayd.queue.store.Queue.enqueue`."""

    async def enqueue(self, message: NewMessage, *others: NewMessage) -> None: ...
    async def discard(self, counts: Mapping[str, int]) -> None: ...


class _Composed(msgspec.Struct, frozen=True):
    """The message of a transaction as it goes to every recipient.  now: Unix seconds."""

    body: Body
    head: Head
    plan: Plan
    now: float


@dataclass(slots=True)
class Promises:
    """Makes messages of transactions and queues them.  clock: Unix seconds.  snowflakes: ids of further messages."""

    queue: Intake
    admission: Admission
    checks: Checks
    clock: Callable[[], float]
    signing: Signing
    snowflakes: Snowflakes
    submissions: Submissions
    filtering: Filtering | None = None
    scoring: Scoring | None = None
    strangers: Strangers | None = None

    async def promise(self, tx: Transaction) -> Reply:
        """Queue the message: 250 only when it is durable; every failure of ours is a 4xx and promises nothing."""
        try:
            try:
                messages, leased_until = await self._make(tx)
            except Discarded as discarded:
                return await self._discard(tx, str(discarded))
            await self.queue.enqueue(*messages)
        except Exception as error:  # unknown failure is temporary
            return failure(tx, error)
        try:
            for message in messages:
                self._tell(tx, message)
                if message.leased:
                    self._hand_over(message, leased_until)
            if tx.trusted and self.strangers is not None and self.strangers.sent.options.enable:
                self.strangers.sent.note(messages[0].message_id, tx.sender, self.clock())
        except Exception as error:  # the message is promised: it is due again by itself
            smtp.HANDLER_ERROR(tx.client.span, reason=f"not handed over: {type(error).__name__}: {error}")
        return Reply(250, "2.0.0", f"queued as {tx.id}")

    async def _discard(self, tx: Transaction, reason: str) -> Reply:
        """Count a message that was taken and is thrown away; QueueUnavailable."""
        tx.discarded += len(tx.recipients)
        tx.recipients = []
        await self.queue.discard(_counts(tx))
        if tx.submission is not None:
            tx.submission.charges = ()  # nothing of it was sent
        about = {"queue_id": tx.id, "from_": tx.return_path, "to": list(tx.given), "size": tx.body.size}
        identity = message_id_of(tx.body.header)
        queue_events.DISCARDED(tx.client.span, **about, message_id=identity, reason=reason)
        tx.body.forget()
        return Reply(250, "2.0.0", f"queued as {tx.id}")

    async def _make(self, tx: Transaction) -> tuple[list[NewMessage], float]:
        """The message as it is queued, once for each return path, and until when it is leased.

        Raises Refused, HeaderTooLarge.
        """
        if not tx.recipients:
            raise Refused(NO_RECIPIENTS)
        content = await tx.body.complete()
        self._check(tx)
        marks = await self.checks.of_content(tx, content)
        if tx.greylisted and self.strangers is not None:
            self.strangers.proved(tx)
        if self.filtering is not None and self.filtering.scanners and not _is_to_be_shortened(tx):
            self.filtering.begin(tx, compose_head(tx, tx.body.header, self.clock(), marks), content)
        if self.scoring is not None:
            marks = await self.scoring.of_content(tx, content, marks)
        if _is_to_be_shortened(tx):
            content = await tx.body.shorten(content)
        now = self.clock()
        scanner = tx.body.scanner
        head = compose_head(tx, tx.body.header, now, marks)
        if tx.submission is not None:
            header = head.octets if head.replaces else tx.body.header
            refused = await self.submissions.content(tx, header, len(head.octets) + scanner.size - head.replaces)
            if refused is not None:
                raise Refused(refused)
        if self.filtering is not None and (self.filtering.scanners or tx.client.milters is not None):
            filtered = await self.filtering.content(tx, head, content, marks)
            head, content, marks = filtered.head, filtered.content, filtered.marks
            scanner = tx.body.scanner
        head = await self.signing.signed(tx, head, content, now)
        head = await self.signing.sealed(tx, head, marks, now)
        size = len(head.octets) + scanner.size - head.replaces
        head_eight_bit = not head.octets.isascii()
        body = Body(
            head=head.octets,
            content=content,
            offset=head.replaces,
            size=size,
            eight_bit=scanner.eight_bit or head_eight_bit,
            utf8_header=scanner.utf8_header or head_eight_bit,
            signed=head.signed,
        )
        release = tx.terms.release
        plan = self.admission.plan(now if release is None else max(now, release))
        return self._messages(tx, _Composed(body, head, plan, now)), plan.leased_until

    def _check(self, tx: Transaction) -> None:
        """Rules that only the complete content can break."""
        span = tx.client.span
        if tx.body.scanner.longest_line > tx.max_line:
            smtp.MESSAGE_PARSE_FAILED(span, reason=LINE_TOO_LONG.text, queue_id=tx.id)
            raise Refused(LINE_TOO_LONG)
        total, ours = count_received(tx.body.header, tx.policy.hostname)
        if total > MAX_RECEIVED or ours > MAX_RECEIVED_OURS:
            limit = MAX_RECEIVED if total > MAX_RECEIVED else MAX_RECEIVED_OURS
            smtp.LOOP_DETECTED(span, total=total if total > MAX_RECEIVED else ours, limit=limit)
            raise Refused(LOOP)

    def _messages(self, tx: Transaction, composed: _Composed) -> list[NewMessage]:
        """One for each return path, a list's owner's among them, and one for recipients that alone are held."""
        apart: dict[tuple[str, str | None], list[Accepted]] = {}
        for each in tx.recipients:
            path = tx.return_path if each.return_path is None else each.return_path
            apart.setdefault((path, tx.held or each.held), []).append(each)
        first, *others = [self._message(tx, composed, path, held, to) for (path, held), to in apart.items()]
        return [
            first,
            *(replace(each, id=self.snowflakes.issue(composed.now), counts={}, charges=()) for each in others),
        ]

    def _message(
        self, tx: Transaction, composed: _Composed, return_path: str, held: str | None, recipients: Sequence[Accepted]
    ) -> NewMessage:
        body, head, plan, now = composed.body, composed.head, composed.plan, composed.now
        client = tx.client
        sender_key = client.account or tx.return_path
        if tx.submission is not None and tx.submission.sending is not None:  # the two types take turns apart
            sender_key = f"{sender_key}:{tx.submission.sending.type}"
        terms = self._terms(tx, return_path)
        places = [(each, self.admission.destination(each.address, terms.rules)) for each in recipients]
        waits = held is not None or plan.first_attempt > now
        leased = not waits and self._admits(sender_key, [destination for _, destination in places])
        due = plan.due_again if leased else plan.first_attempt
        if terms.priority > 0 and not waits and not leased:  # goes before what has waited on disk for less
            due -= terms.priority * AHEAD
        return NewMessage(
            id=tx.id,
            origin=Origin.SUBMITTED if tx.trusted else Origin.RELAYED,
            return_path=return_path,
            recipients=tuple(
                NewRecipient(
                    address=each.address,
                    destination=destination,
                    next_attempt=due,
                    next_notify=_next_notify(tx, each, plan),
                    expires=_expires(terms, plan),
                    notify=each.notify,
                    orcpt=each.orcpt,
                )
                for each, destination in places
            ),
            body=body,
            created=now,
            sender_key=sender_key,
            trusted=tx.trusted,
            smtputf8=tx.smtputf8,
            tls=_asked_tls(tx, head),
            ret=tx.ret,
            envid=tx.envid,
            account=client.account,
            listener=client.listener,
            client=client.address_text if client.uid is None else f"unix uid {client.uid}",
            message_id=head.message_id,
            held=held,
            counts=_counts(tx),
            charges=tx.submission.charges if tx.submission is not None else (),
            leased=leased,
            terms=terms,
        )

    def _terms(self, tx: Transaction, return_path: str) -> Terms:
        """What the message asks of its way, and the routing rules that it matches."""
        rules = self.admission.rules
        if not rules:
            return tx.terms
        client = tx.client
        facts = Facts(return_path=return_path, account=client.account, listener=client.listener, header=tx.body.header)
        matched = rules.matching(facts)
        return replace(tx.terms, rules=matched) if matched else tx.terms

    def _admits(self, sender_key: str, destinations: list[str]) -> bool:
        """Whether delivery takes all of a message at once (a lease is the whole message's)."""
        if len(destinations) == 1:
            return self.admission.admit(destinations[0], sender_key, 1)
        counted = Counter(destinations)
        return all(self.admission.admit(key, sender_key, number) for key, number in counted.items())

    def _tell(self, tx: Transaction, message: NewMessage) -> None:
        span = tx.client.span
        first = message.recipients[0]
        fields: dict[str, Any] = {
            "queue_id": message.id,
            "from_": message.return_path,
            "to": [each.address for each in message.recipients],
            "size": message.body.size,
            "next_retry": first.next_attempt,
            "next_dsn": first.next_notify,
            "expires": first.expires,
            "message_id": message.message_id,
        }
        if tx.sender != message.return_path:
            fields["given_from"] = tx.sender
        if tx.given != fields["to"]:  # a list, an alias, a rule: by what it was sent to it is looked for, too
            fields["given_to"] = list(tx.given)
        if tx.policy.options.data.log_subject:
            fields["subject"] = subject_of(tx.body.header)
        if message.trusted:
            queue_events.QUEUE_MESSAGE_AUTHENTICATED(span, account_name=message.account, **fields)
        else:
            queue_events.QUEUE_MESSAGE(span, **fields)
        if message.terms.rules:
            queue_events.RULES_MATCHED(span, queue_id=message.id, details=list(message.terms.rules))
        if message.held is not None:
            queue_events.HELD(span, queue_id=message.id, reason=message.held, account_name=tx.held_by)

    def _hand_over(self, message: NewMessage, until: float) -> None:
        """One job for each destination."""
        jobs: dict[str, list[Recipient]] = {}
        for number, each in enumerate(message.recipients):
            jobs.setdefault(each.destination, []).append(_queued(number, each))
        in_memory = message.body if isinstance(message.body.content, bytes) else None
        for destination, recipients in jobs.items():
            queued = _job_message(message, tuple(recipients))
            self.admission.take(Job(message=queued, destination=destination, until=until, body=in_memory))


def subject_of(header: bytes) -> str:
    """The Subject as it was written, unfolded and cut; "" when there is none."""
    found = _SUBJECT.search(header)
    return b"".join(found[1].splitlines()).decode("utf-8", "replace")[:_LONGEST_SUBJECT] if found else ""


def failure(tx: Transaction, error: Exception) -> Reply:
    """What to answer when content could not be taken or queued; only what is the content's own fault is permanent."""
    span = tx.client.span
    if isinstance(error, Refused):
        return error.reply
    if isinstance(error, HeaderTooLarge):
        smtp.MESSAGE_PARSE_FAILED(span, reason=HEADER_TOO_LARGE.text, queue_id=tx.id)
        return HEADER_TOO_LARGE
    if isinstance(error, KeyUnreadable):  # stated where it was found out
        return NO_KEY
    smtp.HANDLER_ERROR(span, reason=f"not queued: {type(error).__name__}: {error}")
    return NO_SPACE if isinstance(error, QueueFull | BlobFull) else TROUBLE


def _is_to_be_shortened(tx: Transaction) -> bool:
    return tx.trusted and tx.body.scanner.longest_line > MAX_TEXT_LINE


def _counts(tx: Transaction) -> dict[str, int]:
    """What the message adds to the sums of recipients (the invariant of the queue)."""
    counts = {"accepted": tx.accepted}
    if tx.replaced or tx.expanded:
        counts |= {"replaced": tx.replaced, "expanded": tx.expanded}
    if tx.discarded:
        counts["discarded"] = tx.discarded
    return counts


def _asked_tls(tx: Transaction, head: Head) -> MessageTls:
    """What the sender asks of TLS; REQUIRETLS makes a TLS-Required field count for nothing (RFC 8689 §4.1)."""
    if tx.requiretls:
        return MessageTls.REQUIRED
    return MessageTls.OPTIONAL if head.tls_optional else MessageTls.USUAL


def _next_notify(tx: Transaction, each: Accepted, plan: Plan) -> float | None:
    """Delay notices go to trusted senders, and to others who asked for them; never where there is no return path."""
    if not tx.return_path:
        return None
    wanted = tx.trusted if each.notify is None else Notify.DELAY in each.notify
    if not wanted:
        return None
    terms = tx.terms
    if terms.by is not None and not terms.returns:
        return terms.by if plan.next_notify is None else min(terms.by, plan.next_notify)
    return plan.next_notify


def _expires(terms: Terms, plan: Plan) -> float:
    """From when on a failure is the last: what is to be returned when it is late expires then."""
    return min(terms.by, plan.expires) if terms.by is not None and terms.returns else plan.expires


def _queued(number: int, each: NewRecipient) -> Recipient:
    """A recipient as the queue would lease it."""
    return Recipient(
        number=number,
        address=each.address,
        destination=each.destination,
        state=State.SCHEDULED,
        attempts=1,
        next_attempt=each.next_attempt,
        next_notify=each.next_notify,
        expires=each.expires,
        notify=each.notify,
        orcpt=each.orcpt,
    )


def _job_message(message: NewMessage, recipients: tuple[Recipient, ...]) -> Message:
    """The message as the queue would lease it; its blob hash is known to the queue alone."""
    body = message.body
    return Message(
        id=message.id,
        origin=message.origin,
        return_path=message.return_path,
        created=message.created,
        size=body.size,
        recipients=recipients,
        sender_key=message.sender_key,
        trusted=message.trusted,
        smtputf8=message.smtputf8,
        ret=message.ret,
        envid=message.envid,
        account=message.account,
        listener=message.listener,
        client=message.client,
        message_id=message.message_id,
        blob_hash="",
        eight_bit=body.eight_bit,
        utf8_header=body.utf8_header,
        signed=body.signed,
        terms=message.terms,
        tls=message.tls,
    )
