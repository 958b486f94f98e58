"""What outside filters say, whatever it is: read, or refused as such; and what a milter changes stays a message."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.filters import changes, clamd, milter_wire, rspamd, ruling, spamd
from relayd.filters.milter_wire import Code, MilterReply, WireError
from relayd.filters.scan import Outcome, ScanFailed
from relayd.mail.header import HeaderBlock
from tests.filters.talking import HEADER

OCTETS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"\0", b"X-A", b"x-twice", b"\r\n", b"\n", b"\r", b" ", b"v", b"<a@b>", b"\xff"])
    ).map(b"".join),
)  # fmt: skip
CHANGES = st.sampled_from([each for each in Code if each in milter_wire.NEEDS])
NUMBERED = st.tuples(st.integers(0, 2**32 - 1), OCTETS).map(lambda each: struct.pack(">I", each[0]) + each[1])


def edited() -> changes.Edited:
    block = HeaderBlock.parse(HEADER)
    del block.fields[0]
    return changes.Edited(block, 0)


@given(st.binary(max_size=64))
def test_a_frame_is_a_reply_or_none(octets: bytes) -> None:
    try:
        reply = milter_wire.read_reply(octets)
    except WireError:
        return
    assert reply.code.value + reply.data == octets


@given(OCTETS)
def test_a_negotiation_is_read_or_refused(data: bytes) -> None:
    try:
        found = milter_wire.read_negotiated(MilterReply(Code.NEGOTIATE, data))
    except WireError:
        return
    assert 2 <= found.version <= 6
    assert int(found.actions) <= 0x1FF


@given(OCTETS)
def test_a_worded_refusal_is_one_and_cannot_break_the_dialogue(data: bytes) -> None:
    try:
        reply = ruling.read_reply_code(data)
    except WireError:
        return
    assert 400 <= reply.code < 600
    assert reply.enhanced[0] == str(reply.code)[0]
    lines = reply.encode().split(b"\r\n")
    assert lines.pop() == b""
    assert all(line.startswith(str(reply.code).encode()) for line in lines)
    assert not any(b"\r" in line or b"\n" in line for line in lines)


@given(st.lists(st.tuples(CHANGES, st.one_of(OCTETS, NUMBERED)), max_size=6), st.booleans())
def test_a_changed_message_is_well_formed(wanted: list[tuple[Code, bytes]], keeps_space: bool) -> None:
    """No value ends its field, no line is too long, no CR or LF stands alone, our Received keeps a place."""
    found = edited()
    try:
        changes.apply(found, [MilterReply(code, data) for code, data in wanted], keeps_space=keeps_space)
    except WireError:
        pass
    header = found.block.encode()
    lines = header.split(b"\r\n")
    assert lines[-1] == b""
    assert not any(b"\r" in line or b"\n" in line or not line.strip() for line in lines[:-1])
    assert max(map(len, lines)) <= 998
    assert len(HeaderBlock.parse(header).fields) == len(found.block.fields)
    assert 0 <= found.own <= len(found.block.fields)
    if found.body is not None:
        assert b"\r" not in found.body.replace(b"\r\n", b"")
        assert b"\n" not in found.body.replace(b"\r\n", b"")


@pytest.mark.parametrize("read", [spamd.read_answer, rspamd.read_answer])
@given(
    answer=st.one_of(
        OCTETS,
        st.lists(
            st.sampled_from(
                [b"SPAMD/1.1 0 EX_OK", b"\r\n", b"Spam: True ; ", b"9", b" / ", b"Content-length: ", b"A,B", b"-", b".",
                 b'{"action":"', b"reject", b'"', b",", b'"score":', b"1e999", b"NaN", b"[", b"{", b"}"]
            )
        ).map(b"".join),
    )
)  # fmt: skip
def test_an_answer_is_a_scan_or_a_failure(read, answer: bytes) -> None:  # type: ignore[no-untyped-def]
    try:
        scan = read(answer)
    except (ScanFailed, EOFError):
        return
    assert scan.outcome in (Outcome.PASSED, Outcome.FOUND, Outcome.NOT_NOW)


@given(st.text(max_size=80))
def test_an_answer_of_clamd_is_a_scan_or_a_failure(answer: str) -> None:
    try:
        assert clamd.read_answer(answer).outcome in (Outcome.PASSED, Outcome.FOUND)
    except ScanFailed:
        pass
