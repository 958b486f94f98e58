"""Messages made ready for SMTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.cli.compose import BadMessage, Sender, complete, header_recipients, letter, read_draft

ANN = Sender("ann@a.example", "ann@a.example", "Ann Example")


def done(content: bytes, sender: Sender = ANN) -> bytes:
    return complete(read_draft(content), sender, date="Sat, 21 Nov 2026 05:00:00 +0000", message_id="<1@a.example>")


def test_what_is_missing_is_added_after_what_is_there() -> None:
    assert done(b"Subject: s\n\nbody\n") == (
        b"Subject: s\r\n"
        b"From: Ann Example <ann@a.example>\r\n"
        b"Date: Sat, 21 Nov 2026 05:00:00 +0000\r\n"
        b"Message-ID: <1@a.example>\r\n\r\nbody\r\n"
    )


def test_what_is_there_stays() -> None:
    content = b"FROM: x@y.z\r\nDate : today\r\nmessage-id: <m>\r\n\r\nbody\r\n"
    assert done(content) == content


def test_bcc_is_removed_with_its_continuation() -> None:
    assert b"hidden" not in done(b"Bcc: a@b.c,\n hidden@b.c\nTo: t@b.c\n\nbody")
    assert b"To: undisclosed-recipients:;" in done(b"Bcc: hidden@b.c\n\nbody")


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"no header here\nmore\n", b"\r\n\r\nno header here\r\nmore\r\n"),
        (b"Subject: s\nbody without a blank line\n", b"\r\n\r\nbody without a blank line\r\n"),
        (b"", b"\r\n\r\n"),
        (b"Subject: s\n\na\rb\r\nc", b"\r\n\r\na\r\nb\r\nc\r\n"),
    ],
)
def test_bodies(content: bytes, body: bytes) -> None:
    assert done(content).endswith(body)


def test_the_line_of_a_mailbox_file_is_dropped() -> None:
    assert done(b"From ann Sat Nov 21\nSubject: s\n\nb").startswith(b"Subject: s\r\n")


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"S: s\n\na\n.\nrest\n", b"a\n"),
        (b"S: s\n\na\r\n.\r\nrest\r\n", b"a\n"),
        (b"S: s\n\na\n.", b"a\n"),
        (b"S: s\n\na\n..\nb\n", b"a\n..\nb\n"),
        (b"S: s\n\n.\n", b""),
    ],
)
def test_a_lone_dot_ends_the_message_unless_told_otherwise(content: bytes, kept: bytes) -> None:
    assert read_draft(content, lone_dot_ends=True).body == kept
    assert read_draft(content).body == content.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


@pytest.mark.parametrize("content", [b".\nrest", b"."])
def test_a_message_of_a_lone_dot_is_empty(content: bytes) -> None:
    draft = read_draft(content, lone_dot_ends=True)
    assert (draft.fields, draft.body) == ([], b"")


def test_recipients_of_the_header() -> None:
    draft = read_draft(b'To: A <a@x.y>, "b, c" <b@x.y>\nCc: team: d@x.y, e@x.y;\nBcc: a@x.y,\n f@x.y\n\n')
    assert header_recipients(draft) == ["a@x.y", "b@x.y", "d@x.y", "e@x.y", "f@x.y"]


def test_recipients_of_a_resent_message() -> None:
    draft = read_draft(b"To: a@x.y\nResent-To: b@x.y\nResent-Bcc: c@x.y\n\n")
    assert header_recipients(draft) == ["b@x.y", "c@x.y"]


def test_nobody_is_an_answer_and_nonsense_is_not() -> None:
    assert header_recipients(read_draft(b"To: undisclosed-recipients:;\nCc:\n\n")) == []
    with pytest.raises(BadMessage):
        header_recipients(read_draft(b"To: a@x.y <b@x.y\n\n"))


def test_the_null_sender_still_has_a_from() -> None:
    assert b"From: MAILER-DAEMON@h.example\r\n" in done(b"\nb", Sender("", "MAILER-DAEMON@h.example"))


def test_only_utf8_makes_a_header_international() -> None:
    assert read_draft("Subject: grüße\n\n".encode()).utf8_header
    assert not read_draft("Subject: grüße\n\n".encode("latin-1")).utf8_header
    assert not read_draft("Subject: s\n\ngrüße".encode()).utf8_header


def test_a_letter() -> None:
    draft = letter(ANN, ["b@x.y"], "Grüße\nX-Evil: 1", "text")
    assert draft.values(b"to") == ["b@x.y"]
    assert not draft.has(b"x-evil")
    assert all(raw.isascii() for _, raw in draft.fields)
    assert draft.body == b"text\n"


@given(st.binary())
def test_whatever_comes_in_what_goes_out_has_crlf_only_and_a_header(content: bytes) -> None:
    octets = done(content)
    assert octets.endswith(b"\r\n")
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    assert b"\r\n\r\n" in octets
