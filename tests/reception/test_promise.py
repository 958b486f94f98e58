"""At the end of data: what is queued, what is handed over, what is refused, and that failures promise nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.blobs.spool import BlobError, BlobFull
from relayd.mail.reply import Reply
from relayd.queue.failure import QueueFull, QueueUnavailable
from relayd.queue.message import Body, Origin
from relayd.reception.promise import MAX_RECEIVED, MAX_RECEIVED_OURS, subject_of
from tests.reception.house import HOSTNAME, NOW, House, outcome

SMALL = b"From: a@b.example\r\nMessage-ID: <7@b.example>\r\nDate: x\r\n\r\nbody\r\n"
RECEIVED = b"Received: from a by b.example with ESMTP id 1; Tue, 01 Feb 2022 03:04:05 +0000\r\n"
RECEIVED_OURS = f"Received: from a by {HOSTNAME} (relayd) with ESMTP id 1; x\r\n".encode()


async def test_the_reply_names_the_queue_id(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await rig.begin(await rig.trusted())
    await rig.rcpt(tx, "b@far.example")
    assert await rig.send(tx, SMALL) == Reply(250, "2.0.0", f"queued as {rig.queue.messages[0].id}")


async def test_what_is_queued(tmp_path: Path) -> None:
    rig = House(tmp_path, {"app": {"secret": "s", "emails": ["a@b.example"]}})
    client = await rig.stranger(role="submission", listener="sub")
    await rig.reception.authenticate(client, "app", "s")
    message = await rig.deliver(client, SMALL, "b@far.example", sender="a@b.example", smtputf8=True)
    assert message.origin is Origin.SUBMITTED
    assert (message.account, message.sender_key, message.trusted) == ("app", "app", True)
    assert (message.listener, message.client, message.smtputf8) == ("sub", "203.0.113.5", True)
    assert (message.message_id, message.created) == ("<7@b.example>", NOW)
    recipient = message.recipients[0]
    assert (recipient.destination, recipient.expires) == ("far.example", NOW + 432000)
    assert rig.facts("queue.queue-message-authenticated")[0]["queue_id"] == message.id


async def test_a_stranger_s_message_is_of_origin_relayed_and_gets_no_delay_notice(tmp_path: Path) -> None:
    rig = House(
        tmp_path, rcpt={"relay-domains": ["h.example"]}, known={"1": {"domains": ["h.example"], "check": "any"}}
    )
    message = await rig.deliver(await rig.stranger(), SMALL, "b@h.example")
    assert (message.origin, message.trusted, message.sender_key) == (Origin.RELAYED, False, "a@sender.example")
    assert message.recipients[0].next_notify is None
    assert rig.facts("queue.queue-message")[0]["from_"] == "a@sender.example"


async def test_an_admitted_message_is_leased_and_each_destination_gets_its_job(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), SMALL, "b@x.example", "c@y.example", "d@x.example")
    assert message.leased
    assert {each.next_attempt for each in message.recipients} == {NOW + 120}
    assert rig.delivery.asked == [("x.example", "a@sender.example", 2), ("y.example", "a@sender.example", 1)]
    jobs = {job.destination: job for job in rig.delivery.jobs}
    assert [(each.number, each.address, each.attempts) for each in jobs["x.example"].message.recipients] == [
        (0, "b@x.example", 1),
        (2, "d@x.example", 1),
    ]
    assert [each.number for each in jobs["y.example"].message.recipients] == [1]
    assert jobs["x.example"].body is message.body
    assert jobs["x.example"].until == NOW + 600
    assert jobs["x.example"].message.size == message.body.size


async def test_a_message_that_is_not_admitted_is_due_at_once(tmp_path: Path) -> None:
    rig = House(tmp_path)
    rig.delivery.admits = False
    message = await rig.deliver(await rig.trusted(), SMALL)
    assert not message.leased
    assert message.recipients[0].next_attempt == NOW
    assert rig.delivery.jobs == []


async def test_a_failing_hand_over_does_not_take_the_promise_back(tmp_path: Path) -> None:
    rig = House(tmp_path)
    rig.delivery.failure = ValueError("a bug")
    await rig.deliver(await rig.trusted(), SMALL)
    assert rig.facts("smtp.handler-error")[0]["reason"] == "not handed over: ValueError: a bug"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (QueueFull("disk"), (452, "4.3.1")),
        (BlobFull("disk"), (452, "4.3.1")),
        (QueueUnavailable("broken"), (451, "4.3.0")),
        (BlobError("broken"), (451, "4.3.0")),
        (ValueError("a bug"), (451, "4.3.0")),
    ],
)
async def test_when_the_queue_fails_nothing_is_promised(
    tmp_path: Path, failure: Exception, expected: tuple[int, str]
) -> None:
    rig = House(tmp_path)
    rig.queue.failure = failure
    tx = await rig.begin(await rig.trusted())
    await rig.rcpt(tx, "b@far.example")
    assert outcome(await rig.send(tx, SMALL)) == expected
    assert rig.delivery.jobs == []
    assert rig.facts("queue.queue-message-authenticated") == []
    assert rig.facts("smtp.handler-error")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (RECEIVED * MAX_RECEIVED, 250),
        (RECEIVED * (MAX_RECEIVED + 1), 554),
        (RECEIVED_OURS * MAX_RECEIVED_OURS, 250),
        (RECEIVED_OURS * (MAX_RECEIVED_OURS + 1), 554),
    ],
)
async def test_loops_are_refused(tmp_path: Path, header: bytes, code: int) -> None:
    rig = House(tmp_path)
    tx = await rig.begin(await rig.trusted())
    await rig.rcpt(tx, "b@far.example")
    reply = await rig.send(tx, header + SMALL)
    assert reply.code == code
    if code == 554:
        assert reply.enhanced == "5.4.6"
        assert rig.facts("smtp.loop-detected")
        assert rig.queue.messages == []


async def test_lmtp_answers_each_accepted_rcpt_repeated_ones_too(tmp_path: Path) -> None:
    rig = House(tmp_path)
    for failure, code in ((None, 250), (QueueFull(), 452)):
        rig.queue.failure = failure
        tx = await rig.begin(await rig.trusted(protocol="lmtp"))
        for address in ("b@far.example", "b@far.example", "bad%x@" + HOSTNAME, "c@far.example"):
            await rig.rcpt(tx, address)
        await rig.reception.write(tx, [SMALL])
        replies = await rig.reception.finish(tx)
        assert isinstance(replies, list)
        assert [reply.code for reply in replies] == [code] * 3


async def test_a_refusal_of_the_framing_is_the_reply(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await rig.begin(await rig.trusted())
    await rig.rcpt(tx, "b@far.example")
    await rig.reception.write(tx, [SMALL])
    tx.refusal = Reply(554, "5.6.0", "bare LF")
    await rig.reception.write(tx, [SMALL])
    assert await rig.reception.finish(tx) == Reply(554, "5.6.0", "bare LF")
    assert rig.queue.messages == []


async def test_the_facts_of_the_content_are_recorded(tmp_path: Path) -> None:
    rig = House(tmp_path)
    client = await rig.trusted()

    async def facts(content: bytes) -> tuple[bool, bool, bool]:
        body: Body = (await rig.deliver(client, content)).body
        return body.eight_bit, body.utf8_header, body.signed

    assert await facts(SMALL) == (False, False, False)
    assert await facts(SMALL + "ü".encode()) == (True, False, False)
    assert await facts("Subject: ü\r\n".encode() + SMALL) == (True, True, False)
    assert await facts(b"DKIM-Signature: v=1\r\n" + SMALL) == (False, False, True)


async def test_a_subject_is_in_an_event_only_if_asked_for(tmp_path: Path) -> None:
    content = b"From: a@b.example\r\nX-Subject: no\r\nsubject:\tthe\r\n secret\r\nDate: x\r\n\r\nSubject: body\r\n"
    for name, data in (("silent", {}), ("told", {"log-subject": True})):
        rig = House(tmp_path / name, data=data)
        await rig.deliver(await rig.trusted(), content, "b@far.example")
        [fact] = rig.facts("queue.queue-message-authenticated")
        assert fact.get("subject") == ("the secret" if data else None)


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        (b"", ""),
        (b"A: b\r\n subject: folded\r\n", ""),
        (b"SUBJECT :  \xff\r\n", "\ufffd"),
        (b"Subject:" + b"x" * 999, "x" * 200),
    ],
)
def test_a_subject_is_what_was_written_and_short(header: bytes, subject: str) -> None:
    assert subject_of(header) == subject
