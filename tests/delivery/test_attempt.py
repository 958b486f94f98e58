"""Attempts against a scripted peer: transactions, and what becomes of each recipient."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relayd.delivery.options import ReuseOptions, TimeoutOptions
from relayd.events import delivery as events
from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mailauth.findings import Result as Auth
from relayd.queue.message import Outcome, Result
from relayd.routing.next_hop import Protocol
from tests.delivery.setting import CONTENT, Setting, Source, job, recipient, smarthost
from tests.mailauth.signing import rule, signed, verified
from tests.rig.peer import ALL, DROP, PLAIN, SILENT, Script, running
from tests.rig.signing import signatures

ONE_BY_ONE = ("8BITMIME", "SIZE 52428800")
OFFERS = pytest.mark.parametrize("offers", [ALL, PLAIN, ONE_BY_ONE], ids=["bdat", "pipelining", "one-by-one"])


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    made = Setting()
    yield made
    await made.pool.close()


async def attempt(script: Script, *addresses: str, setting: Setting | None = None, **changes: Any) -> list[Outcome]:
    setting = setting or Setting()
    async with running(script) as peer:
        outcomes = await setting.run(job(*addresses, **changes), smarthost(peer.port))
        await setting.pool.close()
        return outcomes


def at(place: str, reply: str | list[str]) -> dict[str, Any]:
    """A reply of the script, by place."""
    return {place: reply}


def results(outcomes: list[Outcome]) -> list[str]:
    return [outcome.result.value for outcome in outcomes]


@pytest.mark.parametrize("offers", [ALL, PLAIN, ONE_BY_ONE, ("CHUNKING", "8BITMIME"), ()])
@pytest.mark.parametrize("lmtp", [False, True])
async def test_delivers_whatever_is_offered(setting: Setting, offers: tuple[str, ...], lmtp: bool) -> None:
    async with running(Script(offers=offers, lmtp=lmtp)) as peer:
        hop = smarthost(peer.port, protocol=Protocol.LMTP if lmtp else Protocol.SMTP)
        outcomes = await setting.run(job("b@x.example", "c@x.example"), hop)
        assert results(outcomes) == ["delivered", "delivered"]
        assert outcomes[0].status == "Code: 250, Enhanced code: 2.0.0, Message: Taken"
        assert outcomes[0].host == "127.0.0.1"
        [taken] = peer.taken
        assert taken.content == CONTENT
        assert taken.rcpts == ["RCPT TO:<b@x.example>", "RCPT TO:<c@x.example>"]
        assert taken.chunked == ("CHUNKING" in offers and not lmtp)
        assert peer.verbs[0] == ("LHLO" if lmtp else "EHLO")
        await setting.pool.close()


@OFFERS
async def test_a_body_from_disk_is_streamed(setting: Setting, offers: tuple[str, ...]) -> None:
    line = b".dots at line starts, and text enough to fill blocks ...............................\r\n"
    content = CONTENT + line * 20000
    setting.bodies[4711] = Source(content)
    async with running(Script(offers=offers)) as peer:
        outcomes = await setting.run(job(content=content, in_memory=False), smarthost(peer.port))
        assert results(outcomes) == ["delivered"]
        assert peer.taken[0].content == content
        await setting.pool.close()


@OFFERS
async def test_a_body_that_cannot_be_read_is_deferred_and_never_sent_in_half(offers: tuple[str, ...]) -> None:
    setting = Setting()
    setting.bodies[4711] = Source(b"x\r\n" * 200000, fail_at=131072)
    async with running(Script(offers=offers)) as peer:
        outcomes = await setting.run(job(content=b"x\r\n" * 200000, in_memory=False), smarthost(peer.port))
        assert results(outcomes) == ["deferred"]
        assert outcomes[0].status.startswith("Queue error: OSError")
        assert outcomes[0].reply.enhanced == "4.3.0"
        assert not [taken for taken in peer.taken if taken.complete]


@OFFERS
async def test_content_without_a_final_line_end_still_ends(setting: Setting, offers: tuple[str, ...]) -> None:
    async with running(Script(offers=offers)) as peer:
        assert results(await setting.run(job(content=b"Subject: x\r\n\r\nend"), smarthost(peer.port))) == ["delivered"]
        assert peer.taken[0].content.rstrip(b"\r\n") == b"Subject: x\r\n\r\nend"
        await setting.pool.close()


@OFFERS
async def test_each_recipient_has_its_result(setting: Setting, offers: tuple[str, ...]) -> None:
    replies = ["250 2.1.5 Ok", "550 5.1.1 Nobody", "450 4.2.1 Later", "550 Plain"]
    async with running(Script(offers=offers, rcpt=replies)) as peer:
        outcomes = await setting.run(
            job("b@x.example", "c@x.example", "d@x.example", "e@x.example"), smarthost(peer.port)
        )
        assert results(outcomes) == ["delivered", "bounced", "deferred", "bounced"]
        assert outcomes[1].reply == Reply(550, "5.1.1", "Nobody")
        assert outcomes[1].status == (
            "Unexpected response from '127.0.0.1': Code: 550, Enhanced code: 5.1.1, Message: Nobody"
        )
        assert outcomes[3].reply.enhanced == "5.0.0"
        assert peer.taken[0].rcpts == ["RCPT TO:<b@x.example>"]
        await setting.pool.close()


@OFFERS
async def test_when_no_recipient_is_taken_nothing_is_and_the_connection_lives(offers: tuple[str, ...]) -> None:
    setting = Setting()
    async with running(Script(offers=offers, rcpt=["550 5.1.1 Nobody", "250 2.1.5 Ok"])) as peer:
        assert results(await setting.run(job(), smarthost(peer.port))) == ["bounced"]
        assert results(await setting.run(job(), smarthost(peer.port))) == ["delivered"]
        assert peer.connections == 1
        assert len(peer.taken) == 1
        await setting.pool.close()


@OFFERS
@pytest.mark.parametrize(("reply", "result"), [("550 5.7.1 No", "bounced"), ("451 4.3.0 Later", "deferred")])
@pytest.mark.parametrize("place", ["mail", "data", "dot"])
async def test_a_refused_message(place: str, reply: str, result: str, offers: tuple[str, ...]) -> None:
    if place == "data" and "CHUNKING" in offers:
        return
    outcomes = await attempt(Script(offers=offers, **at(place, reply)), "b@x.example", "c@x.example")
    assert results(outcomes) == [result, result]
    assert outcomes[0].reply.code == int(reply[:3])


@OFFERS
async def test_a_refusal_leaves_the_connection_in_order(offers: tuple[str, ...]) -> None:
    setting = Setting()
    refused_once = ["554 5.7.1 No", "250 2.0.0 Ok"]
    for place in ("mail", "rcpt", "dot"):
        async with running(Script(offers=offers, **at(place, refused_once))) as peer:
            assert results(await setting.run(job(), smarthost(peer.port))) == ["bounced"]
            assert results(await setting.run(job(), smarthost(peer.port))) == ["delivered"]
            assert peer.connections == 1, place


@OFFERS
async def test_452_after_an_accepted_recipient_begins_a_new_transaction(offers: tuple[str, ...]) -> None:
    setting = Setting()
    seen: list[int] = []

    def two_at_most(line: str) -> str:
        room = len(seen) % 3 < 2
        seen.append(1)
        return "250 2.1.5 Ok" if room else "452 4.5.3 Too many"

    async with running(Script(offers=offers, rcpt=two_at_most)) as peer:
        addresses = [f"r{number}@x.example" for number in range(3)]
        outcomes = await setting.run(job(*addresses), smarthost(peer.port))
        assert results(outcomes) == ["delivered"] * 3
        assert [len(taken.rcpts) for taken in peer.taken] == [2, 1]
        assert peer.connections == 1
        await setting.pool.close()


@pytest.mark.parametrize("code", ["452 4.2.2 Full", "552 5.2.2 Full"])
async def test_452_or_552_for_the_only_recipient_is_deferred(code: str) -> None:
    assert results(await attempt(Script(rcpt=code))) == ["deferred"]


async def test_1000_recipients_go_in_transactions_of_100_on_one_connection(setting: Setting) -> None:
    async with running(Script()) as peer:
        outcomes = await setting.run(job(*(f"r{n}@x.example" for n in range(1000))), smarthost(peer.port))
        assert results(outcomes) == ["delivered"] * 1000
        assert [len(taken.rcpts) for taken in peer.taken] == [100] * 10
        assert peer.connections == 1
        await setting.pool.close()


async def test_limits_of_the_peer_are_kept(setting: Setting) -> None:
    async with running(Script(offers=(*ALL, "LIMITS MAILMAX=2 RCPTMAX=3"))) as peer:
        outcomes = await setting.run(job(*(f"r{n}@x.example" for n in range(10))), smarthost(peer.port))
        assert results(outcomes) == ["delivered"] * 10
        assert [len(taken.rcpts) for taken in peer.taken] == [3, 3, 3, 1]
        assert peer.connections == 2
        await setting.pool.close()


async def test_a_host_that_closes_after_some_messages_gets_them_all(setting: Setting) -> None:
    setting = Setting(reuse=ReuseOptions(recipients=1))
    async with running(Script(max_messages=2)) as peer:
        outcomes = await setting.run(job(*(f"r{n}@x.example" for n in range(5))), smarthost(peer.port))
        assert results(outcomes) == ["delivered"] * 5
        assert peer.connections == 3
        await setting.pool.close()


@OFFERS
@pytest.mark.parametrize("place", ["mail", "rcpt", "data", "dot"])
async def test_421_anywhere_is_deferred(place: str, offers: tuple[str, ...]) -> None:
    if place == "data" and "CHUNKING" in offers:
        return
    outcomes = await attempt(Script(offers=offers, **at(place, "421 4.3.2 Closing")), "b@x.example", "c@x.example")
    assert results(outcomes) == ["deferred", "deferred"]
    assert {outcome.reply.code for outcome in outcomes} == {421}
    assert not outcomes[0].maybe_delivered


@pytest.mark.parametrize("place", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("offers", [PLAIN, ONE_BY_ONE], ids=["pipelining", "one-by-one"])
async def test_a_line_dropped_before_the_message_is_deferred(place: str, offers: tuple[str, ...]) -> None:
    [outcome] = await attempt(Script(offers=offers, **at(place, DROP)))
    assert outcome.result is Result.DEFERRED
    assert outcome.reply.enhanced == "4.4.2"
    assert outcome.status.startswith("Connection to '127.0.0.1' failed: ")
    assert not outcome.maybe_delivered


@pytest.mark.parametrize("offers", [PLAIN, ONE_BY_ONE], ids=["pipelining", "one-by-one"])
async def test_a_line_dropped_in_the_message_is_deferred(setting: Setting, offers: tuple[str, ...]) -> None:
    content = (b"x" * 70 + b"\r\n") * 300000  # more than the buffers between us hold
    setting.bodies[4711] = Source(content)
    async with running(Script(offers=offers, drop_in_data=100000)) as peer:
        [outcome] = await setting.run(job(content=content, in_memory=False), smarthost(peer.port))
        assert outcome.result is Result.DEFERRED
        assert not outcome.maybe_delivered
        assert not peer.taken[0].complete


@OFFERS
async def test_a_line_dropped_after_the_dot_may_have_delivered(setting: Setting, offers: tuple[str, ...]) -> None:
    async with running(Script(offers=offers, dot=DROP)) as peer:
        [outcome] = await setting.run(job(), smarthost(peer.port))
        assert outcome.result is Result.DEFERRED
        assert outcome.maybe_delivered
        assert peer.connections == 1
    assert len(setting.stated("delivery.maybe-delivered")) == 1


@pytest.mark.parametrize("place", ["mail", "rcpt", "data", "dot"])
async def test_a_silent_peer_is_left_in_time(place: str) -> None:
    setting = Setting(timeouts=TimeoutOptions(mail=0.1, rcpt=0.1, data=0.1, dot=0.1))
    [outcome] = await attempt(Script(offers=PLAIN, **at(place, SILENT)), setting=setting)
    assert outcome.result is Result.DEFERRED
    assert outcome.reply.enhanced == "4.4.2"
    assert "in time" in outcome.reply.text
    assert outcome.maybe_delivered == (place == "dot")


async def test_a_peer_that_takes_no_octets_is_left_in_time() -> None:
    setting = Setting(timeouts=TimeoutOptions(block=0.1))
    setting.bodies[4711] = Source(b"x" * 998 + b"\r\n", None)
    content = (b"x" * 998 + b"\r\n") * 20000
    setting.bodies[4711] = Source(content)
    stuck = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-hi\r\n250 PIPELINING\r\n")
        for _ in range(3):
            await reader.readline()
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await stuck.wait()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    [outcome] = await setting.run(job(content=content, in_memory=False), smarthost(port))
    stuck.set()
    server.close()
    await server.wait_closed()
    assert outcome.result is Result.DEFERRED
    assert "BODY in time" in outcome.reply.text
    assert not outcome.maybe_delivered


@pytest.mark.parametrize("banner", ["554 5.3.2 Not today", "421 4.3.2 Busy", "hello, who is there", "220", "250 odd"])
async def test_a_banner_that_refuses_is_deferred(banner: str) -> None:
    outcomes = await attempt(Script(banner=banner))
    assert results(outcomes) == (["delivered"] if banner == "220" else ["deferred"])


async def test_a_refused_ehlo_is_followed_by_helo(setting: Setting) -> None:
    async with running(Script(ehlo="502 5.5.1 What?")) as peer:
        assert results(await setting.run(job(), smarthost(peer.port))) == ["delivered"]
        assert peer.verbs[:3] == ["EHLO", "HELO", "MAIL"]
        assert peer.taken[0].mail == "MAIL FROM:<a@sender.example>"
        await setting.pool.close()


async def test_ehlo_and_helo_refused_is_deferred() -> None:
    [outcome] = await attempt(Script(ehlo="550 5.7.1 No", helo="550 5.7.1 No"))
    assert (outcome.result, outcome.reply.code) == (Result.DEFERRED, 550)


@pytest.mark.parametrize("garbage", ["\x00\x01\x02", "999 what", "2", "250-a\r\n251 b"])
async def test_garbage_is_deferred(garbage: str) -> None:
    [outcome] = await attempt(Script(offers=PLAIN, mail=garbage))
    assert outcome.result is Result.DEFERRED
    assert outcome.reply.enhanced == "4.5.0"


async def test_nobody_listens() -> None:
    setting = Setting()
    async with running() as peer:
        port = peer.port
    [outcome] = await setting.run(job(), smarthost(port))
    assert outcome.result is Result.DEFERRED
    assert outcome.status == "Connection to '127.0.0.1' failed: Connection refused (ECONNREFUSED)"


@pytest.mark.parametrize("reply", ["530 5.7.0 Sign in", "535 5.7.8 Who?", "550 5.7.0 No relaying", "534 no"])
@pytest.mark.parametrize("place", ["mail", "rcpt", "dot"])
async def test_our_smarthost_that_refuses_us_defers_and_alarms(setting: Setting, place: str, reply: str) -> None:
    outcomes = await attempt(Script(**at(place, reply)), setting=setting)
    assert results(outcomes) == ["deferred"]
    [alarm] = setting.stated("delivery.route-alarm")
    assert alarm.fields["id"] == "hub"
    assert alarm.fields["code"] == int(reply[:3])


async def test_soft_bounce_defers() -> None:
    outcomes = await attempt(Script(rcpt="550 5.1.1 Nobody"), setting=Setting(soft_bounce=True))
    assert results(outcomes) == ["deferred"]
    assert outcomes[0].reply.code == 550


async def test_parameters_are_passed_on(setting: Setting) -> None:
    asked = recipient(0, "b@x.example", frozenset({Notify.DELAY, Notify.SUCCESS}), "rfc822;B+2B@y.example")
    never = recipient(1, "c@x.example", frozenset({Notify.NEVER}))
    async with running() as peer:
        wanted = job(recipients=(asked, never), ret="FULL", envid="QQ+2B1")
        assert results(await setting.run(wanted, smarthost(peer.port))) == ["delivered", "delivered"]
        [taken] = peer.taken
        assert taken.mail == f"MAIL FROM:<a@sender.example> SIZE={len(CONTENT)} RET=FULL ENVID=QQ+2B1"
        assert taken.rcpts == [
            "RCPT TO:<b@x.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2B@y.example",
            "RCPT TO:<c@x.example> NOTIFY=NEVER",
        ]
        await setting.pool.close()


async def test_a_host_without_dsn_makes_success_requests_relayed(setting: Setting) -> None:
    asked = recipient(0, "b@x.example", frozenset({Notify.SUCCESS}), "rfc822;b@x.example")
    async with running(Script(offers=PLAIN)) as peer:
        outcomes = await setting.run(
            job(recipients=(asked, recipient(1, "c@x.example")), ret="FULL"), smarthost(peer.port)
        )
        assert results(outcomes) == ["relayed", "delivered"]
        assert peer.taken[0].mail == f"MAIL FROM:<a@sender.example> SIZE={len(CONTENT)}"
        assert peer.taken[0].rcpts[0] == "RCPT TO:<b@x.example>"
        await setting.pool.close()


async def test_larger_than_the_peer_takes_bounces() -> None:
    [outcome] = await attempt(Script(offers=("SIZE 20",)))
    assert (outcome.result, outcome.reply.enhanced) == (Result.BOUNCED, "5.3.4")


async def test_smtputf8_is_used_where_it_is_needed(setting: Setting) -> None:
    async with running() as peer:
        odd = "ب\u200cا\u202e\u3000@x.example"  # not printable, and no controls
        outcomes = await setting.run(job("bø@x.example", "c@x.example", odd), smarthost(peer.port))
        assert results(outcomes) == ["delivered", "delivered", "delivered"]
        assert peer.taken[0].mail.endswith(" SMTPUTF8")
        assert peer.taken[0].rcpts == [f"RCPT TO:<{each}>" for each in ("bø@x.example", "c@x.example", odd)]
        await setting.run(job("c@x.example", smtputf8=True), smarthost(peer.port))
        assert "SMTPUTF8" not in peer.taken[1].mail
        await setting.pool.close()


async def test_mail_that_needs_smtputf8_bounces_where_it_is_not_offered() -> None:
    outcomes = await attempt(Script(offers=PLAIN), "bø@x.example", "c@x.example")
    assert results(outcomes) == ["bounced", "delivered"]
    assert outcomes[0].reply.enhanced == "5.6.7"
    header = await attempt(Script(offers=PLAIN), smtputf8=True, utf8_header=True, content="Subject: ø\r\n\r\n".encode())
    assert results(header) == ["bounced"]
    sender = await attempt(Script(offers=PLAIN), return_path="ø@sender.example")
    assert results(sender) == ["bounced"]


EIGHT_BIT = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()


async def test_8_bit_mail_says_so(setting: Setting) -> None:
    async with running() as peer:
        assert results(await setting.run(job(content=EIGHT_BIT), smarthost(peer.port))) == ["delivered"]
        assert " BODY=8BITMIME" in peer.taken[0].mail
        assert peer.taken[0].content == EIGHT_BIT
        await setting.pool.close()


@pytest.mark.parametrize("in_memory", [True, False])
async def test_8_bit_mail_is_converted_where_it_is_not_taken(setting: Setting, in_memory: bool) -> None:
    content = EIGHT_BIT + b"more\r\n" * (1 if in_memory else 300000)
    setting.bodies[4711] = Source(content)
    async with running(Script(offers=("PIPELINING",))) as peer:
        outcomes = await setting.run(job(content=content, in_memory=in_memory), smarthost(peer.port))
        assert results(outcomes) == ["delivered"]
        assert peer.taken[0].content.isascii()
        assert b"Content-Transfer-Encoding" in peer.taken[0].content
        assert "BODY" not in peer.taken[0].mail
        assert len(setting.stated("delivery.converted")) == 1
        await setting.pool.close()


@pytest.mark.parametrize("in_memory", [True, False])
async def test_8_bit_mail_that_we_signed_is_signed_again_where_it_is_converted(in_memory: bool) -> None:
    content = b"From: a@example.org\r\nDate: x\r\n" + EIGHT_BIT + b"more\r\n" * (1 if in_memory else 300000)
    content = signed(content, rule("rsa"), rule("ed25519"))
    setting = Setting(signatures=signatures())
    setting.bodies[4711] = Source(content)
    async with running(Script(offers=("PIPELINING",))) as peer:
        outcomes = await setting.run(job(content=content, in_memory=in_memory), smarthost(peer.port))
        assert results(outcomes) == ["delivered"]
        assert peer.taken[0].content.isascii()
        found = verified(peer.taken[0].content, now=time.time())
        assert [each.result for each in found] == [Auth.PASS, Auth.PASS]
        await setting.pool.close()


async def test_without_the_key_what_must_be_signed_again_waits() -> None:
    content = signed(b"From: a@example.org\r\n" + EIGHT_BIT, rule("rsa"))
    [outcome] = await attempt(Script(offers=("PIPELINING",)), content=content)
    assert outcome.result is Result.DEFERRED


async def test_signed_8_bit_mail_bounces_where_it_is_not_taken() -> None:
    [outcome] = await attempt(Script(offers=("PIPELINING",)), content=EIGHT_BIT, signed=True)
    assert (outcome.result, outcome.reply.enhanced) == (Result.BOUNCED, "5.6.3")


async def test_8_bit_mail_is_sent_anyway_on_demand(setting: Setting) -> None:
    async with running(Script(offers=("PIPELINING",))) as peer:
        hop = smarthost(peer.port, send_8bit_anyway=True)
        assert results(await setting.run(job(content=EIGHT_BIT, signed=True), hop)) == ["delivered"]
        assert peer.taken[0].content == EIGHT_BIT
        assert "BODY" not in peer.taken[0].mail
        await setting.pool.close()


async def test_lmtp_has_a_result_for_each_recipient(setting: Setting) -> None:
    def by_name(line: str) -> str:
        return {"b": "250 2.1.5 In", "c": "452 4.2.2 Full", "d": "550 5.2.1 Off"}[line[9]]

    async with running(Script(lmtp=True, offers=PLAIN, dot=by_name)) as peer:
        hop = smarthost(peer.port, protocol=Protocol.LMTP)
        outcomes = await setting.run(job("b@x.example", "c@x.example", "d@x.example"), hop)
        assert results(outcomes) == ["delivered", "deferred", "bounced"]
        await setting.pool.close()


async def test_lmtp_over_a_unix_socket(setting: Setting, tmp_path: Any) -> None:
    async with running(Script(lmtp=True), address=f"unix:{tmp_path}/lmtp") as peer:
        hop = smarthost(24, host=peer.address, protocol=Protocol.LMTP)
        [outcome] = await setting.run(job(), hop)
        assert outcome.result is Result.DELIVERED
        assert outcome.host == peer.address
        await setting.pool.close()


async def test_control_characters_in_an_address_never_reach_the_wire(setting: Setting) -> None:
    async with running() as peer:
        [outcome] = await setting.run(job("b@x.example>\r\nDATA"), smarthost(peer.port))
        assert outcome.result is Result.DEFERRED
        assert "DATA" not in peer.verbs
        assert setting.pool.idle == 0  # nor is its connection left behind
        await setting.pool.close()


async def test_the_null_return_path(setting: Setting) -> None:
    async with running() as peer:
        await setting.run(job(return_path=""), smarthost(peer.port))
        assert peer.taken[0].mail.startswith("MAIL FROM:<> ")
        await setting.pool.close()


async def test_every_step_is_stated(setting: Setting) -> None:
    await attempt(Script(rcpt=["250 2.1.5 Ok", "550 5.1.1 Nobody"]), "b@x.example", "c@x.example", setting=setting)
    assert [event.kind.id for event in setting.events] == [
        "delivery.attempt-start",
        "delivery.domain-delivery-start",
        "delivery.connect",
        "delivery.ehlo",
        "delivery.mail-from",
        "delivery.rcpt-to",
        "delivery.rcpt-to-rejected",
        "delivery.delivered",
        "delivery.attempt-end",
    ]
    span = setting.events[0].span
    assert span is not None
    assert span.keys["queueId"] == 4711
    assert all(event.span is span for event in setting.events)


async def test_recipients_that_were_never_answered_are_stated() -> None:
    async with running(Script(rcpt=["250 2.1.5 Ok", DROP])) as peer:
        setting = Setting()
        await setting.run(job("b@x.example", "c@x.example", "d@x.example"), smarthost(peer.port))
        assert [each.fields["to"] for each in setting.stated("delivery.rcpt-to-failed")] == [
            "c@x.example",
            "d@x.example",
        ]
        await setting.pool.close()


@OFFERS
async def test_what_is_said_is_told_while_somebody_asks(
    setting: Setting, offers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(id: str) -> str:
        return "\n".join(each.fields["contents"] for each in setting.stated(id))

    async with running(Script(offers=offers)) as peer:
        await setting.run(job("b@x.example"), smarthost(peer.port))
        assert not setting.stated("delivery.raw-output") + setting.stated("delivery.raw-input")
        for kind in (events.RAW_OUTPUT, events.RAW_INPUT):
            monkeypatch.setattr(kind, "wanted", True)
        setting.bodies[4711] = Source(CONTENT * 2000)
        await setting.run(job("b@x.example"), smarthost(peer.port))
        await setting.run(job(content=CONTENT * 2000, in_memory=False), smarthost(peer.port))
        await setting.pool.close()
    sent = setting.stated("delivery.raw-output")
    assert told("delivery.raw-output").count("RCPT TO:<") == told("delivery.raw-output").count("MAIL FROM:<") == 2
    assert told("delivery.raw-input").count("Taken") == 2
    assert CONTENT.partition(b"\r\n")[0].decode() not in told("delivery.raw-output")
    assert sum(each.fields["size"] for each in sent) > len(CONTENT) * 2001
    assert len(sent) < 20
    assert {each.fields["hostname"] for each in sent} == {"127.0.0.1"}


async def test_each_domain_of_an_attempt_is_told_with_how_often_it_was_tried(setting: Setting) -> None:
    async with running(Script()) as peer:
        await setting.run(job("b@x.example", "c@Y.example", "d@x.example"), smarthost(peer.port))
        await setting.pool.close()
    found = [(each.fields["domain"], each.fields["total"]) for each in setting.stated("delivery.domain-delivery-start")]
    assert found == [("x.example", 0), ("y.example", 0)]
    ids = [each.kind.id for each in setting.events]
    assert ids[:3] == ["delivery.attempt-start", *["delivery.domain-delivery-start"] * 2]
