"""The table of outcomes, row by row."""

from __future__ import annotations

import pytest

from relayd.delivery.exchange import Answers
from relayd.delivery.judging import judge_answers
from relayd.delivery.outcome import (
    REPLIES,
    TROUBLES,
    Judgement,
    Learnt,
    Stage,
    Trouble,
    Verdict,
    judge,
    judge_trouble,
    outcome_of,
    status_of_reply,
    status_of_trouble,
    with_enhanced,
)
from relayd.mail.reply import Reply
from relayd.queue.message import Result
from tests.delivery.setting import recipient

SETUP = (Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.AUTH)
MESSAGE = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT)


@pytest.mark.parametrize("stage", SETUP)
@pytest.mark.parametrize("code", [421, 454, 500, 521, 554])
def test_a_refusal_before_mail_is_the_hosts(stage: Stage, code: int) -> None:
    assert judge(stage, Reply(code, "", "")).verdict is Verdict.NEXT_HOST


@pytest.mark.parametrize("stage", [*SETUP, *MESSAGE])
@pytest.mark.parametrize("soft", [False, True])
def test_421_anywhere_is_the_next_host(stage: Stage, soft: bool) -> None:
    found = judge(stage, Reply(421, "4.3.2", ""), smarthost=True, after_accepted=True, soft_bounce=soft)
    assert found == Judgement(Verdict.NEXT_HOST)


@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_a_refused_sign_in_is_an_alarm(code: int) -> None:
    assert judge(Stage.AUTH, Reply(code, "", ""), smarthost=True) == Judgement(Verdict.NEXT_HOST, alarm=True)


def test_a_sign_in_that_fails_for_now_is_none() -> None:
    assert judge(Stage.AUTH, Reply(454, "4.7.0", ""), smarthost=True) == Judgement(Verdict.NEXT_HOST)


@pytest.mark.parametrize("stage", MESSAGE)
@pytest.mark.parametrize("code", [500, 501, 503, 550, 551, 553, 554, 555, 571])
def test_5xx_bounces(stage: Stage, code: int) -> None:
    reply = Reply(code, "", "")
    assert judge(stage, reply).verdict is Verdict.BOUNCED
    assert judge(stage, reply, smarthost=True).verdict is Verdict.BOUNCED
    assert judge(stage, reply, soft_bounce=True).verdict is Verdict.DEFERRED


@pytest.mark.parametrize("stage", MESSAGE)
@pytest.mark.parametrize("code", [450, 451, 454])
def test_4xx_defers(stage: Stage, code: int) -> None:
    assert judge(stage, Reply(code, "", "")).verdict is Verdict.DEFERRED


@pytest.mark.parametrize("stage", MESSAGE)
@pytest.mark.parametrize(
    "reply",
    [Reply(530, "", ""), Reply(534, "5.7.9", ""), Reply(535, "", ""), Reply(550, "5.7.0", ""), Reply(554, "5.7.8", "")],
)
def test_our_own_smarthost_refusing_us_is_deferred_and_an_alarm(stage: Stage, reply: Reply) -> None:
    assert judge(stage, reply, smarthost=True) == Judgement(Verdict.DEFERRED, alarm=True)
    assert judge(stage, reply, smarthost=False) == Judgement(Verdict.BOUNCED)


def test_other_refusals_of_our_smarthost_bounce() -> None:
    assert judge(Stage.RCPT, Reply(550, "5.7.1", ""), smarthost=True).verdict is Verdict.BOUNCED


@pytest.mark.parametrize("code", [452, 552])
def test_too_many_recipients(code: int) -> None:
    reply = Reply(code, "", "")
    assert judge(Stage.RCPT, reply, after_accepted=True).verdict is Verdict.NEW_TRANSACTION
    assert judge(Stage.RCPT, reply, after_accepted=False).verdict is Verdict.DEFERRED
    assert judge(Stage.RCPT, reply, after_accepted=True, soft_bounce=True).verdict is Verdict.NEW_TRANSACTION


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.DATA, Stage.DOT])
def test_552_elsewhere_bounces_and_452_defers(stage: Stage) -> None:
    assert judge(stage, Reply(552, "", ""), after_accepted=True).verdict is Verdict.BOUNCED
    assert judge(stage, Reply(452, "", ""), after_accepted=True).verdict is Verdict.DEFERRED


def test_success() -> None:
    assert judge(Stage.MAIL, Reply(250, "", "")).verdict is Verdict.ACCEPTED
    assert judge(Stage.RCPT, Reply(251, "", "")).verdict is Verdict.ACCEPTED
    assert judge(Stage.DATA, Reply(354, "", "")).verdict is Verdict.ACCEPTED
    assert judge(Stage.DOT, Reply(250, "", "")).verdict is Verdict.DELIVERED


@pytest.mark.parametrize(("stage", "code"), [(Stage.MAIL, 354), (Stage.RCPT, 354), (Stage.DATA, 250), (Stage.DOT, 354)])
def test_a_reply_without_meaning_is_a_protocol_error(stage: Stage, code: int) -> None:
    assert judge(stage, Reply(code, "", "")).verdict is Verdict.NEXT_HOST


def test_every_row_decides_something() -> None:
    replies = [Reply(code, "", "") for code in (250, 354, 421, 450, 452, 530, 550, 552)]
    cases = [(s, r, h, a) for s in Stage for r in replies for h in (False, True) for a in (False, True)]
    deciding = [next(row for row in REPLIES if row.fits(*case)) for case in cases]
    assert [row.why for row in REPLIES if row not in deciding] == []


@pytest.mark.parametrize(
    ("trouble", "verdict", "enhanced"),
    [
        (Trouble.NO_NAME, Verdict.BOUNCED, "5.1.2"),
        (Trouble.NO_ADDRESS, Verdict.BOUNCED, "5.4.4"),
        (Trouble.LOOKUP, Verdict.DEFERRED, "4.4.3"),
        (Trouble.ROUTE_LOOKUP, Verdict.DEFERRED, "4.4.4"),
        (Trouble.NULL_MX, Verdict.BOUNCED, "5.1.10"),
        (Trouble.LOOP, Verdict.BOUNCED, "5.4.6"),
        (Trouble.PRIVATE, Verdict.NEXT_HOST, "4.4.4"),
        (Trouble.CONNECT, Verdict.NEXT_HOST, "4.4.1"),
        (Trouble.TLS, Verdict.NEXT_HOST, "4.7.5"),
        (Trouble.PROTOCOL, Verdict.NEXT_HOST, "4.5.0"),
        (Trouble.LOST, Verdict.NEXT_HOST, "4.4.2"),
        (Trouble.LOST_AFTER_DOT, Verdict.DEFERRED, "4.4.2"),
        (Trouble.TOO_BIG, Verdict.BOUNCED, "5.3.4"),
        (Trouble.SMTPUTF8, Verdict.BOUNCED, "5.6.7"),
        (Trouble.EIGHT_BIT, Verdict.BOUNCED, "5.6.3"),
        (Trouble.INTERNAL, Verdict.DEFERRED, "4.3.0"),
    ],
)
def test_every_trouble(trouble: Trouble, verdict: Verdict, enhanced: str) -> None:
    judgement, reply = judge_trouble(trouble, "why")
    assert (judgement.verdict, reply.enhanced, reply.text) == (verdict, enhanced, "why")
    assert judgement.maybe_delivered == (trouble is Trouble.LOST_AFTER_DOT)
    soft, _ = judge_trouble(trouble, "why", soft_bounce=True)
    assert soft.verdict is (Verdict.DEFERRED if verdict is Verdict.BOUNCED else verdict)


def test_every_trouble_has_a_row_and_a_text() -> None:
    assert set(TROUBLES) == set(Trouble)
    for trouble, (_, reply) in TROUBLES.items():
        assert reply.enhanced[0] == str(reply.code)[0]
        assert "why" in status_of_trouble(trouble, "mx.example", "why")


@pytest.mark.parametrize(
    ("reply", "stage", "enhanced"),
    [
        (Reply(250, "2.6.0", "x"), Stage.DOT, "2.6.0"),
        (Reply(250, "", "x"), Stage.RCPT, "2.1.5"),
        (Reply(250, "", "x"), Stage.DOT, "2.0.0"),
        (Reply(550, "", "x"), Stage.RCPT, "5.0.0"),
        (Reply(550, "4.7.1", "x"), Stage.RCPT, "5.0.0"),
        (Reply(452, "", "x"), Stage.RCPT, "4.3.1"),
        (Reply(530, "", "x"), Stage.MAIL, "5.7.0"),
        (Reply(499, "", "x"), Stage.MAIL, "4.0.0"),
    ],
)
def test_an_enhanced_code_for_every_reply(reply: Reply, stage: Stage, enhanced: str) -> None:
    assert with_enhanced(reply, stage) == Reply(reply.code, enhanced, "x")


def test_status_texts() -> None:
    reply = Reply(550, "5.1.1", "No\nsuch user")
    expected = "Unexpected response from 'mx.example': Code: 550, Enhanced code: 5.1.1, Message: No such user"
    assert status_of_reply("mx.example", reply) == expected
    assert status_of_trouble(Trouble.CONNECT, "mx.example", "refused") == "Connection to 'mx.example' failed: refused"
    assert status_of_trouble(Trouble.TLS, "mx.example", "bad") == "TLS error from 'mx.example': bad"
    assert status_of_trouble(Trouble.NO_NAME, "mx.example", "gone") == "DNS lookup failed: gone"


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (Verdict.DELIVERED, Result.DELIVERED),
        (Verdict.BOUNCED, Result.BOUNCED),
        (Verdict.DEFERRED, Result.DEFERRED),
        (Verdict.NEXT_HOST, Result.DEFERRED),
        (Verdict.NEW_TRANSACTION, Result.DEFERRED),
    ],
)
def test_outcomes(verdict: Verdict, result: Result) -> None:
    learnt = Learnt(Reply(250, "2.0.0", ""), "mx", "status")
    made = outcome_of(recipient(3, "b@x.example"), Judgement(verdict), learnt)
    assert (made.number, made.address, made.result, made.host) == (3, "b@x.example", result, "mx")


OK = Reply(250, "2.0.0", "Ok")
CLOSING = Reply(421, "4.3.2", "Closing")


def verdicts(count: int, answers: Answers, lmtp: bool = False) -> list[tuple[Verdict, Trouble | None]]:
    judged = judge_answers(count, answers, smarthost=False, soft_bounce=False, lmtp=lmtp)
    return [(each.judgement.verdict, each.trouble) for each in judged]


def test_judging_a_connection_lost() -> None:
    lost = Answers(lost="gone")
    assert verdicts(2, lost) == [(Verdict.NEXT_HOST, Trouble.LOST)] * 2
    lost = Answers(mail=OK, rcpts=[OK], lost="gone")
    assert verdicts(2, lost) == [(Verdict.NEXT_HOST, Trouble.LOST)] * 2
    lost = Answers(mail=OK, rcpts=[OK, Reply(550, "5.1.1", "")], lost="gone", dot_sent=True)
    assert verdicts(2, lost) == [(Verdict.DEFERRED, Trouble.LOST_AFTER_DOT), (Verdict.BOUNCED, None)]
    assert verdicts(1, Answers(lost="?", garbage=True)) == [(Verdict.NEXT_HOST, Trouble.PROTOCOL)]


def test_judging_a_421() -> None:
    assert verdicts(2, Answers(mail=CLOSING, lost="421", dot_sent=True)) == [(Verdict.NEXT_HOST, None)] * 2
    at_rcpt = Answers(mail=OK, rcpts=[OK, CLOSING], lost="421", dot_sent=True)
    assert verdicts(3, at_rcpt) == [(Verdict.NEXT_HOST, None)] * 3
    at_dot = Answers(mail=OK, rcpts=[OK], final=[CLOSING], lost="421", dot_sent=True)
    assert verdicts(1, at_dot) == [(Verdict.NEXT_HOST, None)]


def test_judging_lmtp_cut_short() -> None:
    cut = Answers(mail=OK, rcpts=[OK, OK], final=[OK], lost="gone", dot_sent=True)
    assert verdicts(2, cut, lmtp=True) == [(Verdict.DELIVERED, None), (Verdict.DEFERRED, Trouble.LOST_AFTER_DOT)]
