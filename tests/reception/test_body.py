"""Content: in memory up to a limit, in a file past it, never left behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from relayd.blobs.spool import BlobFull, SpoolFile
from relayd.mail.reply import Reply
from relayd.queue.failure import QueueFull
from relayd.reception.body import MEMORY_LIMIT, SPOOL_BATCH
from relayd.reception.transaction import Transaction
from tests.reception.house import House, octets, outcome

HEADER = b"From: a@b.example\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n\r\n"
LINE = b"x" * 98 + b"\r\n"
BIG = HEADER + LINE * 30_000  # 3 MB


async def begin(rig: House) -> Transaction:
    tx = await rig.begin(await rig.trusted())
    assert (await rig.rcpt(tx, "b@far.example")).is_positive
    return tx


async def test_a_small_message_stays_in_memory(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), HEADER + LINE * 10_000)
    assert isinstance(message.body.content, bytes)
    assert rig.incoming_files() == []


async def test_a_large_message_goes_to_a_file_and_is_never_held_whole(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await begin(rig)
    for place in range(0, len(BIG), 50_000):
        await rig.reception.write(tx, [BIG[place : place + 50_000]])
        assert sum(map(len, tx.body._chunks)) <= (MEMORY_LIMIT if not rig.incoming_files() else SPOOL_BATCH)
    reply = await rig.reception.finish(tx)
    assert isinstance(reply, Reply)
    assert reply.code == 250
    message = rig.queue.messages[0]
    assert isinstance(message.body.content, Path)
    assert octets(message) == message.body.head + BIG
    assert rig.delivery.jobs[0].body is None


async def test_the_header_of_a_large_message_is_edited_without_copying_the_body(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(await rig.trusted(), b"Bcc: secret@x.example\r\n" + BIG)
    assert isinstance(message.body.content, Path)
    assert message.body.offset > 0
    content = octets(message)
    assert b"secret" not in content
    assert content.endswith(BIG)


async def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    rig = House(tmp_path)
    assert outcome(await rig.send(await begin(rig), b"X: y\r\n" * 400_000)) == (554, "5.6.0")
    assert rig.incoming_files() == []
    assert (await rig.send(await begin(rig), b"X: y\r\n" * 1_000)).code == 250


@pytest.mark.parametrize("size", [5_000, 2_000_000])
async def test_a_message_over_the_limit_is_refused_while_it_comes(tmp_path: Path, size: int) -> None:
    rig = House(tmp_path, limits={"size": size})
    tx = await begin(rig)
    assert outcome(await rig.send(tx, HEADER + b"x" * 60 + b"\r\n" + LINE * 40_000)) == (552, "5.3.4")
    assert rig.incoming_files() == []
    assert rig.queue.messages == []
    assert tx.size < size + 100_000
    exact = HEADER + b"x" * (4_998 - len(HEADER)) + b"\r\n"
    assert len(exact) == 5_000
    assert (await rig.send(await begin(rig), exact)).code == 250


async def test_a_file_that_cannot_be_written_is_a_temporary_failure(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await begin(rig)
    (rig.blobs.directory / "incoming").rmdir()
    assert outcome(await rig.send(tx, BIG)) == (451, "4.3.0")
    assert rig.facts("smtp.handler-error")


async def test_abort_removes_the_file_and_may_come_at_any_time(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await begin(rig)
    await rig.reception.write(tx, [BIG])
    assert len(rig.incoming_files()) == 1
    rig.reception.abort(tx)
    rig.reception.abort(tx)
    assert rig.incoming_files() == []


async def test_a_session_that_ends_while_a_write_is_under_way_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = House(tmp_path)
    tx = await begin(rig)
    started, go_on = threading.Event(), threading.Event()
    write = SpoolFile.write

    def slow(spool: SpoolFile, chunk: bytes) -> None:
        started.set()
        assert go_on.wait(30)
        write(spool, chunk)

    monkeypatch.setattr(SpoolFile, "write", slow)
    writing = asyncio.create_task(rig.reception.write(tx, [BIG]))
    await asyncio.to_thread(started.wait, 30)
    writing.cancel()
    await asyncio.wait({writing})
    rig.reception.abort(tx)
    assert len(rig.incoming_files()) == 1  # not taken away from under the thread
    under_way = tx.body._writing
    assert under_way is not None
    go_on.set()
    await under_way
    await asyncio.sleep(0)
    assert rig.incoming_files() == []


async def test_re_encoding_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(source: object, target: object) -> bool:
        raise BlobFull("disk")

    monkeypatch.setattr("relayd.reception.body.shorten_lines", broken)
    rig = House(tmp_path)
    assert outcome(await rig.send(await begin(rig), BIG + b"y" * 5_000 + b"\r\n")) == (452, "4.3.1")
    assert rig.incoming_files() == []


async def test_abort_after_a_promise_leaves_the_file_alone(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await begin(rig)
    assert (await rig.send(tx, BIG)).code == 250
    rig.reception.abort(tx)
    assert octets(rig.queue.messages[0]).endswith(BIG)


async def test_a_message_that_is_not_queued_leaves_no_file(tmp_path: Path) -> None:
    rig = House(tmp_path)
    rig.queue.failure = QueueFull("disk")
    assert outcome(await rig.send(await begin(rig), BIG)) == (452, "4.3.1")
    assert rig.incoming_files() == []


async def test_a_line_over_the_limit_is_refused(tmp_path: Path) -> None:
    rig = House(tmp_path, limits={"line": 2000})
    assert outcome(await rig.send(await begin(rig), HEADER + b"x" * 2001 + b"\r\n")) == (554, "5.6.0")
    tx = await begin(rig)
    assert (await rig.send(tx, HEADER + b"x" * 2000 + b"\r\n")).code == 250


@pytest.mark.parametrize("lines", [1, 20_000])
async def test_long_lines_of_trusted_sessions_are_re_encoded_and_of_strangers_left(tmp_path: Path, lines: int) -> None:
    rig = House(
        tmp_path, rcpt={"relay-domains": ["h.example"]}, known={"1": {"domains": ["h.example"], "check": "any"}}
    )
    content = HEADER[:-2] + b"Content-Type: text/plain\r\n\r\n" + LINE * lines + b"y" * 5_000 + b"\r\n"
    trusted = await rig.deliver(await rig.trusted(), content, "b@h.example")
    sent = octets(trusted)
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    assert b"quoted-printable" in sent
    assert trusted.body.size == len(sent)
    stranger = await rig.deliver(await rig.stranger(), content, "b@h.example")
    assert octets(stranger) == stranger.body.head + content
    assert len(rig.incoming_files()) == (2 if lines > 1 else 0)


async def test_long_lines_of_signed_mail_stay(tmp_path: Path) -> None:
    rig = House(tmp_path)
    content = b"DKIM-Signature: v=1\r\n" + HEADER + b"y" * 5_000 + b"\r\n"
    assert octets(await rig.deliver(await rig.trusted(), content)).endswith(content)
    big = content + LINE * 20_000
    assert octets(await rig.deliver(await rig.trusted(), big)).endswith(big)
    assert len(rig.incoming_files()) == 1
