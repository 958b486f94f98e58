"""Whatever mail is, scoring it raises nothing, and says the same of it twice."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from relayd.events.event import EventStream, Span
from relayd.options import OptionError
from relayd.reception.geo_files import open_files
from relayd.reception.origins import Origins
from relayd.resolver.zone import Zone
from relayd.spam.facts import Facts
from relayd.spam.geo_options import GeoOptions
from relayd.spam.html import read_page
from relayd.spam.mailbox import MAX_MAILBOXES, read_mailboxes
from relayd.spam.message import MAX_DEPTH, MAX_PARTS, read
from relayd.spam.tag import MAX_EVIDENCE
from relayd.spam.url import find_urls, parse_url
from tests.rig.mmdb import ASN, COUNTRY, write_mmdb
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


@lru_cache(maxsize=1)
def _good_file() -> bytes:
    with TemporaryDirectory() as directory:
        records = {"198.51.100.0/24": ASN | COUNTRY, "2001:db8::/32": ASN, "0.0.0.0/2": COUNTRY}
        return write_mmdb(Path(directory) / "any.mmdb", records).read_bytes()


@given(st.data())
def test_a_file_of_networks_however_broken_is_refused_or_costs_what_it_would_have_said(data: st.DataObject) -> None:
    octets = bytearray(_good_file())
    for at in data.draw(st.lists(st.integers(0, len(octets) - 1), min_size=1, max_size=8)):
        octets[at] = data.draw(st.integers(0, 255))
    octets = octets[data.draw(st.sampled_from([0, 0, 0, 7])) :]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "any.mmdb"
        path.write_bytes(octets)
        options = GeoOptions(asn_file=str(path), country_file=str(path))
        try:
            files = open_files(options)
        except OptionError:
            return
    span = Span(EventStream(lambda: 0.0))
    origins = Origins(options, files, lambda: Zone({}), span)
    for address in ("198.51.100.7", "2001:db8::25", "203.0.113.1"):
        found = asyncio.run(origins.of(ip_address(address), span))
        assert 0 <= found.asn < 2**32
        assert len(found.country) in (0, 2)
