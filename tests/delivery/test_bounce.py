"""Who is told what: RFC 3461 §5 and §6, RFC 3464, through the scheduler and a real queue."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.queue.message import Body, Job, Origin, Outcome, Result, State
from relayd.routing.next_hop import MessageTls, NextHop
from relayd.routing.options import RouteOptions
from tests.delivery.stage import (
    CONTENT,
    Answer,
    Stage,
    bounced,
    deferred,
    delivered,
    jobs_of,
    outcomes_of,
    relayed,
    router,
    stage,
)
from tests.rig.signing import signatures

DAY = 86400.0
N = Notify


def only(domain: str, answer: Answer) -> Answer:
    """The answer for one destination; elsewhere mail is deferred, so that a test can look at it."""

    def answered(job: Job, next_hop: NextHop) -> Sequence[Outcome]:
        return answer(job, next_hop) if job.destination == domain else deferred(job, next_hop)

    return answered


async def report(it: Stage) -> str:
    """The only queued notification, as text."""
    (message,) = await it.generated()
    assert message.return_path == ""
    return (await it.content(message.id)).decode()


def field(text: str, name: str) -> str | None:
    """The first field of that name anywhere in a report."""
    for line in text.split("\r\n"):
        if line.lower().startswith(name.lower() + ":"):
            return line.partition(":")[2].strip()
    return None


async def test_a_failure_is_reported_with_the_header(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        id = await it.send("b@dest.example")
        await it.attempts_made(2)
        text = await report(it)
        assert field(text, "Final-Recipient") == "rfc822;b@dest.example"
        assert field(text, "Action") == "failed"
        assert field(text, "Status") == "5.1.1"
        assert field(text, "Remote-MTA") == "dns; mx.example"
        assert field(text, "Auto-Submitted") == "auto-replied"
        assert "Message-ID: <m1@origin.example>" in text
        assert "The body." not in text
        (sent,) = await it.generated()
        assert sent.recipients[0].address == "a@origin.example"
        assert await it.rows(id) == ()
        audit = await it.queue.audit()
        assert (audit.counters["bounced"], audit.counters["generated"], audit.difference) == (1, 1, 0)
        assert len(it.of_kind("delivery.bounced")) == len(it.of_kind("delivery.dsn-perm-fail")) == 1
        (queued,) = it.of_kind("queue.queue-dsn")
        assert (queued.fields["queue_id"], queued.fields["source"]) == (sent.id, id)
        assert f"Message-ID: {queued.fields['message_id']}" in text
        assert [event.fields["queue_id"] for event in it.of_kind("delivery.completed")] == [id]


async def test_what_we_judged_ourselves_is_not_put_into_a_host_s_mouth(tmp_path: Path) -> None:
    def ours(job: Job, hop: NextHop) -> list[Outcome]:
        return [replace(each, ours=True) for each in bounced(job, hop)]

    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", ours)
        await it.send("b@dest.example")
        await it.attempts_made(2)
        text = await report(it)
        assert field(text, "Status") == "5.1.1"
        assert "Remote-MTA" not in text
        assert "Diagnostic-Code: smtp" not in text
        assert " said:" not in text


async def test_one_report_for_all_recipients_settled_together(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        await it.send("b@dest.example", "c@dest.example")
        await it.attempts_made(2)
        text = await report(it)
        assert text.count("Action: failed") == 2


@pytest.mark.parametrize(
    ("answer", "notify", "lmtp", "action"),
    [
        (bounced, None, False, "failed"),
        (bounced, frozenset({N.FAILURE, N.DELAY}), False, "failed"),
        (bounced, frozenset({N.NEVER}), False, None),
        (bounced, frozenset({N.SUCCESS}), False, None),
        (bounced, frozenset({N.DELAY}), False, None),
        (relayed, frozenset({N.SUCCESS}), False, "relayed"),
        (relayed, frozenset({N.FAILURE}), False, None),
        (relayed, None, False, None),
        (delivered, frozenset({N.SUCCESS}), False, None),  # the next hop reports it
        (delivered, frozenset({N.SUCCESS, N.FAILURE}), True, "delivered"),
        (delivered, frozenset({N.NEVER}), True, None),
        (delivered, None, True, None),
    ],
)
async def test_notify(
    tmp_path: Path, answer: Answer, notify: frozenset[Notify] | None, lmtp: bool, action: str | None
) -> None:
    routes = {"local": RouteOptions(address="127.0.0.1", protocol="lmtp")}
    routing = router(routes, {"dest.example": "local"} if lmtp else None)
    async with stage(tmp_path, routing=routing) as it:
        it.attempts.answer = only("route:local" if lmtp else "dest.example", answer)
        await it.send("b@dest.example", notify=notify)
        await it.attempts_made(1 if action is None else 2)
        if action is None:
            assert await it.generated() == []
        else:
            assert field(await report(it), "Action") == action


@pytest.mark.parametrize(
    ("trusted", "notify", "told"),
    [
        (True, None, True),
        (False, None, False),
        (True, frozenset({N.DELAY}), True),
        (True, frozenset({N.FAILURE}), False),
        (True, frozenset({N.NEVER}), False),
    ],
)
async def test_delay(tmp_path: Path, trusted: bool, notify: frozenset[Notify] | None, told: bool) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        id = await it.send("b@dest.example", trusted=trusted, notify=notify)
        await it.attempts_made(1)
        assert await it.generated() == []
        await it.pass_time(DAY + 1)
        await it.attempts_made(3 if told else 2)
        if told:
            text = await report(it)
            assert field(text, "Action") == "delayed"
            assert field(text, "Status") == "4.2.0"
            assert field(text, "Will-Retry-Until") is not None
        else:
            assert await it.generated() == []
        (row,) = await it.rows(id)
        assert row.next_notify == row.expires - 2 * DAY  # three days old


async def test_a_delay_is_told_once_for_each_age_and_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", deferred)
        id = await it.send("b@dest.example")
        tried = 1
        await it.until(lambda: tries(it) == tried)
        for age in (1.01, 2.0, 3.01, 4.0, 4.5):
            (row,) = await it.rows(id)
            await it.idle()
            it.clock.now = row.expires - 5 * DAY + age * DAY
            it.scheduler.changed()
            tried += 1
            await it.until(lambda tried=tried: tries(it) == tried)  # type: ignore[misc]
            await it.idle()
        assert len(it.of_kind("delivery.dsn-temp-fail")) == 2
        (row,) = await it.rows(id)
        assert row.next_notify is None


def tries(it: Stage) -> int:
    """Attempts that were not about reports."""
    return sum(job.message.origin is Origin.SUBMITTED for job in it.attempts.started)


async def test_expired_mail_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = deferred
        id = await it.send("b@dest.example", notify=frozenset({N.FAILURE}))
        await it.attempts_made(1)
        await it.pass_time(6 * DAY)
        await it.attempts_made(3)
        text = await report(it)
        assert (field(text, "Action"), field(text, "Status")) == ("failed", "4.4.7")
        assert "450 4.2.0 later" in text
        assert await it.rows(id) == ()


@pytest.mark.parametrize(
    ("ret", "trusted", "size", "full"),
    [("FULL", True, 0, True), ("HDRS", True, 0, False), (None, True, 0, False), ("FULL", False, 0, False)],
)
async def test_ret(tmp_path: Path, ret: str | None, trusted: bool, size: int, full: bool) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        await it.send("b@dest.example", ret=ret, trusted=trusted)
        await it.attempts_made(2)
        text = await report(it)
        assert ("The body." in text) is full
        kinds = [part.get_content_type() for part in email.message_from_string(text).walk()]
        assert kinds[:3] == ["multipart/report", "text/plain", "message/delivery-status"]
        assert ("message/rfc822" in kinds) is full
        assert ("text/rfc822-headers" in kinds) is not full


async def test_what_is_reported_of_mail_under_requiretls_is_under_it_and_returns_no_body(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        await it.send("b@dest.example", ret="FULL", tls=MessageTls.REQUIRED)
        await it.attempts_made(2)
        assert "The body." not in await report(it)
        await it.send("b@dest.example", ret="FULL", tls=MessageTls.OPTIONAL)
        await it.attempts_made(4)
        reports = [job.message.tls for job in it.attempts.started if not job.message.return_path]
        assert reports == [MessageTls.REQUIRED, MessageTls.USUAL]


async def test_a_large_message_is_returned_as_its_header(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        content = CONTENT + b"line\r\n" * 200_000
        new = replace(it.new("b@dest.example", ret="FULL"), body=Body(head=b"", content=content, size=len(content)))
        await it.queue.enqueue(new)
        await it.attempts_made(2)
        text = await report(it)
        assert "Subject: hello" in text
        assert len(text) < 8192


async def test_mail_without_a_return_path_is_never_reported(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = bounced
        id = await it.send("b@dest.example", sender="", origin=Origin.RELAYED, notify=frozenset(N))
        await it.attempts_made(1)
        assert await it.rows(id) == ()
        assert await it.generated() == []
        assert (await it.queue.audit()).difference == 0


async def test_an_undeliverable_report_goes_to_the_postmaster_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = bounced
        await it.send("b@dest.example")
        await it.attempts_made(3)  # the message, its report, the postmaster's copy
        assert [job.destination for job in it.attempts.started] == ["dest.example", "origin.example", "admin.example"]
        await it.until(lambda: it.queue.totals.messages == 0)
        await it.idle()
        assert len(it.attempts.started) == 3
        assert {job.message.return_path for job in it.attempts.started[1:]} == {""}
        assert [event.fields["to"] for event in it.of_kind("delivery.double-bounce")] == [
            "a@origin.example",
            "ops@admin.example",
        ]
        audit = await it.queue.audit()
        assert (audit.counters["generated"], audit.counters["bounced"], audit.difference) == (2, 3, 0)


async def test_without_a_postmaster_it_is_dropped(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.local.postmaster = ()
        it.attempts.answer = bounced
        await it.send("b@dest.example")
        await it.attempts_made(2)
        await it.until(lambda: it.queue.totals.messages == 0)
        assert len(it.of_kind("delivery.double-bounce")) == 1
        assert (await it.queue.audit()).difference == 0


async def test_a_report_to_a_local_name_goes_where_its_alias_says(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.local.names["cron"] = ("x@one.example", "y@two.example")
        it.attempts.answer = only("dest.example", bounced)
        await it.send("b@dest.example", sender="cron@relay.example")
        await it.attempts_made(3)
        (message,) = await it.generated()
        assert [each.address for each in message.recipients] == ["x@one.example", "y@two.example"]
        assert (await it.queue.audit()).difference == 0


async def test_a_report_that_cannot_be_written_defers_the_bounce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise ValueError("bug")

    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        with monkeypatch.context() as patch:
            patch.setattr(it.bounces, "_write", fail)
            id = await it.send("b@dest.example")
            await it.attempts_made(1)
        (row,) = await it.rows(id)
        assert row.state is State.TEMP_FAIL
        await it.pass_time(120)
        await it.attempts_made(3)
        assert await it.rows(id) == ()
        assert len(await it.generated()) == 1


async def test_orcpt_and_envid_come_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        new = it.new("b@dest.example")
        asked = replace(new.recipients[0], orcpt="rfc822;Old+2BName@list.example")
        await it.queue.enqueue(replace(new, envid="QQ+2B314159", recipients=(asked,)))
        await it.attempts_made(2)
        text = await report(it)
        assert field(text, "Original-Envelope-Id") == "QQ+314159"
        assert field(text, "Original-Recipient") == "rfc822;Old+Name@list.example"


async def test_internationalised_mail_is_reported_by_rfc_6533(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        it.attempts.answer = only("dest.example", bounced)
        await it.queue.enqueue(replace(it.new("dömi@dest.example", sender="jürgen@origin.example"), smtputf8=True))
        await it.attempts_made(2)
        (message,) = await it.generated()
        assert message.smtputf8
        text = await report(it)
        assert "message/global-delivery-status" in text


async def test_an_operators_bounce_returns_the_header(tmp_path: Path) -> None:
    async with stage(tmp_path, run=False) as it:
        new = it.new("b@dest.example")
        (job,) = jobs_of(new, 0.0)
        outcomes = outcomes_of(job, Result.BOUNCED, Reply(550, "5.7.1", "Removed by the operator"))
        without = await it.bounces.compose(job.message, outcomes, now=it.clock.now)  # its body is not to be found
        assert without is not None
        await it.queue.enqueue(new)
        made = await it.bounces.compose(job.message, outcomes, now=it.clock.now)
        assert made is not None
        assert made.counts == {"generated": 1}
        assert isinstance(made.body.content, bytes)
        assert isinstance(without.body.content, bytes)
        assert b"Removed by the operator" in made.body.content
        assert b"Subject: hello" in made.body.content
        assert b"Subject: hello" not in without.body.content


async def test_a_notification_is_signed(tmp_path: Path) -> None:
    async with stage(tmp_path, signatures=signatures("relay.example")) as it:
        it.attempts.answer = only("dest.example", bounced)
        await it.send("b@dest.example")
        await it.attempts_made(2)
        text = await report(it)
        assert text.startswith("DKIM-Signature: ")
        (sent,) = await it.generated()
        assert (sent.hold, sent.size) == (None, len(text.encode()))


async def test_one_whose_key_was_never_readable_is_held(tmp_path: Path) -> None:
    gone = SignatureOptions(private_key=PrivateKey(path="/nowhere"), domain="relay.example", selector="s")
    async with stage(tmp_path, signatures={"s": gone}) as it:
        it.attempts.answer = only("dest.example", bounced)
        await it.send("b@dest.example")
        await it.until(lambda: bool(it.of_kind("queue.held")))
        await it.idle()
        (sent,) = await it.generated()
        assert sent.hold is not None
        assert "must be signed" in sent.hold.reason
        assert len(it.of_kind("signing.key-unreadable")) == len(it.of_kind("queue.held")) == 1
