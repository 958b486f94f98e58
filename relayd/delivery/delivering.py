"""What is known of one attempt while it runs: who is still to be delivered, and what became of the others."""

from __future__ import annotations

from collections.abc import Sequence

from relayd.delivery.connection import Connection
from relayd.delivery.content import QueuedContent
from relayd.delivery.endpoint import ConnectionFailed
from relayd.delivery.exchange import Answers, Content
from relayd.delivery.judging import Judged, judge_answers
from relayd.delivery.outcome import (
    Judgement,
    Learnt,
    Stage,
    Trouble,
    Verdict,
    judge,
    judge_trouble,
    outcome_of,
    reply_text,
    status_of_reply,
    status_of_trouble,
    wants_success_report,
    with_enhanced,
)
from relayd.delivery.parameters import message_needs_smtputf8, why_not_by
from relayd.delivery.permit import Permit
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.mail.snowflake import issued_at
from relayd.queue.message import Message, Outcome, Recipient, Result
from relayd.routing.bounce_class import Finding, classify_code, classify_reply
from relayd.routing.bounce_rules import NO_RULES, Rules
from relayd.routing.next_hop import NextHop, Protocol

_DEFERRED = Judgement(Verdict.DEFERRED)

_STEPS = {stage: "connect" if stage is Stage.BANNER else stage.value for stage in Stage}
"""The names that rules have for the stages."""


class Delivering:
    """The state of one attempt.  todo: recipients without an outcome.

    next_hop: the one that is being tried.  transactions: begun so far; heard: those in which the peer took part.
    permit: what it may do where limits hold.  eight_bit, smtputf8: of the message as it goes over the connection that
    `fit` was asked about last.  rules: by which failures are classified.
    """

    def __init__(
        self, message: Message, next_hop: NextHop, span: Span, *, soft_bounce: bool, rules: Rules = NO_RULES
    ) -> None:
        self.message = message
        self.next_hop = next_hop
        self.span = span
        self.permit: Permit | None = None
        self.todo: list[Recipient] = list(message.recipients)
        self.outcomes: list[Outcome] = []
        self.transactions = 0
        self.heard = 0
        self.eight_bit = False
        self.smtputf8 = False
        self._smarthost = next_hop.route is not None
        self._soft_bounce = soft_bounce
        self._rules = rules
        self._findings: dict[tuple[Reply, Stage | None], Finding] = {}
        self._last: dict[int, Learnt] = {}
        self._last_of_all: Learnt | None = None
        self._refused_for_good: set[bool] = set()
        self._alarmed = False

    # Before the transaction

    async def fit(self, connection: Connection, content: QueuedContent) -> Content | None:
        """The content as this peer can take it; recipients that it cannot serve are bounced.

        None when nobody is left for this connection.
        """
        peer, message, host = connection.extensions, self.message, connection.host
        if peer.size and content.size > peer.size:
            text = f"the message has {content.size} octets, the host takes {peer.size}"
            self.fail(Trouble.TOO_BIG, text, host)
            return None
        unpromised = ""
        if message.terms.returns and self.next_hop.protocol is not Protocol.LMTP:
            unpromised = why_not_by(message.terms, peer, self.span.stream.clock())
        if unpromised:
            self.fail(Trouble.DELIVER_BY, unpromised, host)
            return None
        whole = message_needs_smtputf8(message)
        needing = [each for each in self.todo if whole or not each.address.isascii()]
        self.smtputf8 = bool(needing)
        if needing and not peer.smtputf8:
            self.smtputf8 = False
            rest = [each for each in self.todo if each not in needing]
            self.todo = needing
            self.fail(Trouble.SMTPUTF8, "SMTPUTF8 is needed and not offered", host)
            self.todo = rest
        self.eight_bit = message.eight_bit
        if not message.eight_bit or peer.eightbitmime or self.next_hop.send_8bit_anyway or not self.todo:
            return content if self.todo else None
        converted = None if message.signed else await content.in_seven_bits()
        if converted is None:
            why = "it is signed" if message.signed else "it cannot be"
            self.fail(Trouble.EIGHT_BIT, f"8BITMIME is not offered, and the message is not converted: {why}", host)
            return None
        events.CONVERTED(self.span, queue_id=message.id, hostname=host)
        self.eight_bit = False
        return converted

    # After it

    def answered(
        self, batch: Sequence[Recipient], answers: Answers, connection: Connection, elapsed: float
    ) -> tuple[list[Recipient], list[Recipient]]:
        """Take in what one transaction brought: who goes into a new transaction, and who to the next host."""
        host = connection.host
        if answers.mail is not None and answers.mail.code != 421:
            self.heard += 1
        lmtp = self.next_hop.protocol is Protocol.LMTP
        judged = judge_answers(len(batch), answers, smarthost=self._smarthost, soft_bounce=self._soft_bounce, lmtp=lmtp)
        self._state_envelope(batch, answers, host, elapsed)
        again: list[Recipient] = []
        next_host: list[Recipient] = []
        delays = self._delays(elapsed)
        for recipient, each in zip(batch, judged, strict=True):
            verdict = each.judgement.verdict
            if verdict is Verdict.DELIVERED:
                self._delivered(recipient, each, connection, lmtp, delays)
            elif verdict is Verdict.NEW_TRANSACTION:
                again.append(recipient)
            else:
                self._failed(recipient, each, host, next_host)
        return again, next_host

    def not_connected(self, host: str, failure: ConnectionFailed) -> None:
        """No connection to `host`: what follows for everybody left, unless another host takes them."""
        if failure.reply is not None and failure.stage is not None:
            reply = with_enhanced(failure.reply, failure.stage)
            judgement = judge(failure.stage, failure.reply, smarthost=self._smarthost)
            finding = self._finding(reply, failure.stage, host)
            self._last_of_all = Learnt(reply, host, status_of_reply(host, reply), finding=finding)
        else:
            judgement, reply = judge_trouble(failure.trouble, str(failure))
            status = status_of_trouble(failure.trouble, host, str(failure))
            self._last_of_all = self._learnt_ourselves(reply, host, status)
        self._last.clear()
        self._refused_for_good.add(failure.trouble is Trouble.REQUIRETLS)
        if judgement.alarm:
            self._alarm(reply)

    def fail(self, trouble: Trouble, text: str, host: str = "") -> None:
        """Everybody left has this trouble, wherever else they may be tried; NEXT_HOST keeps them."""
        judgement, reply = judge_trouble(trouble, text, soft_bounce=self._soft_bounce)
        status = status_of_trouble(trouble, host or self.next_hop.host, text)
        if judgement.alarm:
            self._alarm(reply)
        if judgement.verdict is Verdict.NEXT_HOST:
            self._last_of_all = self._learnt_ourselves(reply, host, status)
            self._refused_for_good.add(trouble is Trouble.REQUIRETLS)
            return
        learnt = self._learnt_ourselves(reply, host, status)
        self.outcomes += [outcome_of(each, judgement, learnt) for each in self.todo]
        self.todo = []

    def put_off(self, due: float) -> None:
        """A limit lets nothing more go before `due` (Unix time): whoever is left waits, and this was no attempt."""
        self.postpone(Reply(451, "4.4.5", "The rate of the destination is used up"), due)

    def postpone(self, reply: Reply, due: float) -> None:
        """Nothing could be tried now: everybody left is due again at `due` (Unix seconds), uncounted."""
        self.outcomes += [
            Outcome(
                number=each.number,
                address=each.address,
                result=Result.DEFERRED,
                reply=reply,
                status=reply.text,
                next_attempt=due,
                uncounted=True,
                ours=True,
            )
            for each in self.todo
        ]
        self.todo = []

    def give_up(self) -> None:
        """No host is left: whoever has no outcome is deferred with the last thing learnt.

        Bounced where every host refused for good what the message demands (REQUIRETLS).
        """
        bounce = self._refused_for_good == {True} and not self._soft_bounce
        judgement = Judgement(Verdict.BOUNCED) if bounce else _DEFERRED
        for recipient in self.todo:
            last = self._last.get(recipient.number) or self._last_of_all
            if last is None:
                _, reply = judge_trouble(Trouble.INTERNAL, "no host was tried")
                last = self._learnt_ourselves(reply, "", status_of_trouble(Trouble.INTERNAL, "", reply.text))
            self.outcomes.append(outcome_of(recipient, judgement if last.ours else _DEFERRED, last))
        self.todo = []

    # One recipient

    def _delivered(
        self, recipient: Recipient, judged: Judged, connection: Connection, lmtp: bool, delays: list[float]
    ) -> None:
        reply = with_enhanced(judged.reply, Stage.DOT)
        host = connection.host
        peer = connection.extensions
        relayed = recipient.notify is not None and wants_success_report(recipient) and not peer.dsn
        if self.message.terms.traces and "DELIVERBY" not in peer.keywords:
            relayed = True  # nobody promises the time further on
        self.outcomes.append(
            Outcome(
                number=recipient.number,
                address=recipient.address,
                result=Result.RELAYED if relayed and not lmtp else Result.DELIVERED,
                reply=reply,
                host=host,
                status=reply_text(reply),
            )
        )
        twice = {} if recipient.maybe_delivered is None else {"maybe_again": True}
        events.DELIVERED(
            self.span,
            queue_id=self.message.id,
            hostname=host,
            to=recipient.address,
            code=reply.code,
            details=reply.text,
            elapsed=delays[-1],
            delays=delays,
            **twice,
        )

    def _delays(self, transmitting: float) -> list[float]:
        """Seconds until the message was queued, until this attempt began, until the transaction began, and of it."""
        message, span = self.message, self.span
        connecting = span.stream.clock() - span.started - transmitting
        before = message.created - issued_at(message.id)
        parts = (before, span.started - message.created, connecting, transmitting)
        return [round(each, 4) if each > 0 else 0.0 for each in parts]

    def _failed(self, recipient: Recipient, judged: Judged, host: str, next_host: list[Recipient]) -> None:
        if judged.trouble is None:
            reply = with_enhanced(judged.reply, judged.stage)
            finding = self._finding(judged.reply, judged.stage, host)
            learnt = Learnt(reply, host, status_of_reply(host, reply), finding=finding)
        else:
            reply = judged.reply
            learnt = self._learnt_ourselves(reply, host, status_of_trouble(judged.trouble, host, reply.text))
        if judged.judgement.alarm:
            self._alarm(reply)
        if judged.judgement.maybe_delivered:
            events.MAYBE_DELIVERED(self.span, queue_id=self.message.id, hostname=host, to=recipient.address)
        if judged.judgement.verdict is Verdict.NEXT_HOST:
            self._last[recipient.number] = learnt
            next_host.append(recipient)
        else:
            self.outcomes.append(outcome_of(recipient, judged.judgement, learnt))

    def _finding(self, reply: Reply, stage: Stage, host: str) -> Finding:
        """What a peer's refusal means; asked of the rules once for all recipients that got it."""
        key = (reply, stage)
        finding = self._findings.get(key)
        if finding is None:
            finding = self._findings[key] = classify_reply(reply, self._rules, step=_STEPS[stage], host=host)
        return finding

    def _learnt_ourselves(self, reply: Reply, host: str, status: str) -> Learnt:
        """What no peer said: the code that we gave it ourselves says what it means."""
        return Learnt(reply, host, status, ours=True, finding=classify_code(reply, self._rules))

    def _alarm(self, reply: Reply) -> None:
        if not self._alarmed:
            self._alarmed = True
            events.ROUTE_ALARM(self.span, id=self.next_hop.route or "", code=reply.code, details=reply.text)

    def _state_envelope(self, batch: Sequence[Recipient], answers: Answers, host: str, elapsed: float) -> None:
        """State what the peer said to each command."""
        mail = answers.mail
        span = self.span
        if mail is not None:
            about = {"hostname": host, "from_": self.message.return_path, "code": mail.code, "details": mail.text}
            if mail.is_positive:
                events.MAIL_FROM(span, **about, elapsed=elapsed)
            else:
                why = self._finding(mail, Stage.MAIL, host)
                events.MAIL_FROM_REJECTED(span, **about, elapsed=elapsed, class_=why.class_.value, rule=why.rule)
        if mail is not None and mail.is_positive:
            for recipient, reply in zip(batch, answers.rcpts, strict=False):
                to = recipient.address
                if reply.is_positive:
                    events.RCPT_TO(span, hostname=host, to=to, code=reply.code, details=reply.text, elapsed=elapsed)
                else:
                    why = self._finding(reply, Stage.RCPT, host)
                    about = {"hostname": host, "to": to, "code": reply.code, "details": reply.text}
                    events.RCPT_TO_REJECTED(span, **about, class_=why.class_.value, rule=why.rule)
        refusal = answers.data or (answers.final[0] if answers.final else None)
        if refusal is not None and not refusal.is_positive and any(each.is_positive for each in answers.rcpts):
            everybody = [each.address for each in batch]
            why = self._finding(refusal, Stage.DATA if answers.data is not None else Stage.DOT, host)
            about = {"hostname": host, "to": everybody, "code": refusal.code, "details": refusal.text}
            events.MESSAGE_REJECTED(span, **about, class_=why.class_.value, rule=why.rule)
        if answers.lost:
            events.CONNECTION_LOST(span, hostname=host, reason=answers.lost)
            if mail is not None and mail.is_positive:
                for recipient in batch[len(answers.rcpts) :]:
                    events.RCPT_TO_FAILED(span, hostname=host, to=recipient.address, reason=answers.lost)
