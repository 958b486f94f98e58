"""The public cases of commands, replies, addresses and end-of-data tricks.

Every case answers as the suites' description says, or stands in a table here with its reason.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from relayd.mail.address import AddressError, parse_forward_path
from relayd.mail.reply import Reply
from relayd.smtp.command import SyntaxRefused, parse_command, parse_mail, parse_rcpt
from relayd.smtp.extension import Extensions, PeerExtensions
from relayd.smtp.framing import ChunkDecoder, DataDecoder, DotStuffer
from relayd.smtp.replies import ReplyParser
from tests.rig.peers import require_suite

EVERYTHING = Extensions(starttls=True, auth=("PLAIN", "LOGIN"), dsn=True, vrfy=True, xclient=True)

NOT_OFFERED = ("SOLICIT", "TRANSID", "MTRK", "RRVS", "CONNEG", "CONPERM", "BY", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY")
"""Parameters of extensions that relayd does not offer: 555 5.5.4."""

REFUSED_HERE = {
    "MAIL FROM:<> RET=HDRS RET=FULL": "501 5.5.4",  # a parameter given twice (RFC 5321 §4.1.2)
    "MAIL  FROM : <postmaster>": "501 5.1.7",  # a sender without a domain is for those who are let qualify it
}


def load(name: str) -> Any:
    return json.loads((require_suite("smtp") / name).read_text(encoding="utf-8"))


def answer(line: str) -> str:
    """ "" when the line is taken, else code and enhanced code.  Verbs but MAIL and RCPT: the line as such."""
    try:
        verb, argument = parse_command(line.encode())
        if verb == "MAIL":
            parse_mail(argument, EVERYTHING)
        elif verb == "RCPT":
            parse_rcpt(argument, EVERYTHING, False)
    except SyntaxRefused as refused:
        return f"{refused.reply.code} {refused.reply.enhanced}"
    return ""


def test_paths_and_parameters_answer_as_the_suite_says() -> None:
    seen = 0
    for case in load("commands.json"):
        line: str = case["line"]
        verb = line.split()[0].upper()
        if verb not in ("MAIL", "RCPT"):
            continue
        seen += 1
        if line in REFUSED_HERE:
            assert answer(line) == REFUSED_HERE[line], line
            continue
        if line.startswith("RCPT TO:<> "):
            assert answer("RCPT TO:<>") == answer(line) == "501 5.1.3", line
            line = line.replace("<>", "<a@b.example>")
        foreign = re.search(rf" ({'|'.join(NOT_OFFERED)})\b", line) is not None
        if not case["ok"]:
            assert re.match(r"50[01] 5\.|55[35] 5\.", answer(line)), line
        elif foreign:
            assert answer(line) == "555 5.5.4", line
        else:
            assert answer(line) == "", line
    assert seen > 40


def test_other_verbs_are_command_lines() -> None:
    """What their arguments are worth is the listener's to say; the line must reach it whole."""
    for case in load("commands.json"):
        line: str = case["line"]
        if line == "DATA_":
            assert answer(line) == "500 5.5.2"
        elif line.split()[0].upper() not in ("MAIL", "RCPT"):
            assert parse_command(line.encode()) == (line.split()[0].upper(), line.partition(" ")[2]), line


def test_addresses_that_isemail_calls_wrong_are_refused_and_valid_ones_taken() -> None:
    taken = refused = 0
    for case in load("addresses.json"):
        address = "".join(chr(ord(c) - 0x2400) if 0x2400 <= ord(c) < 0x2420 else c for c in case["address"])
        outcomes = set()
        for smtputf8 in (False, True):
            try:
                parse_forward_path(f"<{address}>", smtputf8)
                outcomes.add("taken")
            except AddressError:
                outcomes.add("refused")
        if case["category"] == "ISEMAIL_ERR":
            assert outcomes == {"refused"}, address
            refused += 1
        elif case["category"] in ("ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321"):
            assert outcomes == {"taken"}, address
            taken += 1
        if "\r" not in address and "\n" not in address and "\0" not in address:
            assert (answer(f"RCPT TO:<{address}>") == "") == ("taken" in outcomes), address
    assert taken > 10
    assert refused > 30


ENHANCED_ODDITIES = {
    "432-6.8.9": "smtp-proto writes more line breaks around lines without a code than the reply had",
}


def test_replies_that_a_client_must_read() -> None:
    for case in load("responses.json")["responses"]:
        wire = re.sub(r"(?<!\r)\n", "\r\n", case["wire"]).encode()
        first: Reply = ReplyParser(enhanced=case["has_esc_flag"]).feed(wire)[0]
        assert first.code == case["code"], wire
        expected = ".".join(map(str, case["esc"]))
        assert first.enhanced == ("" if expected == "0.0.0" else expected), wire
        if any(case["wire"].startswith(start) for start in ENHANCED_ODDITIES):
            assert first.text.split() == case["message"].split(), wire
        else:
            assert first.text == case["message"], wire


def test_offers_that_a_client_must_read() -> None:
    for case in load("responses.json")["ehlo"]:
        (reply,) = ReplyParser(enhanced=False).feed(case["wire"].replace("\n", "\r\n").encode())
        if case["rust"].startswith("Err"):
            assert not reply.is_positive
            continue
        peer = PeerExtensions.parse(reply.text.split("\n"))
        rust: str = case["rust"]
        hostname = re.search(r'hostname: "([^"]*)"', rust)
        assert hostname is not None
        assert peer.hostname == hostname[1]
        for flag, value in (
            ("EXT_8BIT_MIME", peer.eightbitmime),
            ("EXT_CHUNKING", peer.chunking),
            ("EXT_DSN", peer.dsn),
            ("EXT_ENHANCED_STATUS_CODES", peer.enhanced),
            ("EXT_PIPELINING", peer.pipelining),
            ("EXT_SMTP_UTF8", peer.smtputf8),
            ("EXT_START_TLS", peer.starttls),
            ("EXT_SIZE", peer.size is not None),
        ):
            assert value == (flag in rust), flag
        size = re.search(r" size: (\d+)", rust)
        assert size is not None
        assert (peer.size or 0) == int(size[1])
        mechanisms = re.findall(r"AUTH_([A-Z0-9_]+)", rust.split("auth_mechanisms:")[1].split(",")[0])
        assert peer.auth == {name.replace("_", "-") for name in mechanisms}


SECOND = b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<victim@y.example>\r\nDATA\r\nsmuggled\r\n"


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("step", [1, 3, 1 << 16])
def test_no_trick_ends_the_data(normalise: bool, step: int) -> None:
    for name, sequence in load("smuggling.json")["sequences"].items():
        data = b"Subject: x\r\n\r\nbody" + sequence.encode("latin-1") + SECOND + b".\r\n"
        decoder = DataDecoder(normalise=normalise)
        content = b""
        ended_at = None
        for at in range(0, len(data), step):
            octets, rest = decoder.feed(data[at : at + step])
            content += octets
            if rest is not None:
                ended_at = min(at + step, len(data)) - len(rest)
                break
        assert ended_at == len(data), name
        assert (decoder.violation is None) == normalise, name
        chunks = ChunkDecoder(normalise=normalise)
        chunks.feed(data[:-3])
        chunks.finish()
        assert (chunks.violation is None) == normalise, name
        if normalise:
            check_sent_as_one(content, name)


def check_sent_as_one(content: bytes, name: str) -> None:
    """What goes to the next hop holds no bare newline and one end of data, also for one that is lax about them."""
    stuffer = DotStuffer()
    wire = stuffer.feed(content) + stuffer.finish()
    assert wire.count(b"\r\n") == wire.count(b"\n") == wire.count(b"\r"), name
    assert wire.find(b"\r\n.\r\n") == len(wire) - 5, name
    assert not re.search(rb"[\r\n]\.[\r\n]", wire[:-5]), name
    assert b"\0" not in wire, name


def test_dots_are_taken_off_as_the_suite_does() -> None:
    """smtp-proto leaves the CRLF before the final dot off the message; it is the last line's (RFC 5321 §4.1.1.4)."""
    for case in load("smuggling.json")["data_receiver"]:
        decoder = DataDecoder()
        content = b""
        for chunk in case["chunks"]:
            octets, rest = decoder.feed(chunk.encode())
            content += octets
        assert rest == b""
        assert content == case["message"].encode() + b"\r\n"
