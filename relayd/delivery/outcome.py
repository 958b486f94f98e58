"""What follows from what a peer said, or from what went wrong: one pure table.

`judge` is asked with the stage of the conversation and the peer's reply, `judge_trouble` when there was no reply.
Each row of `REPLIES` and `TROUBLES` is one rule with its reason; the first row that fits counts.  Unknown failure is
temporary: what no row foresees is "next host, then deferred".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.queue.message import Outcome, Recipient, Result
from relayd.routing.bounce_class import UNKNOWN, Finding


class Stage(Enum):
    """What the peer answered."""

    BANNER = "banner"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    DOT = "end of data"


class Trouble(Enum):
    """What went wrong without a reply."""

    NO_NAME = "the domain does not exist"
    NO_ADDRESS = "the domain has no mail host with an address"
    LOOKUP = "the DNS did not answer"
    ROUTE_LOOKUP = "the name of a configured route has no address"
    NULL_MX = "the domain takes no mail"
    LOOP = "we are the domain's best mail host"
    PRIVATE = "the addresses are private"
    CONNECT = "no connection"
    TLS = "no TLS"
    TOO_LATE = "the time to deliver by has passed"
    NO_TOKEN = "no token to sign in with"
    DANE = "the host does not fit its TLSA records"
    MTA_STS = "the host does not fit the domain's MTA-STS policy"
    REQUIRETLS = "the host does not give the TLS that the message demands"
    PROTOCOL = "the peer does not speak SMTP"
    LOST = "connection lost"
    LOST_AFTER_DOT = "connection lost after the final dot"
    TOO_BIG = "larger than the peer takes"
    SMTPUTF8 = "the peer does not take internationalised mail"
    EIGHT_BIT = "the peer does not take 8-bit mail"
    DELIVER_BY = "the peer does not promise the time to deliver by"
    INTERNAL = "a failure of our own"


class Verdict(Enum):
    """What is done for the recipient."""

    ACCEPTED = "go on"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DEFERRED = "deferred"
    NEXT_HOST = "next host, then deferred"
    NEW_TRANSACTION = "again, in a new transaction"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict.  alarm: our own smarthost refuses us, an operator must look.  maybe_delivered: a copy may have
    arrived already.
    """

    verdict: Verdict
    alarm: bool = False
    maybe_delivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule for replies: every condition must hold; an empty one always does.

    classes: first digits of the code.  smarthost: the host is that of a configured route.  after_accepted: a recipient
    of the same transaction was accepted before.
    """

    why: str
    stages: frozenset[Stage] = frozenset()
    codes: frozenset[int] = frozenset()
    enhanced: frozenset[str] = frozenset()
    classes: str = ""
    smarthost: bool = False
    after_accepted: bool = False
    then: Judgement

    def fits(self, stage: Stage, reply: Reply, smarthost: bool, after_accepted: bool) -> bool:
        """Whether the rule is about this reply.  `codes` and `enhanced` are alternatives of one another."""
        if self.stages and stage not in self.stages:
            return False
        either = self.codes or self.enhanced
        if either and reply.code not in self.codes and reply.enhanced not in self.enhanced:
            return False
        if self.classes and str(reply.code)[:1] not in self.classes:
            return False
        return (smarthost or not self.smarthost) and (after_accepted or not self.after_accepted)


_SETUP = frozenset({Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.AUTH})
_ENVELOPE = frozenset({Stage.MAIL, Stage.RCPT})
_MESSAGE = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT})
_RCPT = frozenset({Stage.RCPT})
_REFUSES_US = frozenset({530, 534, 535})
_REFUSES_US_ENHANCED = frozenset({"5.7.0", "5.7.8"})

REPLIES: tuple[Row, ...] = (
    Row(
        why="2xx to the dot: the message is the peer's now",
        stages=frozenset({Stage.DOT}),
        classes="2",
        then=Judgement(Verdict.DELIVERED),
    ),
    Row(why="2xx to MAIL or RCPT: go on", stages=_ENVELOPE, classes="2", then=Judgement(Verdict.ACCEPTED)),
    Row(
        why="3xx to DATA: send the message",
        stages=frozenset({Stage.DATA}),
        classes="3",
        then=Judgement(Verdict.ACCEPTED),
    ),
    Row(
        why="421 anywhere: the host is closing, not the mail refused",
        codes=frozenset({421}),
        then=Judgement(Verdict.NEXT_HOST),
    ),
    Row(
        why="our sign-in is refused",
        stages=frozenset({Stage.AUTH}),
        classes="5",
        then=Judgement(Verdict.NEXT_HOST, alarm=True),
    ),
    Row(
        why="refused in banner, EHLO, STARTTLS or AUTH: it is the host that will not talk",
        stages=_SETUP,
        then=Judgement(Verdict.NEXT_HOST),
    ),
    Row(
        why="our own smarthost wants authentication or will not relay: our fault, not the mail's",
        stages=_MESSAGE,
        codes=_REFUSES_US,
        enhanced=_REFUSES_US_ENHANCED,
        classes="5",
        smarthost=True,
        then=Judgement(Verdict.DEFERRED, alarm=True),
    ),
    Row(
        why="too many recipients (452, or 552 of older hosts): the rest in a new transaction",
        stages=_RCPT,
        codes=frozenset({452, 552}),
        after_accepted=True,
        then=Judgement(Verdict.NEW_TRANSACTION),
    ),
    Row(
        why="552 to RCPT counts as 452 (RFC 5321 §4.5.3.1.10)",
        stages=_RCPT,
        codes=frozenset({552}),
        then=Judgement(Verdict.DEFERRED),
    ),
    Row(
        why="5xx to MAIL, RCPT, DATA or the dot: refused for good",
        stages=_MESSAGE,
        classes="5",
        then=Judgement(Verdict.BOUNCED),
    ),
    Row(
        why="4xx to MAIL, RCPT, DATA or the dot: not now",
        stages=_MESSAGE,
        classes="4",
        then=Judgement(Verdict.DEFERRED),
    ),
    Row(why="a reply that has no meaning here: protocol error", then=Judgement(Verdict.NEXT_HOST)),
)

TROUBLES: dict[Trouble, tuple[Judgement, Reply]] = {
    Trouble.NO_NAME: (Judgement(Verdict.BOUNCED), Reply(550, "5.1.2", "")),
    Trouble.NO_ADDRESS: (Judgement(Verdict.BOUNCED), Reply(550, "5.4.4", "")),
    Trouble.LOOKUP: (Judgement(Verdict.DEFERRED), Reply(451, "4.4.3", "")),
    Trouble.ROUTE_LOOKUP: (Judgement(Verdict.DEFERRED, alarm=True), Reply(451, "4.4.4", "")),
    Trouble.NULL_MX: (Judgement(Verdict.BOUNCED), Reply(556, "5.1.10", "")),
    Trouble.LOOP: (Judgement(Verdict.BOUNCED), Reply(554, "5.4.6", "")),
    Trouble.PRIVATE: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.4.4", "")),
    Trouble.CONNECT: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.4.1", "")),
    Trouble.TLS: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.7.5", "")),
    Trouble.TOO_LATE: (Judgement(Verdict.BOUNCED), Reply(554, "5.4.7", "")),
    Trouble.NO_TOKEN: (Judgement(Verdict.NEXT_HOST, alarm=True), Reply(454, "4.7.0", "")),
    Trouble.DANE: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.7.5", "")),
    Trouble.MTA_STS: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.7.5", "")),
    Trouble.REQUIRETLS: (Judgement(Verdict.NEXT_HOST), Reply(550, "5.7.30", "")),
    Trouble.PROTOCOL: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.5.0", "")),
    Trouble.LOST: (Judgement(Verdict.NEXT_HOST), Reply(451, "4.4.2", "")),
    Trouble.LOST_AFTER_DOT: (Judgement(Verdict.DEFERRED, maybe_delivered=True), Reply(451, "4.4.2", "")),
    Trouble.TOO_BIG: (Judgement(Verdict.BOUNCED), Reply(552, "5.3.4", "")),
    Trouble.SMTPUTF8: (Judgement(Verdict.BOUNCED), Reply(553, "5.6.7", "")),
    Trouble.EIGHT_BIT: (Judgement(Verdict.BOUNCED), Reply(554, "5.6.3", "")),
    Trouble.DELIVER_BY: (Judgement(Verdict.BOUNCED), Reply(554, "5.3.3", "")),
    Trouble.INTERNAL: (Judgement(Verdict.DEFERRED), Reply(451, "4.3.0", "")),
}


def judge(
    stage: Stage, reply: Reply, *, smarthost: bool = False, after_accepted: bool = False, soft_bounce: bool = False
) -> Judgement:
    """What follows from `reply` at `stage`; `soft_bounce` (`queue.soft-bounce`) defers what would bounce."""
    for row in REPLIES:
        if row.fits(stage, reply, smarthost, after_accepted):
            return _softened(row.then, soft_bounce)
    raise AssertionError("the last row fits everything")


def judge_trouble(trouble: Trouble, text: str, *, soft_bounce: bool = False) -> tuple[Judgement, Reply]:
    """What follows from a failure without a reply, and the reply that stands for it."""
    judgement, reply = TROUBLES[trouble]
    return _softened(judgement, soft_bounce), Reply(reply.code, reply.enhanced, text)


def _softened(judgement: Judgement, soft_bounce: bool) -> Judgement:
    if soft_bounce and judgement.verdict is Verdict.BOUNCED:
        return Judgement(Verdict.DEFERRED, judgement.alarm, judgement.maybe_delivered)
    return judgement


_BY_CODE = {
    421: "4.3.2",
    450: "4.2.0",
    451: "4.3.0",
    452: "4.3.1",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    504: "5.5.4",
    521: "5.3.2",
    530: "5.7.0",
    534: "5.7.9",
    535: "5.7.8",
    551: "5.1.6",
    552: "5.2.2",
    553: "5.1.3",
    555: "5.5.4",
    556: "5.1.10",
}


def with_enhanced(reply: Reply, stage: Stage) -> Reply:
    """The reply with an enhanced code (RFC 3463): its own, else one from stage and code, else "5.0.0".

    A peer's enhanced code of another class than its code is not believed.
    """
    digit = str(reply.code)[:1]
    if reply.enhanced and reply.enhanced[0] == digit:
        return reply
    if digit == "2":
        enhanced = {Stage.MAIL: "2.1.0", Stage.RCPT: "2.1.5"}.get(stage, "2.0.0")
    else:
        enhanced = _BY_CODE.get(reply.code, f"{digit}.0.0")
    return Reply(reply.code, enhanced, reply.text)


_RESULTS = {Verdict.DELIVERED: Result.DELIVERED, Verdict.BOUNCED: Result.BOUNCED}


class Learnt(NamedTuple):
    """What one try showed of a recipient.  reply: the peer's, or with `ours` one of our own making (the connection was
    lost, an extension is missing).  host: the peer's name, "" without one.  status: the control API's text.  finding:
    what the reply means.
    """

    reply: Reply
    host: str
    status: str
    ours: bool = False
    finding: Finding = UNKNOWN


def outcome_of(recipient: Recipient, judgement: Judgement, learnt: Learnt) -> Outcome:
    """The queue's outcome for a recipient; what is neither delivered nor bounced is deferred."""
    return Outcome(
        number=recipient.number,
        address=recipient.address,
        result=_RESULTS.get(judgement.verdict, Result.DEFERRED),
        reply=learnt.reply,
        host=learnt.host,
        status=learnt.status,
        ours=learnt.ours,
        maybe_delivered=judgement.maybe_delivered,
        class_=learnt.finding.class_.value,
        rule=learnt.finding.rule,
        hard=learnt.finding.hard,
    )


def wants_success_report(recipient: Recipient) -> bool:
    """Whether the sender asked to hear of success: at a host without DSN that makes the result RELAYED."""
    return recipient.notify is not None and Notify.SUCCESS in recipient.notify


def reply_text(reply: Reply) -> str:
    """ "Code: 250, Enhanced code: 2.1.5, Message: OK"."""
    message = reply.text.replace("\n", " ")
    return f"Code: {reply.code}, Enhanced code: {reply.enhanced}, Message: {message}"


def status_of_reply(host: str, reply: Reply) -> str:
    """The control API's status text of a peer's refusal."""
    return f"Unexpected response from '{host}': {reply_text(reply)}"


def status_of_trouble(trouble: Trouble, host: str, text: str) -> str:
    """The control API's status text of a failure without a reply."""
    match trouble:
        case Trouble.LOST_AFTER_DOT:
            return f"Connection to '{host}' failed: {text} after the final dot (maybe delivered)"
        case Trouble.CONNECT | Trouble.LOST | Trouble.PRIVATE | Trouble.PROTOCOL:
            return f"Connection to '{host}' failed: {text}"
        case Trouble.TOO_LATE:
            return f"Delivery expired: {text}"
        case Trouble.NO_TOKEN:
            return f"Authentication at '{host}' failed: {text}"
        case Trouble.TLS:
            return f"TLS error from '{host}': {text}"
        case Trouble.REQUIRETLS:
            return f"TLS error from '{host}': REQUIRETLS: {text}"
        case Trouble.DANE:
            return f"DANE failed to authenticate '{host}': {text}"
        case Trouble.MTA_STS:
            return f"MTA-STS auth failed: {text}"
        case Trouble.NO_NAME | Trouble.NO_ADDRESS | Trouble.LOOKUP | Trouble.ROUTE_LOOKUP | Trouble.NULL_MX:
            return f"DNS lookup failed: {text}"
        case Trouble.LOOP:
            return f"DNS lookup failed: {text}"
        case Trouble.TOO_BIG | Trouble.SMTPUTF8 | Trouble.EIGHT_BIT | Trouble.DELIVER_BY:
            _, reply = TROUBLES[trouble]
            return status_of_reply(host, Reply(reply.code, reply.enhanced, text))
        case Trouble.INTERNAL:
            return f"Queue error: {text}"
