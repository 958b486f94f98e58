"""Commands, addresses, headers, content: taken or refused with the documented error, whatever comes."""

from __future__ import annotations

import email
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mail.address import (
    AddressError,
    a_label,
    literal_address,
    parse_address,
    parse_forward_path,
    parse_reverse_path,
    quote_local,
    routed_elsewhere,
    same_mailbox,
    split_address,
    unquote_local,
)
from relayd.mail.content import ContentScanner, scan
from relayd.mail.dsn import Action, DsnRequest, ReportedRecipient, compose_dsn
from relayd.mail.header import HeaderBlock, field_names, fold, split_message
from relayd.mail.reply import Reply
from relayd.mail.structure import TooComplex, walk
from relayd.mail.trace import ReceivedInfo, count_received, received_field
from relayd.mail.transcode import shorten_lines_bytes, to_seven_bit_bytes
from relayd.mail.xtext import (
    XtextError,
    decode_utf8_addr_xtext,
    decode_xtext,
    encode_utf8_addr_xtext,
    encode_xtext,
)
from relayd.smtp.command import SyntaxRefused, parse_command, parse_mail, parse_rcpt
from relayd.smtp.extension import Extensions, PeerExtensions
from tests.fuzz.counting import steps

WORDS = """
< > @ . " \\ a b.example FROM: TO: é [ ] IPv6: ::1 192.0.2.1 SIZE= BODY= 8BITMIME SMTPUTF8 NOTIFY= NEVER , ORCPT=
rfc822; utf-8; +2B \\x{E9} RET= FULL ENVID= AUTH= = : % ! xn-- - 1
"""
TOKENS = st.lists(st.sampled_from([*WORDS.split(), "\u0308", " ", "\t", "\0", "\r", "\n"]), max_size=14).map("".join)
EVERYTHING = Extensions(
    starttls=True, auth=("PLAIN",), dsn=True, vrfy=True, future_release=604800, deliver_by=True, mt_priority=True
)


@given(TOKENS, st.booleans())
def test_paths_are_taken_or_refused(text: str, smtputf8: bool) -> None:
    for parse in (parse_reverse_path, parse_forward_path):
        for path in (text, f"<{text}>"):
            try:
                address = parse(path, smtputf8)
            except AddressError:
                continue
            check_taken(address, smtputf8)


def check_taken(address: str, smtputf8: bool) -> None:
    """What was taken is stable, short and has no control characters."""
    assert len(address.encode()) <= 254
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in address)
    assert smtputf8 or address.isascii()
    routed_elsewhere(address)
    local, domain = split_address(address)
    if domain:
        assert parse_address(address, smtputf8=smtputf8) == address
        assert literal_address(domain) is not None or a_label(domain).isascii()
        assert same_mailbox(address, f"{quote_local(unquote_local(local))}@{domain.upper()}")


def taken_or_refused(octets: bytes) -> Reply | None:
    """The reply that refuses the line, None when it is taken."""
    try:
        verb, argument = parse_command(octets)
        assert verb.isalpha()
        if verb == "MAIL":
            check_taken(parse_mail(argument, EVERYTHING).return_path, True)
        elif verb == "RCPT":
            check_taken(parse_rcpt(argument, EVERYTHING, True).address, True)
    except SyntaxRefused as refused:
        return refused.reply
    return None


@given(st.one_of(TOKENS.map(lambda text: text.encode()), st.binary(max_size=80)))
def test_command_lines_are_taken_or_refused(line: bytes) -> None:
    for octets in (line, b"MAIL " + line, b"RCPT " + line, b"MAIL FROM:<a@b> " + line, b"RCPT TO:<a@b> " + line):
        reply = taken_or_refused(octets)
        if reply is not None:
            assert reply.is_permanent
            assert reply.enhanced.startswith("5.")
            assert reply.encode().isascii()
            assert reply.encode().count(b"\r\n") == 1


@given(
    st.sampled_from(("HOLDFOR", "HOLDUNTIL", "BY", "MT-PRIORITY")),
    st.one_of(
        st.text("0123456789+-;:TZNRtznr.", max_size=30),
        st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"),
    ),
)
def test_times_and_priorities_are_taken_or_refused(keyword: str, value: str) -> None:
    try:
        command = parse_mail(f"FROM:<a@b.example> {keyword}={value}", EVERYTHING)
    except SyntaxRefused:
        return
    assert -9 <= command.priority <= 9
    assert command.hold_for is None or 0 <= command.hold_for <= 604800
    assert command.hold_until is None or math.isfinite(command.hold_until)
    assert command.by is None or abs(command.by.seconds) < 10**9


@given(TOKENS)
def test_the_short_road_of_mail_and_rcpt_ends_where_the_long_one_does(text: str) -> None:
    """A blank before FROM or TO is enough to leave the short road."""
    for parameters in (f"<{text}>", f"<{text}> SIZE=7", f"<a@b.example> {text}"):
        short, long = (answer(f"{blank}FROM:{parameters}", f"{blank}TO:{parameters}") for blank in ("", " "))
        assert short == long


def answer(mail: str, rcpt: str) -> list[object]:
    found: list[object] = []
    for work in (lambda: parse_mail(mail, EVERYTHING), lambda: parse_rcpt(rcpt, EVERYTHING, False)):
        try:
            found.append(work())
        except SyntaxRefused as refused:
            found.append(refused.reply)
    return found


@given(st.text(max_size=60))
def test_xtext_goes_there_and_back(text: str) -> None:
    if text.isascii():
        encoded = encode_xtext(text)
        assert decode_xtext(encoded) == text
        assert encoded.isprintable()
    if text:
        seven_bit = encode_utf8_addr_xtext(text)
        assert seven_bit.isascii()
        assert decode_utf8_addr_xtext(seven_bit) == text
    for decode in (decode_xtext, decode_utf8_addr_xtext):
        try:
            decode(text)
        except XtextError:
            continue


@given(st.lists(st.text(max_size=40), max_size=8))
def test_any_offer_can_be_read(lines: list[str]) -> None:
    PeerExtensions.parse(lines)


HEADERS = st.lists(
    st.sampled_from(
        [b"A", b"Subject", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"\xff", b"value", b"Received: by h;", b"\0"]
    ),
    max_size=24,
).map(b"".join)


@given(HEADERS)
def test_a_header_block_is_kept_octet_by_octet(octets: bytes) -> None:
    block = HeaderBlock.parse(octets)
    assert block.encode() == octets
    header, rest = split_message(octets)
    assert header + rest == octets
    field_names(octets)
    count_received(octets, "h")
    others = [field.raw for field in block.fields if field.name.lower() != "subject"]
    block.remove(["Subject"])
    assert [field.raw for field in block.fields] == others


@given(st.sampled_from(["X", "Subject", "X-Long-Name"]), st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_a_folded_field_is_one_field(name: str, value: str | bytes) -> None:
    octets = fold(name, value)
    (field,) = HeaderBlock.parse(octets).fields
    assert field.name == name
    assert octets.endswith(b"\r\n")
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert b"\r\n\r\n" not in octets
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@given(st.text(max_size=60), st.text(max_size=60), st.booleans())
def test_a_received_field_is_one_field(one: str, other: str, hide: bool) -> None:
    octets = received_field(
        ReceivedInfo(
            hostname="mx.example.org",
            queue_id="1",
            now=0,
            helo=one,
            client_name=other,
            client_address=one,
            tls=other,
            tls_cipher=one,
            account=other,
            recipient=one,
            hide_client=hide,
        )
    )
    (field,) = HeaderBlock.parse(octets).fields
    assert field.name == "Received"
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n\t") + 1
    assert count_received(octets, "mx.example.org") == (1, 1)


MIME_LINES = """\
Content-Type: multipart/mixed; boundary=x
Content-Type: multipart/mixed; boundary=yy
Content-Type: multipart/signed; boundary=x
Content-Type: message/rfc822
Content-Type: text/plain
Content-Type: application/x
Content-Transfer-Encoding: 8bit
Content-Transfer-Encoding: quoted-printable
Content-Transfer-Encoding: base64
--x
--x--
--yy
--yy--
café
text\x20
.
=E9=
=
"""
MIME = st.lists(
    st.sampled_from(
        [b"\r\n", b"\xff" * 30, b"w" * 1200, b"QUJD", *(line.encode() + b"\r\n" for line in MIME_LINES.splitlines())]
    ),
    max_size=16,
).map(b"".join)


def decoded_leaves(content: bytes) -> list[bytes]:
    return [
        part.get_payload(decode=True).rstrip(b"\r\n")  # type: ignore[union-attr]
        for part in email.message_from_bytes(content).walk()
        if not part.is_multipart()
    ]


@given(MIME, st.booleans())
def test_re_encoding_changes_nothing_that_is_said(content: bytes, in_multipart: bool) -> None:
    if in_multipart:
        content = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" + content
    seven_bit = to_seven_bit_bytes(content)
    if seven_bit is not None:
        assert seven_bit.isascii()
        assert to_seven_bit_bytes(seven_bit) == seven_bit
    short = shorten_lines_bytes(content)
    if short is not None:
        assert shorten_lines_bytes(short) == short
    if content.isascii():
        assert seven_bit in (content, None) or b"8bit" in content


@given(st.binary(max_size=400), st.sampled_from([b"text/plain", b"application/x"]))
def test_a_part_decodes_to_what_it_was(body: bytes, kind: bytes) -> None:
    """Bare newlines do not get this far."""
    body = body.replace(b"\r", b"").replace(b"\0", b"").replace(b"\n", b"\r\n")
    content = b"Content-Type: " + kind + b"; charset=x\r\n\r\n" + body
    out = to_seven_bit_bytes(content)
    assert out is not None
    (payload,) = decoded_leaves(out)
    assert payload == body.rstrip(b"\r\n")


@given(
    st.lists(st.sampled_from([b"\r\n", b"a", b"\xe9", b"X: y", b"\r\n\r\n", b"long" * 20]), max_size=20),
    st.integers(1, 7),
)
def test_content_facts_do_not_depend_on_how_it_is_cut(parts: list[bytes], step: int) -> None:
    content = b"".join(parts)
    scanner = ContentScanner()
    for at in range(0, len(content), step):
        scanner.feed(content[at : at + step])
    facts = scan(content)
    assert scanner.facts() == facts
    assert facts.eight_bit == (not content.isascii())
    assert facts.longest_line == max(map(len, content.split(b"\r\n")))
    assert facts.header_end == len(split_message(content)[0])
    assert facts.utf8_header == (not split_message(content)[0].isascii())


@given(st.text(max_size=80), st.text(max_size=80), st.binary(max_size=200), st.sampled_from(Action))
def test_a_report_is_well_formed_whatever_was_said(said: str, remote: str, octets: bytes, action: Action) -> None:
    header = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    recipient = ReportedRecipient(
        address="a@b.example", action=action, reply=Reply(550, "5.1.1", said), remote=remote, orcpt=remote
    )
    content = compose_dsn(
        DsnRequest(
            hostname="mx.example.org",
            now=0,
            message_id="<1@mx.example.org>",
            boundary="x",
            to="s@x.example",
            recipients=(recipient,),
            original_message_id=said,
            envid=remote,
            header=header,
        )
    )
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    message = email.message_from_bytes(content)
    payload = message.get_payload()
    assert isinstance(payload, list)
    assert len(payload) == 3


def test_hostile_megabytes_cost_by_their_length() -> None:
    """Twice the input is at most little more than twice the work."""
    hostile = {
        "delimiters": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--c\r\n" * 50_000,
        "blank folds": b"A: b\r\n" + b" \r\n" * 50_000,
        "received": b"Received: by h\r\n" * 10_000,
        "colons": b":" * 200_000,
        "quotes": b'Content-Type: a/b; x="' + b"\\" * 200_000,
        "parameters": b"Content-Type: a/b" + b"; x" * 60_000,
    }
    for name, octets in hostile.items():
        for work in (parse_and_get, lambda content: count_received(content, "h"), walk_or_give_up, scan):
            once, twice = steps(lambda: work(octets)), steps(lambda: work(octets + octets))  # noqa: B023
            assert twice <= 2.2 * once + 200, name


def parse_and_get(content: bytes) -> None:
    block = HeaderBlock.parse(content)
    block.get("A")
    block.replace("A", "b")
    block.encode()


def walk_or_give_up(content: bytes) -> None:
    try:
        walk(io.BytesIO(content))
    except TooComplex:
        return


@pytest.mark.parametrize(
    "argument",
    [
        "FROM:<" + "a." * 500_000 + ">",
        "FROM:<" + '"' * 1_000_000,
        "FROM:<" + '"\\' * 500_000 + ">",
        "FROM:<@" + ",@a" * 300_000 + ":a@b>",
        "FROM:<a@" + "é." * 300_000 + "> SMTPUTF8",
        "FROM:<a@b> " + "A=B " * 250_000,
        "FROM:<a@b> ENVID=" + "+" * 1_000_000,
        "FROM:<a@[IPv6:" + ":" * 1_000_000 + "]>",
        "FROM:<" + "a-" * 500_000 + "@" + "b-" * 500_000 + ">",
        " " * 1_000_000 + "FROM:<a@b>x",
    ],
    ids=range(10),
)
def test_a_hostile_megabyte_of_a_command_is_refused_in_few_steps(argument: str) -> None:
    def refuse() -> None:
        with pytest.raises(SyntaxRefused):
            parse_mail(argument, EVERYTHING)

    assert steps(refuse) < 1000
