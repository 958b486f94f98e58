"""Whatever mail is, scoring it raises nothing, and says the same of it twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.spam.facts import Facts
from relayd.spam.html import read_page
from relayd.spam.mailbox import MAX_MAILBOXES, read_mailboxes
from relayd.spam.message import MAX_DEPTH, MAX_PARTS, read
from relayd.spam.tag import MAX_EVIDENCE
from relayd.spam.url import find_urls, parse_url
from tests.spam.house import scanner

PIECES = st.sampled_from(
    [
        b"From: a@b.example\n", b"Subject: =?utf-8?q?=C3?=\n", b"Content-Type: multipart/mixed; boundary=x\n", b"\n",
        b"--x\n", b"--x--\n", b"Content-Type: text/html\n", b"Content-Transfer-Encoding: base64\n", b"<a href='", b"=?",
        b"http://", b"\xff\xfe", b"\xe6\xbc\xa2", b"\r\n", b"(", b'"', b"<", b">", b"@", b"xn--", b"%00", b"\0",
        b"Content-Type: message/rfc822\n", b"Content-Disposition: attachment; filename*0*=utf-8''%e2\n", b"PK\x03\x04",
        b"Received: from [1.2.3.4] by x\n", b"Date: Tue, 99 Foo 2023\n", b"To: a@b, \"c <d@e>;\n", b"=C3=A4=\n",
    ]
)  # fmt: skip
MAIL = st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=40).map(b"".join)


@given(MAIL, st.text(max_size=30), st.text(max_size=30))
def test_any_octets_are_scanned_and_the_same_twice(content: bytes, helo: str, sender: str) -> None:
    facts = Facts(helo=helo, return_path=sender, recipients=(sender, "b@b.example"))
    found = scanner().scan(content, facts)
    assert found == scanner().scan(content, facts)
    assert len(found.tokens) % 8 == 0
    assert all(len(tag.evidence) <= MAX_EVIDENCE and chr(0) not in tag.evidence for tag in found.tags)


@given(MAIL)
def test_a_view_is_bounded(content: bytes) -> None:
    message = read(content)
    assert 1 <= len(message.parts) <= MAX_PARTS
    assert all(part.depth <= MAX_DEPTH for part in message.parts)


@given(st.text(max_size=200))
def test_links_and_pages_of_any_text(text: str) -> None:
    url = parse_url(text)
    assert url.is_broken or url.host or url.scheme
    again = parse_url(url.normal)
    assert again.host == url.host or url.is_broken or not url.host
    for found in find_urls(text):
        assert found.text
    read_page(text)
    read_page(f"<p {text}><a href='{text}'>{text}")


@given(st.binary(max_size=300))
def test_mailboxes_of_any_octets(value: bytes) -> None:
    found = read_mailboxes(value)
    assert len(found) <= MAX_MAILBOXES
    assert all(not each.domain or each.key.count("@") >= 1 for each in found)
