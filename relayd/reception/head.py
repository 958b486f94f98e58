"""What is put on top of a message, and what is changed in its header.

From strangers nothing but what the checks found (checks.py), our Received and, when mail is redirected, X-Original-To
goes on top, and every octet below travels unchanged, but for Authentication-Results that claim to be ours.  From
trusted sessions Bcc and Resent-Bcc are taken out, a missing Date and Message-ID put in.
The rewriting table applies to both.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import msgspec

from relayd.mail.header import HeaderBlock, fold
from relayd.mail.pattern import Addresses
from relayd.mail.trace import ReceivedInfo, message_id, received_field, rfc5322_date
from relayd.mailauth.arc_seal import Sealable
from relayd.reception.client import address_text
from relayd.reception.rewriting import HeaderRule, Template
from relayd.reception.transaction import Transaction

_FIRST_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_MESSAGE_ID = re.compile(rb"<[^<>\r\n]{1,996}>")
_BLIND = (b"\nbcc", b"\nresent-bcc")
_BLANKS = (b" ", b"\t")
_CFWS = rb"(?:[ \t]|\r\n[ \t]|\([^()\r\n]{0,200}\))*"
_NO = re.compile(_CFWS + rb"no" + _CFWS + rb"\r\n(?![ \t])")

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_ATOMS = r"[^\s\"(),:;<>@\\\[\]]++"
_ADDRESSES = re.compile(rf"(?:{_QUOTED}|{_ATOMS})@(?:\[[^\]\s]*+\]|{_ATOMS})|{_QUOTED}|{_ATOMS}|\\.|.", re.S)


class Marks(msgspec.Struct, frozen=True):
    """What the checks change of a message.

    fields: to be put on top, above Received.  header: the header block without fields that claim to be ours; None:
    there are none.  sealable: what an ARC seal is made of, but for the header; None: there is to be none.
    """

    fields: bytes = b""
    header: bytes | None = None
    sealable: Sealable | None = None


NO_MARKS = Marks()


class Head(msgspec.Struct, frozen=True):
    """octets: what the message begins with.  replaces: so many octets of the content it stands for.
    message_id: the Message-ID with its angle brackets, "" when there is none.  signed: a DKIM-Signature came with it.
    is_all: it is the whole header with the blank line, and the content is all body.  tls_optional: it says
    `TLS-Required: No` (RFC 8689 §5).
    """

    octets: bytes
    replaces: int
    message_id: str
    signed: bool
    is_all: bool = False
    tls_optional: bool = False


def compose_head(tx: Transaction, header: bytes, now: float, marks: Marks = NO_MARKS) -> Head:
    """The head of a message whose content begins with the header block `header`; now: Unix time."""
    added = [marks.fields, received_field(_received(tx, now))]
    replaced = len(header)
    if marks.header is not None:
        header = marks.header
    if tx.redirected:
        added.append(fold("X-Original-To", ", ".join(tx.redirected)))
    has_text_on_top = tx.trusted and bool(header) and not _FIRST_FIELD.match(header)
    if has_text_on_top:
        header, replaced = b"", 0  # the content is all body: what we put on top must not run into it
    lowered = b"\n" + header.lower()
    place = _value_of(lowered, b"\nmessage-id")
    identity = _identity(header, place) if place >= 0 else ""
    if tx.trusted:
        if _value_of(lowered, b"\ndate") < 0:
            added.append(b"Date: " + rfc5322_date(now).encode() + b"\r\n")
        if place < 0:
            identity = message_id(tx.id, tx.policy.hostname)
            added.append(b"Message-ID: " + identity.encode() + b"\r\n")
    edited = _edited(tx, header, lowered)
    if edited is None and not has_text_on_top:
        edited = marks.header
    if edited is not None:
        added.append(edited)
    if has_text_on_top:
        added.append(b"\r\n")
    signed = _value_of(lowered, b"\ndkim-signature") >= 0
    tls = _value_of(lowered, b"\ntls-required")
    optional = tls >= 0 and _NO.match(lowered, tls + 1) is not None
    return Head(b"".join(added), replaced if edited is not None else 0, identity, signed, has_text_on_top, optional)


def message_id_of(header: bytes) -> str:
    """The Message-ID of a header block with its angle brackets, "" when there is none."""
    place = _value_of(b"\n" + header.lower(), b"\nmessage-id")
    return _identity(header, place) if place >= 0 else ""


def _value_of(lowered: bytes, name: bytes) -> int:
    """Where the value of the first field `name` (with "\\n" in front) begins in the header that `lowered` is, in lower
    case and with "\\n" in front; -1 when there is none.  Plain searches: several times faster than a pattern.
    """
    place = lowered.find(name)
    while place >= 0:
        end = place + len(name)
        while lowered[end : end + 1] in _BLANKS:
            end += 1
        if lowered[end : end + 1] == b":":
            return end  # behind the colon, one less for the "\n" in front
        place = lowered.find(name, end)
    return -1


def _edited(tx: Transaction, header: bytes, lowered: bytes) -> bytes | None:
    """The header block after all edits; None when there are none."""
    policy = tx.policy
    rules = policy.rewrite.header_rules(tx.client, tx.sender, tx.given) if policy.rewrite.headers else []
    remove_blind = tx.trusted and any(_value_of(lowered, name) >= 0 for name in _BLIND)
    if not rules and not remove_blind:
        return None
    block = HeaderBlock.parse(header)
    if remove_blind:
        block.remove(("Bcc", "Resent-Bcc"))
    apply_rules(block, rules)
    return block.encode()


def apply_rules(block: HeaderBlock, rules: list[HeaderRule]) -> None:
    """Edit a header by the rules that match its message, in their order."""
    set_already: set[str] = set()
    for rule in rules:
        for name, template in rule.addresses.items():
            value = block.first(name) if name not in set_already else None
            if value is None:
                continue
            set_already.add(name)
            change = functools.partial(_changed, template, rule.only)
            new = replace_addresses(value.decode("utf-8", "surrogateescape"), change)
            if new is not None:
                block.replace(name, new.encode("utf-8", "surrogateescape"))
        if rule.remove:
            block.remove(rule.remove)
        for name, text in rule.replace:
            if not block.replace(name, text):
                block.append(name, text)
        for name, text in rule.add:
            block.append(name, text)


def _changed(template: Template, only: Addresses | None, address: str) -> str | None:
    return template.apply(address) if only is None or only.matches(address) else None


def replace_addresses(value: str, change: Callable[[str], str | None]) -> str | None:
    """The value of an address field with each address (not in quotes or comments) that `change` gives a new one for
    replaced; None when nothing changes.  Linear in the length of the value.
    """
    parts = []
    depth = 0
    is_changed = False
    for found in _ADDRESSES.finditer(value):
        token = found[0]
        if token == "(":
            depth += 1
        elif token == ")":
            depth = max(0, depth - 1)
        elif not depth and "@" in token and not token.endswith('"'):
            new = change(token)
            if new is not None and new != token:
                token, is_changed = new, True
        parts.append(token)
    return "".join(parts) if is_changed else None


def _identity(header: bytes, place: int) -> str:
    """The Message-ID whose value begins at `place`."""
    found = _MESSAGE_ID.search(header, place, place + 1100)
    end = header.find(b"\n", place)
    while 0 <= end < len(header) - 1 and header[end + 1] in b" \t":
        end = header.find(b"\n", end + 1)
    if found is None or (0 <= end < found.start()):
        return ""
    return found[0].decode("utf-8", "replace")


def _received(tx: Transaction, now: float) -> ReceivedInfo:
    """`for` only with one recipient, so that no recipient learns of another; the one that the client gave."""
    client = tx.client
    knows = client.account is not None or client.role in ("submission", "submit")
    return ReceivedInfo(
        hostname=tx.policy.hostname,
        queue_id=str(tx.id),
        now=now,
        helo=client.helo,
        client_name=client.name,
        client_address="" if client.address is None else address_text(client.address),
        uid=client.uid,
        lmtp=client.protocol == "lmtp",
        esmtp=client.esmtp,
        smtputf8=tx.smtputf8,
        tls=client.tls,
        tls_cipher=client.tls_cipher,
        authenticated=client.account is not None,
        recipient=tx.given[0] if len(tx.given) == 1 else None,
        hide_client=knows and tx.policy.options.received.hide_client,
    )
