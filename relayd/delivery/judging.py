"""From the answers of one transaction to a judgement for each of its recipients.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.delivery.exchange import Answers
from relayd.delivery.outcome import Judgement, Stage, Trouble, Verdict, judge, judge_trouble
from relayd.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement for one recipient: of `reply` at `stage`, or of `trouble` (then `reply` stands for it)."""

    judgement: Judgement
    reply: Reply
    stage: Stage = Stage.DOT
    trouble: Trouble | None = None


_DELIVERED = Judgement(Verdict.DELIVERED)


def judge_answers(count: int, answers: Answers, *, smarthost: bool, soft_bounce: bool, lmtp: bool) -> list[Judged]:
    """One Judged for each of the `count` recipients of the transaction, in order.

    A connection lost without a word once the whole message was written may have delivered it, whatever was answered
    before; a 421 says that it did not.
    """
    final = answers.final
    if count == 1 and final and final[0].code == 250 and answers.rcpts and answers.rcpts[0].code == 250:
        return [Judged(_DELIVERED, final[0])]  # the common case
    judged: list[Judged] = []
    accepted = 0
    for number in range(count):
        found = _envelope_refusal(number, answers, smarthost, soft_bounce, accepted > 0)
        if found is None:
            found = _end_of_data(accepted if lmtp else 0, answers, smarthost, soft_bounce)
            accepted += 1
        judged.append(found)
    return judged


def _envelope_refusal(
    number: int, answers: Answers, smarthost: bool, soft_bounce: bool, after_accepted: bool
) -> Judged | None:
    """Why a recipient gets no further than RCPT; None when the peer took it."""
    mail, rcpts = answers.mail, answers.rcpts
    if mail is None:
        return _trouble(answers, soft_bounce)
    if not mail.is_positive:
        verdict = judge(Stage.MAIL, mail, smarthost=smarthost, soft_bounce=soft_bounce)
        return Judged(verdict, mail, Stage.MAIL)
    if number >= len(rcpts):
        if rcpts and rcpts[-1].code == 421:
            return Judged(judge(Stage.RCPT, rcpts[-1]), rcpts[-1], Stage.RCPT)
        return _trouble(answers, soft_bounce)
    reply = rcpts[number]
    if reply.is_positive:
        return None
    verdict = judge(Stage.RCPT, reply, smarthost=smarthost, soft_bounce=soft_bounce, after_accepted=after_accepted)
    return Judged(verdict, reply, Stage.RCPT)


def _end_of_data(place: int, answers: Answers, smarthost: bool, soft_bounce: bool) -> Judged:
    """What became of a recipient that was taken; `place` is that of its final reply."""
    stage, reply = Stage.DOT, None
    if answers.data is not None:
        stage, reply = Stage.DATA, answers.data
    elif place < len(answers.final):
        reply = answers.final[place]
    elif answers.rcpts[-1].code == 421:
        stage, reply = Stage.RCPT, answers.rcpts[-1]
    elif answers.final and answers.final[-1].code == 421:
        reply = answers.final[-1]
    if reply is None:
        return _trouble(answers, soft_bounce)
    return Judged(judge(stage, reply, smarthost=smarthost, soft_bounce=soft_bounce), reply, stage)


def _trouble(answers: Answers, soft_bounce: bool) -> Judged:
    if answers.dot_sent:
        trouble = Trouble.LOST_AFTER_DOT
    elif answers.garbage:
        trouble = Trouble.PROTOCOL
    else:
        trouble = Trouble.LOST
    judgement, reply = judge_trouble(trouble, answers.lost or "connection lost", soft_bounce=soft_bounce)
    return Judged(judgement, reply, trouble=trouble)
