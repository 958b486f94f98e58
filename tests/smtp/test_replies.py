"""Replies as a server sends them."""

from __future__ import annotations

import pytest

from relayd.mail.reply import Reply
from relayd.smtp.replies import MAX_LINE, MAX_REPLY, ProtocolError, ReplyParser


def test_several_replies_come_out_of_one_read() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250 2.1.0 ok\r\n250-2.1.5 one\r\n250 2.1.5 two\r\n354 go") == [
        Reply(250, "2.1.0", "ok"),
        Reply(250, "2.1.5", "one\ntwo"),
    ]
    assert not parser.is_idle
    assert parser.feed(b" on\r\n") == [Reply(354, "", "go on")]
    assert parser.is_idle


def test_an_open_reply_is_not_idle() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250-a\r\n") == []
    assert not parser.is_idle


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"250\r\n", Reply(250, "", "")),
        (b"250 \r\n", Reply(250, "", "")),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1", "")),
        (b"550 5.1.1000 x\r\n", Reply(550, "", "5.1.1000 x")),
        (b"550-5.1.1 a\r\n550 b\r\n", Reply(550, "5.1.1", "a\nb")),
        (b"550-a\r\n550 5.1.1 b\r\n", Reply(550, "", "a\n5.1.1 b")),
        (b"451 4.7.1 \xe9\r\n", Reply(451, "4.7.1", "\ufffd")),
        (b"250 lf\n", Reply(250, "", "lf")),
    ],
)
def test_forms_of_replies(wire: bytes, reply: Reply) -> None:
    assert ReplyParser().feed(wire) == [reply]


def test_the_enhanced_code_stays_where_it_was_not_announced() -> None:
    assert ReplyParser(enhanced=False).feed(b"250 2.1.0 ok\r\n") == [Reply(250, "", "2.1.0 ok")]


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250+x\r\n",
        b"250-a\r\n251 b\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"x" * (MAX_LINE + 1),
        (b"250-" + b"x" * 1000 + b"\r\n") * (MAX_REPLY // 1000 + 1),
    ],
)
def test_what_is_no_reply_is_an_error(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyParser().feed(wire)
