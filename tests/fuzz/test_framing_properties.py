"""DATA, BDAT and replies: however the octets are cut, the answer is the same, and it is that of a plain reading."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.framing import ChunkDecoder, DataDecoder, DotStuffer, Violation
from relayd.smtp.proxy import ProxyError, parse_proxy
from relayd.smtp.replies import ProtocolError, ReplyParser
from tests.fuzz.counting import steps

WIRE = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\0", b"a", b"\r\n.\r\n", b"..", b"\xe9", b"longer text"]),
    max_size=30,
).map(b"".join)
CUTS = st.lists(st.integers(0, 120), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at these places."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def read_data(chunks: list[bytes], normalise: bool) -> tuple[object, ...]:
    decoder = DataDecoder(normalise=normalise)
    content = b""
    for number, chunk in enumerate(chunks):
        octets, rest = decoder.feed(chunk)
        content += octets
        if rest is not None:
            behind = rest + b"".join(chunks[number + 1 :])
            return content, behind, decoder.violation, decoder.longest_line, decoder.total, decoder.repaired
    return ("open",)


def reference(data: bytes) -> tuple[bytes, bytes, Violation | None] | None:
    """The same, an octet at a time."""
    content = bytearray()
    violation = None
    line_start = True
    at = 0
    while at < len(data):
        if line_start and data.startswith(b".\r\n", at):
            return bytes(content), data[at + 3 :], violation
        if line_start and data[at : at + 1] == b".":
            at += 1
            line_start = False
            continue
        if data.startswith(b"\r\n", at):
            content += b"\r\n"
            at += 2
            line_start = True
            continue
        octet = data[at : at + 1]
        bare = {b"\n": Violation.BARE_LF, b"\r": Violation.BARE_CR, b"\0": Violation.NUL}.get(octet)
        violation = violation or bare
        content += octet
        at += 1
        line_start = False
    return None


@given(WIRE, CUTS, st.booleans())
def test_data_does_not_depend_on_how_it_is_cut(data: bytes, cuts: list[int], normalise: bool) -> None:
    wire = data + b"\r\n.\r\nQUIT"
    whole = read_data([wire], normalise)
    assert whole[0] != "open"
    assert read_data(pieces(wire, cuts), normalise) == whole
    assert read_data([wire[at : at + 1] for at in range(len(wire))], normalise) == whole


@given(WIRE)
def test_data_reads_as_an_octet_at_a_time(data: bytes) -> None:
    wire = data + b"\r\n.\r\nQUIT"
    expected = reference(wire)
    assert expected is not None
    assert read_data([wire], False)[:3] == expected
    content, rest, *_ = read_data([wire], True)
    assert rest == expected[1]
    assert isinstance(content, bytes)
    assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
    assert b"\0" not in content


@given(WIRE, CUTS, CUTS)
def test_stuffing_and_decoding_cancel_out(data: bytes, cuts: list[int], other_cuts: list[int]) -> None:
    stuffer = DotStuffer()
    wire = b"".join(stuffer.feed(piece) for piece in pieces(data, cuts)) + stuffer.finish()
    found = read_data(pieces(wire, other_cuts), False)
    assert found[0] == (data if data.endswith(b"\r\n") or not data else data + b"\r\n")
    assert found[1] == b""


@given(WIRE, CUTS, st.booleans())
def test_bdat_does_not_depend_on_how_it_is_cut(data: bytes, cuts: list[int], normalise: bool) -> None:
    answers = []
    for chunks in ([data], pieces(data, cuts), [data[at : at + 1] for at in range(len(data))]):
        decoder = ChunkDecoder(normalise=normalise, max_line=0)  # every line is a long one
        content = b"".join(map(decoder.feed, chunks)) + decoder.finish()
        longest = decoder.longest_line if decoder.violation is None else 0  # what is refused has no lines
        answers.append((content, decoder.violation, longest, decoder.total, decoder.repaired))
    assert answers[0] == answers[1] == answers[2]
    content, violation, longest, total, _ = answers[0]
    assert total == len(content)
    bare = content.replace(b"\r\n", b"")
    dirty = any(octet in bare for octet in (b"\r", b"\n", b"\0"))
    assert (violation is not None) == dirty
    assert not (normalise and dirty)
    if not dirty:
        assert longest == max(map(len, content.split(b"\r\n")))
    if not normalise:
        assert content == data


REPLIES = st.lists(
    st.sampled_from(
        [b"250", b"-", b" ", b"\r\n", b"\n", b"2.1.0 ok", b"550-5.1.1 x", b"x", b"\xff", b"\r", b"354 go\r\n"]
    ),
    max_size=20,
).map(b"".join)


def read_replies(chunks: list[bytes]) -> tuple[list[object], bool, bool]:
    """(replies, whether it ended in an error, whether the parser waits for more)."""
    parser = ReplyParser()
    found: list[object] = []
    for chunk in chunks:
        try:
            found += parser.feed(chunk)
        except ProtocolError:
            return found, True, False
    return found, False, parser.is_idle


@given(REPLIES, CUTS)
def test_replies_do_not_depend_on_how_they_are_cut(data: bytes, cuts: list[int]) -> None:
    singly = read_replies([data[at : at + 1] for at in range(len(data))])
    assert read_replies(pieces(data, cuts))[1:] == singly[1:]
    whole = read_replies([data])
    assert whole[1:] == singly[1:]
    if not whole[1]:
        assert whole == singly


PROXY = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda octets: b"PROXY " + octets),
    st.binary(max_size=60).map(lambda octets: b"\r\n\r\n\0\r\nQUIT\n" + octets),
    st.binary(max_size=60).map(lambda octets: b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + octets),
    st.text("PROXY TCP46UNKNOWN0123456789.:\r\n", max_size=60).map(str.encode),
)


@given(PROXY)
def test_a_proxy_header_is_the_same_octet_by_octet(data: bytes) -> None:
    first: object = None
    for end in range(len(data) + 1):
        try:
            first = parse_proxy(data[:end])
        except ProxyError:
            first = "error"
        if first is not None:
            break
    try:
        whole: object = parse_proxy(data)
    except ProxyError:
        whole = "error"
    assert whole == first


HOSTILE = {
    "dots": b".\r\n" * 350_000,
    "dotted lines": b"\r\n.." * 262_000,
    "empty lines": b"\r\n" * 524_000,
    "nul": b"\0" * 1_048_000,
    "cr": b"\r" * 1_048_000,
    "lf": b"\n" * 1_048_000,
    "one line": b"x" * 1_048_000,
    "almost": b"\r\n.\r" * 262_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("normalise", [False, True])
def test_a_megabyte_costs_by_the_chunk_not_by_the_line(name: str, normalise: bool) -> None:
    data = HOSTILE[name][3:] if name == "dots" else HOSTILE[name]
    chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]

    def data_and_bdat() -> None:
        decoder, bdat, stuffer = DataDecoder(normalise=normalise), ChunkDecoder(normalise=normalise), DotStuffer()
        for chunk in chunks:
            if decoder.feed(chunk)[1] is not None:
                break
        for chunk in chunks:
            stuffer.feed(bdat.feed(chunk))

    # both look for long lines once in a thousand octets
    assert steps(data_and_bdat) < 100 * len(chunks) + 2 * 8 * len(data) // 998


def test_an_endless_reply_line_is_given_up_early() -> None:
    def feed_singly() -> None:
        parser = ReplyParser()
        with pytest.raises(ProtocolError):
            for _ in range(1_000_000):
                parser.feed(b"2")

    assert steps(feed_singly) < 100_000
