"""Outside filters in reception: what milters make of a message of any shape, and what scanners are given."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from relayd.filters.milters import Milters
from relayd.filters.options import ScanOptions
from relayd.filters.scanning import Scanners
from relayd.mail.reply import Reply
from relayd.queue.failure import QueueUnavailable
from relayd.reception.filtering import Filtering
from tests.filters.talking import filter_options, milter_options
from tests.filters.test_scanning import CLAMD_END, saying, serving
from tests.reception.house import HOSTNAME, House, octets
from tests.rig.milter_peer import GO_ON, Answer, MilterPeer, packet

ADD = packet(b"h", b"X-New\0yes\0")
BODY = packet(b"b", b"other\r\n")


def milter(directory: Path, **answers: Answer) -> MilterPeer:
    return MilterPeer(directory / "m", {letter.encode(): answer for letter, answer in answers.items()})


def house(directory: Path, peer: MilterPeer | None = None, scanner: str = "", **given: Any) -> House:
    milters = Milters({"it": milter_options(peer.address)} if peer is not None else {})
    scanners = Scanners({"clam": filter_options("clamd", scanner)} if scanner else {})
    return House(directory, filtering=Filtering(scanners, milters, ScanOptions(), HOSTNAME), **given)


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"From: a@b.c\r\n\r\nhello\r\n", b"From: a@b.c\r\nX-New: yes\r\n\r\nother\r\n"),
        (b"From: a@b.c\r\n", b"From: a@b.c\r\nX-New: yes\r\n\r\nother\r\n"),
        (b"From: a@b.c\r\n\r\n", b"From: a@b.c\r\nX-New: yes\r\n\r\nother\r\n"),
        (b"\r\nbody alone\r\n", b"\r\nX-New: yes\r\n\r\nother\r\n"),
        (b"no header at all\r\nonly text\r\n", b"\r\nX-New: yes\r\n\r\nother\r\n"),
        (b"From: a@b.c\r\n\r\n" + b"a line\r\n" * 200_000, b"X-New: yes\r\n\r\nother\r\n"),
    ],
    ids=["usual", "no blank line", "no body", "no header", "text on top", "in a file"],
)
async def test_header_and_body_of_any_shape_are_changed(tmp_path: Path, content: bytes, end: bytes) -> None:
    async with milter(tmp_path, E=[ADD, BODY, GO_ON]) as peer:
        rooms = house(tmp_path, peer)
        client = await rooms.trusted()
        message = await rooms.deliver(client, content)
        rooms.reception.leave(client)
    whole = octets(message)
    assert whole.startswith(b"Received:")
    assert whole.endswith(end)
    assert whole.count(b"Message-ID:") == 1


@pytest.mark.parametrize(
    "second",
    [packet(b"h", b"not a name\0x\0"), packet(b"h", b"X-Half\0done\0") + packet(b"h", b"torn")],
    ids=["all refused", "torn"],
)
async def test_a_milter_that_changes_nothing_takes_nothing_of_the_one_before(tmp_path: Path, second: bytes) -> None:
    peers = [MilterPeer(tmp_path / name, {b"E": [said, GO_ON]}) for name, said in (("a", ADD), ("b", second))]
    async with peers[0], peers[1]:
        options = {peer.path.name: milter_options(peer.address, **{"on-failure": "accept"}) for peer in peers}
        filtering = Filtering(Scanners({}), Milters(options), ScanOptions(), HOSTNAME)
        rooms = House(tmp_path, filtering=filtering)
        client = await rooms.trusted()
        message = await rooms.deliver(client, b"From: a@b.c\r\n\r\nhello\r\n")
        rooms.reception.leave(client)
    assert octets(message).endswith(b"From: a@b.c\r\nX-New: yes\r\n\r\nhello\r\n")


async def test_a_header_that_is_not_changed_stays_octet_for_octet(tmp_path: Path) -> None:
    odd = b"From:a@b.c\r\nX-Odd:\t  folded\r\n \t here \r\nSubject: x\r\n\r\nbody\r\n"
    async with milter(tmp_path, E=[ADD, GO_ON]) as peer:
        rooms = house(
            tmp_path,
            peer,
            rcpt={"relay-domains": ["b.example"]},
            known={"a": {"domains": ["b.example"], "check": "any"}},
        )
        client = await rooms.stranger()
        message = await rooms.deliver(client, odd, "x@b.example")
        rooms.reception.leave(client)
    assert octets(message).endswith(odd.replace(b"\r\n\r\nbody", b"\r\nX-New: yes\r\n\r\nbody"))


async def test_recipients_and_sender_are_changed_and_counted(tmp_path: Path) -> None:
    said = [packet(b"+", b"<new@far.example>\0"), packet(b"+", b"not an address\0"), packet(b"-", b"b@far.example\0"),
            packet(b"+", b"<c@far.example>\0"), packet(b"e", b"back@b.c\0"), GO_ON]  # fmt: skip
    async with milter(tmp_path, E=said) as peer:
        rooms = house(tmp_path, peer)
        client = await rooms.trusted()
        message = await rooms.deliver(client, b"\r\nx\r\n", "b@far.example", "c@far.example")
        rooms.reception.leave(client)
    assert [each.address for each in message.recipients] == ["c@far.example", "new@far.example"]
    assert message.return_path == "back@b.c"
    assert message.counts == {"accepted": 2, "replaced": 0, "expanded": 1, "discarded": 1}
    assert rooms.facts("milter.change-refused")[0]["details"] == "add not an address"


async def test_who_is_deleted_takes_along_whom_it_stood_for(tmp_path: Path) -> None:
    async with milter(tmp_path, E=[packet(b"-", b"<all@relay.example>\0"), GO_ON]) as peer:
        aliases = ["all: x@far.example, y@far.example"]
        rooms = house(tmp_path, peer, server={"aliases": aliases, "origin": "relay.example"})
        client = await rooms.trusted()
        message = await rooms.deliver(client, b"\r\nx\r\n", "all@relay.example", "b@far.example")
        rooms.reception.leave(client)
    assert [each.address for each in message.recipients] == ["b@far.example"]
    assert message.counts == {"accepted": 2, "replaced": 1, "expanded": 2, "discarded": 2}


async def test_a_recipient_that_a_milter_refuses_leaves_no_trace(tmp_path: Path) -> None:
    async def rcpt(data: bytes) -> bytes:
        return packet(b"r") if b"bad@" in data else GO_ON

    async with milter(tmp_path, R=rcpt) as peer:
        rooms = house(tmp_path, peer)
        client = await rooms.trusted()
        tx = await rooms.begin(client)
        assert await rooms.rcpt(tx, "bad@far.example") == Reply(550, "5.7.1", "Refused by policy")
        assert (tx.recipients, tx.given, tx.seen, tx.accepted) == ([], [], set(), 0)
        assert (await rooms.rcpt(tx, "b@far.example")).is_positive
        assert (await rooms.send(tx, b"\r\nx\r\n")).code == 250
        rooms.reception.leave(client)


async def test_what_is_discarded_is_counted_before_its_250(tmp_path: Path) -> None:
    async with milter(tmp_path, M=packet(b"d")) as peer:
        rooms = house(tmp_path, peer)
        client = await rooms.trusted()
        for failure, code in ((None, 250), (QueueUnavailable("disk full"), 451)):
            rooms.queue.failure = failure
            tx = await rooms.begin(client)
            await rooms.rcpt(tx, "b@far.example")
            assert (await rooms.send(tx, b"\r\nx\r\n")).code == code
        rooms.reception.leave(client)
    assert rooms.queue.discarded == [{"accepted": 1, "discarded": 1}]
    assert rooms.queue.messages == []


async def test_a_scanner_is_given_the_message_as_it_will_be_queued(tmp_path: Path) -> None:
    given: list[bytes] = []

    async def serve(reader: Any, writer: Any) -> None:
        octets = b""
        assert await reader.readexactly(10) == b"zINSTREAM\0"
        while size := struct.unpack(">I", await reader.readexactly(4))[0]:
            octets += await reader.readexactly(size)
        given.append(octets)
        writer.write(b"stream: OK\0")

    async with serving(tmp_path / "s", serve) as address:
        rooms = house(tmp_path, scanner=address)
        client = await rooms.trusted()
        for content in (b"Subject: x\r\nBcc: z@b.c\r\n\r\nx\r\n", b"\r\n" + b"y" * 2000 + b"\r\n"):
            message = await rooms.deliver(client, content)
            assert given.pop() == octets(message)
    assert not rooms.reception._filtering._scans  # type: ignore[union-attr]


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_what_a_stranger_wrote_in_our_name_is_taken_out(tmp_path: Path, is_trusted: bool) -> None:
    known = {"1": {"domains": ["far.example"], "check": "any"}}
    async with serving(tmp_path / "s", saying(b"stream: OK\0", CLAMD_END)) as address:
        rooms = house(tmp_path, scanner=address, rcpt={"relay-domains": ["far.example"]}, known=known)
        client = await (rooms.trusted() if is_trusted else rooms.stranger())
        content = b"Subject: x\r\nx-scan-result: clam; clean\r\n\r\nX-Scan-Result: y\r\n"
        whole = octets(await rooms.deliver(client, content))
    assert (b"x-scan-result: clam" in whole) is is_trusted
    assert whole.endswith(b"\r\n\r\nX-Scan-Result: y\r\n")


async def test_a_session_that_ends_ends_its_scans(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", saying(b"stream: Bad FOUND\0", CLAMD_END)) as address:
        rooms = house(tmp_path, scanner=address)
        tx = await rooms.begin(await rooms.trusted())
        await rooms.rcpt(tx, "b@far.example")
        reply = await rooms.send(tx, b"\r\nx\r\n")
        assert (reply.code, reply.enhanced) == (554, "5.7.1")
        assert rooms.incoming_files() == []
    assert not rooms.reception._filtering._scans  # type: ignore[union-attr]
