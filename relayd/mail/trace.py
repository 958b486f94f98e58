"""Trace fields: Received, the date and id of a message (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3), and loop counting."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime

import msgspec

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_UNSAFE_WORD = re.compile(r"[^!#-'*-\[\]-~]")  # what is neither CTL, blank, quote, parenthesis nor backslash
_UNSAFE_ADDRESS = re.compile(r"[\x00-\x1f\x7f-\x9f<>]")


class ReceivedInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a Received field tells.

    helo, client_name, client_address: of the client; address "" on a Unix socket, name "unknown" where DNS has none.
    uid: the client's user on a Unix socket, where it is known.
    hostname: ours.  queue_id.  now: Unix time.  recipient: for the "for" clause, None leaves it out.
    tls: protocol version or None.  authenticated: somebody signed in.  account: named in a comment when not None.
    hide_client: leave the whole from clause out.
    """

    hostname: str
    queue_id: str
    now: float
    helo: str = ""
    client_name: str = "unknown"
    client_address: str = ""
    uid: int | None = None
    lmtp: bool = False
    esmtp: bool = True
    smtputf8: bool = False
    tls: str | None = None
    tls_cipher: str = ""
    authenticated: bool = False
    account: str | None = None
    recipient: str | None = None
    hide_client: bool = False


def with_keyword(info: ReceivedInfo) -> str:
    """The protocol by its registered name: SMTP, ESMTPSA, LMTPS, UTF8SMTPA ..."""
    security = ("S" if info.tls else "") + ("A" if info.authenticated else "")
    if info.lmtp:
        return ("UTF8LMTP" if info.smtputf8 else "LMTP") + security
    if info.smtputf8:
        return "UTF8SMTP" + security
    return "ESMTP" + security if info.esmtp or security else "SMTP"


def received_field(info: ReceivedInfo) -> bytes:
    """The Received field with its CRLF, folded.  Text from the peer can add no field, clause or comment to it."""
    parts = ["Received:"]
    if not info.hide_client:
        parts.append(f" from {_name(info.helo) or 'unknown'} ({_client(info)})\r\n\t")
    else:
        parts.append(" ")
    parts.append(f"by {info.hostname} (relayd) with {with_keyword(info)} id {info.queue_id}")
    if info.tls:
        cipher = f" with cipher {_word(info.tls_cipher)}" if info.tls_cipher else ""
        parts.append(f"\r\n\t(using {_word(info.tls)}{cipher})")
    if info.account is not None:
        parts.append(f"\r\n\t(authenticated as {_word(info.account)})")
    if info.recipient is not None:
        parts.append(f"\r\n\tfor <{_UNSAFE_ADDRESS.sub('?', info.recipient)}>")
    parts.append(f";\r\n\t{rfc5322_date(info.now)}\r\n")
    return "".join(parts).encode("utf-8", "replace")


def _client(info: ReceivedInfo) -> str:
    if not info.client_address:
        return "local" if info.uid is None else f"local, uid {info.uid}"
    return f"{_name(info.client_name) or 'unknown'} [{_literal(info.client_address)}]"


@functools.lru_cache(1024)  # the same few peers, message after message
def _literal(address: str) -> str:
    text = _name(address).strip("[]")
    return f"IPv6:{text}" if ":" in text and not text.lower().startswith("ipv6:") else text


@functools.lru_cache(1024)
def _name(text: str) -> str:
    return _UNSAFE_NAME.sub("?", text[:255])


def _word(text: str) -> str:
    return _UNSAFE_WORD.sub("?", text[:128])


def rfc5322_date(now: float) -> str:
    """Unix time `now` as the date of a header field, in UTC: "Tue, 01 Feb 2022 03:04:05 +0000"."""
    return _date_of_second(int(now // 1))


@functools.lru_cache(16)  # many messages come in one second
def _date_of_second(now: int) -> str:
    at = datetime.fromtimestamp(now, UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d}"
        f" {at.hour:02d}:{at.minute:02d}:{at.second:02d} +0000"
    )


def message_id(snowflake: int, hostname: str) -> str:
    """A Message-ID with its angle brackets."""
    return f"<{snowflake}@{hostname}>"


def count_received(header: bytes, hostname: str) -> tuple[int, int]:
    """(Received fields in a header block, those of them whose by clause names `hostname`)."""
    text = b"\n" + header.lower()
    place = text.find(b"\nreceived")
    if place < 0:
        return 0, 0
    name = hostname.lower().encode("utf-8", "replace")
    may_be_ours = name in text
    total = ours = 0
    while place >= 0:
        begin = place + 9
        following = text.find(b"\nreceived", begin)
        colon = text[begin : begin + 20].lstrip(b" \t")
        if colon[:1] == b":":
            total += 1
            if may_be_ours:
                ours += _is_by(text[begin : following if following >= 0 else len(text)], name)
        place = following
    return total, ours


_FIELD_END = re.compile(rb"\n(?![ \t])")


def _is_by(text: bytes, name: bytes) -> bool:
    """Whether the field at the beginning of `text` has the clause "by name"."""
    end = _FIELD_END.search(text)
    words = (text[: end.start()] if end else text).replace(b"(", b" (").replace(b";", b" ;").split()
    return any(word == b"by" and words[place + 1] == name for place, word in enumerate(words[:-1]))
