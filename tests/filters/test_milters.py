"""A session with milters: what they are told, what they may answer, what they may change, how they fail."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relayd.filters.changes import Change
from relayd.filters.milters import Content
from tests.filters.talking import BODY, FACTS, Told, milter_options, pieces, talk, whole
from tests.rig.milter_peer import CLOSE, HANG, MilterPeer, agreed, packet

CONTINUE, ACCEPT, DISCARD, REJECT, TEMPFAIL = (packet(code) for code in (b"c", b"a", b"d", b"r", b"t"))


def peer(directory: Path, name: str = "a", **answers: Any) -> MilterPeer:
    """A milter; answers by command letter."""
    return MilterPeer(directory / name, {letter.encode(): answer for letter, answer in answers.items()})


def lines(found: Any) -> bytes:
    encoded: bytes = found.edited.block.encode()
    return encoded


async def test_it_is_told_everything_in_order_with_macros(tmp_path: Path) -> None:
    async with peer(tmp_path) as milter:
        found = await whole(milter_options(milter.address))
        await asyncio.sleep(0)
    assert milter.commands().startswith("OCHMRT" + "L" * 4 + "NBE")
    assert milter.data(b"C") == [b"client.test\x004" + struct.pack(">H", 4711) + b"192.0.2.7\0"]
    assert milter.data(b"H") == [b"client.test\0"]
    assert milter.data(b"M") == [b"<a@b.test>\0SIZE=100\0"]
    assert milter.data(b"R") == [b"<c@d.test>\0"]
    assert milter.data(b"L")[0] == b"From\0a@b.test\0"
    assert milter.data(b"L")[3] == b"Subject\0hello\n there\0"
    assert b"".join(milter.data(b"B")) == BODY
    assert milter.macros(b"C")["j"] == "mx.test"
    assert milter.macros(b"M") == {
        "i": "4711", "{auth_type}": "PLAIN", "{auth_authen}": "ann", "{mail_addr}": "a@b.test",
        "{mail_host}": "b.test", "{mail_mailer}": "esmtp",
    }  # fmt: skip
    assert milter.macros(b"R")["{rcpt_addr}"] == "c@d.test"
    assert milter.macros(b"E")["i"] == "4711"
    assert set(found.rulings.values()) == {None}
    assert found.told.ids() == []


async def test_it_names_the_macros_it_wants(tmp_path: Path) -> None:
    lists = struct.pack(">I", 2) + b"{client_addr}, {nothing} i\0"
    async with peer(tmp_path, O=agreed(lists=lists)) as milter:
        await whole(milter_options(milter.address))
    assert milter.macros(b"M") == {"i": "4711", "{client_addr}": "192.0.2.7"}
    assert "j" in milter.macros(b"C")


async def test_steps_left_out_are_not_said_and_quiet_ones_not_waited_for(tmp_path: Path) -> None:
    no_connect_helo_body = 0x01 | 0x02 | 0x10
    quiet_mail_headers_end = 0x4000 | 0x80 | 0x40000
    milter = peer(tmp_path, O=agreed(steps=no_connect_helo_body | quiet_mail_headers_end))
    milter.quiet = b"MLN"
    async with milter:
        found = await whole(milter_options(milter.address))
    assert milter.commands().startswith("OMRTLLLLNE")
    assert set(found.rulings.values()) == {None}


async def test_a_milter_that_has_seen_enough_of_the_body_says_so(tmp_path: Path) -> None:
    async with peer(tmp_path, O=agreed(steps=0x400), B=packet(b"s")) as milter:
        found = talk(milter_options(milter.address))
        await found.session.connect()
        assert await found.message(b"x" * 200_000) is None
        found.session.close()
    assert milter.commands().count("B") == 1


async def test_progress_is_waited_for(tmp_path: Path) -> None:
    async with peer(tmp_path, E=[packet(b"p"), packet(b"p"), packet(b"h", b"X-New\0yes\0"), CONTINUE]) as milter:
        found = await whole(milter_options(milter.address))
    assert lines(found).endswith(b"X-New: yes\r\n")


async def test_leading_blanks_are_the_milters_own_when_it_says_so(tmp_path: Path) -> None:
    async with peer(tmp_path, O=agreed(steps=0x100000), E=packet(b"h", b"X-New\0yes\0") + CONTINUE) as milter:
        found = await whole(milter_options(milter.address))
    assert milter.data(b"L")[0] == b"From\0 a@b.test\0"
    assert lines(found).endswith(b"X-New:yes\r\n")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (packet(b"h", b"X-New\0yes\0"), b"Subject: hello\r\n there\r\nX-New: yes\r\n"),
        (packet(b"i", struct.pack(">I", 0) + b"X-Top\0yes\0"), b"X-Top: yes\r\nFrom: a@b.test\r\n"),
        (packet(b"i", struct.pack(">I", 1) + b"X-Top\0yes\0"), b"X-Top: yes\r\nFrom: a@b.test\r\n"),
        (packet(b"i", struct.pack(">I", 2) + b"X-In\0yes\0"), b"From: a@b.test\r\nX-In: yes\r\nX-Twice: one\r\n"),
        (packet(b"i", struct.pack(">I", 99) + b"X-End\0yes\0"), b" there\r\nX-End: yes\r\n"),
        (packet(b"m", struct.pack(">I", 2) + b"x-twice\0new\0"), b"X-Twice: one\r\nx-twice: new\r\n"),
        (packet(b"m", struct.pack(">I", 1) + b"X-Twice\0\0"), b"From: a@b.test\r\nX-Twice: two\r\n"),
        (packet(b"m", struct.pack(">I", 3) + b"X-Twice\0three\0"), b" there\r\nX-Twice: three\r\n"),
        (packet(b"h", b"X-New\0a\nb\r\n\r\nc\r\0"), b"X-New: a\r\n\tb\r\n\tc\r\n"),
    ],
)
async def test_changes_of_the_header(tmp_path: Path, said: bytes, expected: bytes) -> None:
    async with peer(tmp_path, E=[said, CONTINUE]) as milter:
        found = await whole(milter_options(milter.address))
    assert expected in lines(found)
    assert "milter.modified" in found.told.ids()


async def test_the_place_of_our_own_received_is_kept(tmp_path: Path) -> None:
    above = packet(b"i", struct.pack(">I", 0) + b"X-Above\0yes\0")
    below = packet(b"i", struct.pack(">I", 2) + b"X-Below\0yes\0")
    async with peer(tmp_path, E=[above, below, CONTINUE]) as milter:
        found = await whole(milter_options(milter.address))
    assert found.edited.own == 1
    assert lines(found).startswith(b"X-Above: yes\r\nX-Below: yes\r\nFrom:")


async def test_changes_of_the_body_and_the_envelope(tmp_path: Path) -> None:
    said = [
        packet(b"b", b"new\r"), packet(b"b", b"\nbody\nbare\r"), packet(b"+", b"<x@y.test>\0"),
        packet(b"2", b"<z@y.test>\0NOTIFY=NEVER\0"), packet(b"-", b"<c@d.test>\0"), packet(b"e", b"<>\0"),
        packet(b"q", b"looks  odd\0"), ACCEPT,
    ]  # fmt: skip
    async with peer(tmp_path, E=said) as milter:
        found = await whole(milter_options(milter.address))
    assert found.edited.body == b"new\r\nbody\r\nbare\r\n"
    assert found.edited.envelope == [
        Change("add", "x@y.test", "a"), Change("add", "z@y.test", "a"), Change("delete", "c@d.test", "a"),
        Change("from", "", "a"), Change("hold", "looks odd", "a"),
    ]  # fmt: skip
    assert found.told.of("milter.action-quarantine")["reason"] == "looks odd"


async def test_the_second_milter_sees_what_the_first_left(tmp_path: Path) -> None:
    changed = [packet(b"h", b"X-First\0yes\0"), packet(b"b", b"other\r\n"), CONTINUE]
    async with peer(tmp_path, "one", E=changed) as first, peer(tmp_path, "two") as second:
        await whole(milter_options(second.address, order=2), milter_options(first.address, order=1))
    assert b"X-First\0yes\0" in second.data(b"L")
    assert second.data(b"B") == [b"other\r\n"]


_LETTERS = {
    "connect": "C", "helo": "H", "mail": "M", "rcpt": "R", "data": "T", "header": "L", "eoh": "N", "body": "B",
    "eom": "E",
}  # fmt: skip


@pytest.mark.parametrize("stage", _LETTERS)
@pytest.mark.parametrize(
    ("said", "code"),
    [
        (REJECT, 550), (TEMPFAIL, 451), (packet(b"f"), 451), (packet(b"4"), 421),
        (packet(b"y", b"554 5.7.9 100%% not you\0"), 554), (packet(b"y", b"421 go away\0"), 421),
    ],
)  # fmt: skip
async def test_a_refusal_at_each_stage(tmp_path: Path, stage: str, said: bytes, code: int) -> None:
    letter = _LETTERS[stage]
    async with MilterPeer(tmp_path / "a", {letter.encode(): said}) as milter:
        found = await whole(milter_options(milter.address))
        said_to_it = await milter.ended()
    ruling = found.rulings[stage if stage in ("connect", "helo", "mail", "rcpt", "data") else "content"]
    assert ruling is not None
    assert ruling.reply is not None
    assert ruling.reply.code == code
    if code == 554:
        assert ruling.reply.enhanced == "5.7.9"
        assert ruling.reply.text == "100% not you"
    if stage not in ("connect", "helo", "eom"):
        assert said_to_it.endswith("AQ")


async def test_a_reply_of_several_lines(tmp_path: Path) -> None:
    async with peer(tmp_path, M=packet(b"y", b"550-5.7.1 one\r\n550 5.7.1 two\0")) as milter:
        found = await whole(milter_options(milter.address))
    ruling = found.rulings["mail"]
    assert ruling is not None
    assert ruling.reply is not None
    assert ruling.reply.encode() == b"550-5.7.1 one\r\n550 5.7.1 two\r\n"


async def test_accepted_means_it_wants_to_see_no_more(tmp_path: Path) -> None:
    async with peer(tmp_path, "one", M=ACCEPT) as one, peer(tmp_path, "two", C=ACCEPT) as two:
        found = talk(milter_options(one.address), milter_options(two.address))
        await found.session.connect()
        await found.message()
        found.session.abort()
        await found.message()
        found.session.abort()
        found.session.close()
        assert await one.ended() == "OCMAMAQ"
        assert await two.ended() == "OCQ"


async def test_discarding_is_remembered_and_nobody_else_is_asked(tmp_path: Path) -> None:
    async with peer(tmp_path, "one", R=DISCARD) as one, peer(tmp_path, "two") as two:
        found = await whole(milter_options(one.address), milter_options(two.address))
    assert found.session.is_discarding
    assert "E" not in one.commands() + two.commands()
    assert found.told.ids() == ["milter.action-discard"]


_BROKEN = [
    ("milter.frame-invalid", {"M": struct.pack(">I", 0)}),
    ("milter.frame-invalid", {"M": packet(b"?")}),
    ("milter.frame-invalid", {"M": packet(b"y", b"250 fine\0")}),
    ("milter.frame-invalid", {"O": packet(b"O", b"short")}),
    ("milter.frame-invalid", {"O": agreed(version=7)}),
    ("milter.frame-invalid", {"O": agreed(actions=0x1000)}),
    ("milter.frame-invalid", {"O": agreed(lists=b"\0\0\0\x09i\0")}),
    ("milter.frame-invalid", {"E": packet(b"h", b"no end") + CONTINUE}),
    ("milter.frame-invalid", {"E": packet(b"i", b"12") + CONTINUE}),
    ("milter.frame-too-large", {"M": struct.pack(">I", 1 << 30)}),
    ("milter.unexpected-response", {"M": packet(b"h", b"X\0y\0")}),
    ("milter.unexpected-response", {"M": packet(b"s")}),
    ("milter.unexpected-response", {"O": agreed(actions=0), "E": packet(b"h", b"X\0y\0") + CONTINUE}),
    ("milter.disconnected", {"M": CLOSE}),
    ("milter.disconnected", {"E": CLOSE}),
    ("milter.disconnected", {"O": CLOSE}),
    ("milter.timeout", {"M": HANG}),
    ("milter.timeout", {"E": HANG}),
    ("milter.timeout", {"O": HANG}),
]


@pytest.mark.parametrize("policy", ["accept", "tempfail"])
@pytest.mark.parametrize(("event", "answers"), _BROKEN)
async def test_every_broken_milter_is_a_failure_by_its_policy(
    tmp_path: Path, event: str, answers: dict[str, Any], policy: str
) -> None:
    short = dict.fromkeys(("timeout.connect", "timeout.command", "timeout.content"), "30ms")
    async with peer(tmp_path, **answers) as milter:
        found = await whole(milter_options(milter.address, **{"on-failure": policy}, **short))
    assert event in found.told.ids()
    assert found.told.of(event)["policy"] == policy
    ruling = next((each for each in found.rulings.values() if each is not None), None)
    if policy == "accept":
        assert ruling is None
        assert found.edited.body is None
    else:
        assert ruling is not None
        assert ruling.reply is not None
        assert (ruling.reply.code, ruling.reply.enhanced) == (451, "4.7.1")


async def test_one_that_is_not_there_is_tried_again_at_mail(tmp_path: Path) -> None:
    milter = peer(tmp_path)
    found = talk(milter_options(milter.address))
    assert await found.session.connect() is None
    assert await found.session.helo() is None
    async with milter:
        assert await found.message() is None
        found.session.close()
    assert milter.commands().startswith("OCHMRT")
    assert found.told.ids() == ["milter.io-error"]


async def test_one_that_fails_again_and_again_is_not_waited_for(tmp_path: Path) -> None:
    options = milter_options(f"unix:{tmp_path}/nothing", **{"breaker.failures": 2, "on-failure": "accept"})
    told = Told()
    first = talk(options, told=told)
    await first.session.connect()
    await first.message()
    assert told.ids() == ["milter.io-error", "milter.io-error", "filter.suspended"]
    first.session.abort()
    await first.message()
    assert told.ids()[3:] == ["milter.not-asked"]


async def test_a_large_message_is_not_shown(tmp_path: Path) -> None:
    async with peer(tmp_path) as milter:
        found = talk(milter_options(milter.address, **{"max-size": 10}))
        await found.session.connect()
        assert await found.message() is None
        found.session.close()
    assert found.told.ids() == ["filter.skipped"]
    assert "E" not in milter.commands()


async def test_all_milters_together_keep_to_the_time_there_is(tmp_path: Path) -> None:
    async with peer(tmp_path, E=HANG) as milter:
        found = talk(milter_options(milter.address))
        loop = asyncio.get_running_loop()
        await found.session.connect()
        ruling = await found.message(until=loop.time() + 0.05)
    assert ruling is not None
    assert "milter.timeout" in found.told.ids()


async def test_a_milter_for_others_is_not_asked(tmp_path: Path) -> None:
    async with peer(tmp_path) as milter:
        assert not (await whole(milter_options(milter.address, sessions="trusted"))).told.ids()
        other = milter_options(milter.address, listeners=["submission"])
        with pytest.raises(AssertionError):
            talk(other)
    assert milter.connections == 0
    assert FACTS.trusted is False


async def test_a_body_in_pieces_of_any_size(tmp_path: Path) -> None:
    async with peer(tmp_path) as milter:
        found = talk(milter_options(milter.address))
        await found.session.connect()
        await found.session.mail(1, "", ())

        def body() -> AsyncIterator[bytes]:
            return pieces(b"a" * 70_000, b"", b"b")

        await found.session.content(found.edited, Content(70_001, body, 1e12))
        found.session.close()
    assert [len(each) for each in milter.data(b"B")] == [65535, 4465, 1]
