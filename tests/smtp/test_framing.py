"""DATA and BDAT content."""

from __future__ import annotations

import pytest

from relayd.smtp.framing import ChunkDecoder, DataDecoder, DotStuffer, Violation


def decode(data: bytes, *, normalise: bool = False, step: int = 0) -> tuple[bytes, bytes | None, DataDecoder]:
    """(content, what came behind the end, the decoder); fed in pieces of `step` octets, 0 for all at once."""
    decoder = DataDecoder(normalise=normalise)
    content = b""
    for at in range(0, len(data), step or len(data)):
        octets, rest = decoder.feed(data[at : at + (step or len(data))])
        content += octets
        if rest is not None:
            return content, rest + data[at + (step or len(data)) :], decoder
    return content, None, decoder


@pytest.mark.parametrize("step", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("data", "content", "rest"),
    [
        (b"hello\r\n.\r\n", b"hello\r\n", b""),
        (b".\r\n", b"", b""),
        (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"a\r\n..b\r\n...\r\n.\r\nRSET", b"a\r\n.b\r\n..\r\n", b"RSET"),
        (b".a\r\n.\r\n", b"a\r\n", b""),
        (b"\r\n.\r\n.\r\n", b"\r\n", b".\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n", b""),
        (b"a\r\n. \r\n.\r\n", b"a\r\n \r\n", b""),
        (b"a\r\n.\r\n.\r\n", b"a\r\n", b".\r\n"),
    ],
)
def test_only_a_dot_between_two_line_ends_is_the_end(data: bytes, content: bytes, rest: bytes, step: int) -> None:
    octets, behind, decoder = decode(data, step=step)
    assert octets == content
    assert behind == rest
    assert decoder.violation is None
    assert decoder.total == len(content)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("data", "violation", "normal"),
    [
        (b"a\nb", Violation.BARE_LF, b"a\r\nb"),
        (b"a\rb", Violation.BARE_CR, b"a\r\nb"),
        (b"a\0b", Violation.NUL, b"ab"),
        (b"\na", Violation.BARE_LF, b"\r\na"),
        (b"a\r\r\n", Violation.BARE_CR, b"a\r\n\r\n"),
        (b"a\n\r", Violation.BARE_LF, b"a\r\n\r\n"),
        (b"a\r\0\n", Violation.BARE_CR, b"a\r\n\r\n"),
        (b"a\n.\n", Violation.BARE_LF, b"a\r\n.\r\n"),
    ],
)
def test_bare_newlines_and_nul_are_seen_in_data_and_bdat(
    data: bytes, violation: Violation, normal: bytes, step: int
) -> None:
    octets, rest, decoder = decode(b"x\r\n" + data + b"\r\n.\r\n", step=step)
    assert rest == b""
    assert decoder.violation is violation
    octets, rest, decoder = decode(b"x\r\n" + data + b"\r\n.\r\n", normalise=True, step=step)
    assert rest == b""
    assert octets == b"x\r\n" + normal + b"\r\n"
    assert decoder.violation is None
    assert decoder.repaired
    assert decoder.total == len(octets)

    for normalise in (False, True):
        chunks = ChunkDecoder(normalise=normalise)
        content = b"".join(chunks.feed(data[at : at + (step or 99)]) for at in range(0, len(data), step or 99))
        content += chunks.finish()
        assert chunks.violation is (None if normalise else violation)
        assert content == (normal if normalise else data)
        assert chunks.total == len(content)


def test_a_carriage_return_at_the_end_of_the_last_chunk_is_bare() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"a\r\nb\r") == b"a\r\nb"
    assert decoder.violation is None
    assert decoder.finish() == b"\r"
    assert decoder.violation is Violation.BARE_CR
    clean = ChunkDecoder()
    assert clean.feed(b"") + clean.feed(b"a\r") + clean.feed(b"\n.\r\n") + clean.finish() == b"a\r\n.\r\n"
    assert clean.violation is None


@pytest.mark.parametrize("step", [0, 1, 7])
def test_the_longest_line_is_known_across_chunks(step: int) -> None:
    data = b"a" * 10 + b"\r\n" + b"." + b"." + b"b" * 30 + b"\r\nc\r\n.\r\n"
    assert decode(data, step=step)[2].longest_line == 0  # none of a length that needs care
    assert decode(b"b" * 999 + b"\r\n" + data, step=step)[2].longest_line == 999
    decoder = ChunkDecoder(max_line=30)
    content = data[:-3]
    for at in range(0, len(content), step or len(content)):
        decoder.feed(content[at : at + (step or len(content))])
    decoder.finish()
    assert decoder.longest_line == 32
    assert decoder.line_too_long
    assert not ChunkDecoder().line_too_long


def test_content_is_stuffed_and_ended() -> None:
    for content, wire in (
        (b"", b".\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.b\r\n", b"a\r\n..b\r\n.\r\n"),
        (b"a\n.\n", b"a\n.\n\r\n.\r\n"),
    ):
        for step in (1, 2, 3, 99):
            stuffer = DotStuffer()
            out = b"".join(stuffer.feed(content[at : at + step]) for at in range(0, len(content), step))
            assert out + stuffer.feed(b"") + stuffer.finish() == wire
