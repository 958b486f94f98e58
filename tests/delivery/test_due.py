"""What follows from outcomes by the clock."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from relayd.delivery.due import conclude, next_of, notice_due, postponed, retried, unreachable, was_made
from relayd.mail.reply import Reply
from relayd.queue.message import Job, Message, Origin, Outcome, Recipient, Result, State
from relayd.routing.schedule import Schedule

NOW = 1_800_000_000.0
LATER = Reply(450, "4.2.0", "later")


def recipient(number: int = 0, **changes: object) -> Recipient:
    made = Recipient(
        number=number,
        address=f"user{number}@dest.example",
        destination="dest.example",
        state=State.SCHEDULED,
        attempts=1,
        next_attempt=NOW + 120,
        next_notify=NOW + 86400,
        expires=NOW + 432000,
        notify=None,
        orcpt=None,
    )
    return replace(made, **changes)


def job(*recipients: Recipient) -> Job:
    message = Message(
        id=1,
        origin=Origin.SUBMITTED,
        return_path="a@origin.example",
        created=NOW,
        size=10,
        recipients=recipients,
        sender_key="a",
        trusted=True,
        smtputf8=False,
        ret=None,
        envid=None,
        account=None,
        listener="",
        client="",
        message_id="",
        blob_hash="",
        eight_bit=False,
        utf8_header=False,
        signed=False,
    )
    return Job(message=message, destination="dest.example", until=NOW + 3600)


def outcome(number: int = 0, result: Result = Result.DEFERRED, reply: Reply = LATER, **more: object) -> Outcome:
    made = Outcome(number=number, address=f"user{number}@dest.example", result=result, reply=reply)
    return replace(made, **more)


def concluded(work: Job, *outcomes: Outcome, now: float = NOW) -> list[Outcome]:
    return conclude(work, outcomes, Schedule(), now, lambda: 0.0)


def test_final_outcomes_stay_as_they_are() -> None:
    done = outcome(result=Result.DELIVERED)
    assert concluded(job(recipient()), done) == [done]


def test_the_order_is_the_jobs_and_nobody_is_missing() -> None:
    work = job(recipient(0), recipient(1), recipient(2))
    found = concluded(work, outcome(2, Result.BOUNCED), outcome(0, Result.DELIVERED))
    assert [each.result for each in found] == [Result.DELIVERED, Result.DEFERRED, Result.BOUNCED]
    assert found[1].reply.enhanced == "4.3.0"


@pytest.mark.parametrize(("attempts", "delay"), [(1, 120), (2, 300), (7, 7200), (50, 7200)])
def test_a_deferral_is_due_by_the_schedule(attempts: int, delay: float) -> None:
    (found,) = concluded(job(recipient(attempts=attempts)), outcome())
    assert found.next_attempt == NOW + delay


def test_a_later_time_that_the_attempt_names_is_kept() -> None:
    (found,) = concluded(job(recipient()), outcome(next_attempt=NOW + 900))
    assert found.next_attempt == NOW + 900


@pytest.mark.parametrize(("age", "result"), [(431999, Result.DEFERRED), (432000, Result.EXPIRED)])
def test_it_expires_only_by_an_attempt_at_or_past_the_expiry(age: float, result: Result) -> None:
    (found,) = concluded(job(recipient()), outcome(), now=NOW + age)
    assert found.result is result


def test_one_that_was_not_made_does_not_expire() -> None:
    now = NOW + 999999
    (found,) = concluded(job(recipient()), outcome(uncounted=True), now=now)
    assert (found.result, found.next_attempt) == (Result.DEFERRED, now + 30)


def test_notices_pass_once_each() -> None:
    (early,) = concluded(job(recipient()), outcome(), now=NOW + 86399)
    (first,) = concluded(job(recipient()), outcome(), now=NOW + 86400)
    (last,) = concluded(job(recipient(next_notify=NOW + 259200)), outcome(), now=NOW + 259200)
    assert (early.next_notify, first.next_notify, last.next_notify) == (None, NOW + 259200, math.inf)


def test_a_notice_is_due_between_its_time_and_the_expiry() -> None:
    assert not notice_due(recipient(next_notify=None), NOW)
    assert not notice_due(recipient(next_notify=NOW + 1), NOW)
    assert notice_due(recipient(next_notify=NOW), NOW)
    assert not notice_due(recipient(next_notify=NOW, expires=NOW), NOW)


def test_a_bounce_without_its_report_is_tried_again() -> None:
    bounce = outcome(result=Result.BOUNCED)
    assert retried(bounce, Schedule(), NOW, 0.0).result is Result.DEFERRED
    done = outcome(result=Result.DELIVERED)
    assert retried(done, Schedule(), NOW, 0.0) is done


def test_postponed_recipients_may_move() -> None:
    work = job(recipient(0), recipient(1))
    found = postponed(work, LATER, NOW, {1: "route:new"})
    assert [(each.uncounted, each.destination, each.next_attempt) for each in found] == [
        (True, None, NOW),
        (True, "route:new", NOW),
    ]


def test_when_the_first_is_due_again() -> None:
    assert next_of([outcome(result=Result.DELIVERED)]) == math.inf
    assert next_of([outcome(next_attempt=9.0), outcome(next_attempt=5.0), outcome()]) == 5.0


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ([outcome(uncounted=True), outcome(1, Result.BOUNCED, uncounted=True)], False),
        ([outcome(uncounted=True), outcome(1)], True),
        ([outcome(result=Result.DELIVERED)], True),
    ],
)
def test_what_says_nothing_of_the_hosts(found: list[Outcome], answer: bool) -> None:
    assert was_made(found) is answer


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ([outcome(reply=Reply(451, "4.4.1", "no route"))], True),
        ([outcome(reply=Reply(421, "4.3.2", "closing"))], True),
        ([outcome(reply=Reply(450, "4.2.0", "greylisted"))], False),
        ([outcome(reply=Reply(451, "4.4.1", "")), outcome(1, Result.DELIVERED)], False),
        ([outcome(reply=Reply(451, "4.4.1", ""), uncounted=True)], False),
        ([], False),
    ],
)
def test_what_shrinks_the_window(found: list[Outcome], answer: bool) -> None:
    assert unreachable(found) is answer
