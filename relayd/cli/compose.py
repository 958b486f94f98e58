"""A message as a program or person writes it, made ready for SMTP: CRLF, From, Date, Message-ID, no Bcc.

Pure: the time, the names and the message's id come in by argument.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:", re.ASCII)
_MBOX = re.compile(rb">?From [^\r\n]*\n")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)')
_RECIPIENT_FIELDS = (b"to", b"cc", b"bcc")
_REMOVED = (b"bcc", b"resent-bcc")


class BadMessage(ValueError):
    """The message cannot be sent as it is; the text says why."""


@dataclass
class Draft:
    """A message in parts.  fields: (lower-case name, raw lines with LF); body: with LF, without the blank line."""

    fields: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, *names: bytes) -> list[str]:
        """The unfolded values of all fields of these names."""
        found = []
        for name, raw in self.fields:
            if name in names:
                value = raw.partition(b":")[2].replace(b"\n", b" ")
                found.append(value.decode("utf-8", "surrogateescape").strip())
        return found

    def has(self, name: bytes) -> bool:
        """Whether a field of this name is there."""
        return any(each == name for each, _ in self.fields)

    @property
    def utf8_header(self) -> bool:
        """Whether the header holds text that only SMTPUTF8 may carry: not ASCII, and UTF-8."""
        header = b"".join(raw for _, raw in self.fields)
        if header.isascii():
            return False
        try:
            header.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True


def read_draft(content: bytes, *, lone_dot_ends: bool = False) -> Draft:
    """The message in `content`, whatever its line ends.

    lone_dot_ends: a line of one dot ends it (sendmail without -i).  A first line "From " of a mailbox file is dropped.
    Text that does not begin with a header field is all body.
    """
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if lone_dot_ends:
        end = 0 if text.startswith(b".\n") or text == b"." else text.find(b"\n.\n") + 1
        if end or text.startswith(b".\n") or text == b".":
            text = text[:end]
        elif text.endswith(b"\n."):
            text = text[:-1]
    mailbox_line = _MBOX.match(text)
    if mailbox_line:
        text = text[mailbox_line.end() :]
    fields: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(text):
        end = text.find(b"\n", at) + 1 or len(text)
        line = text[at:end]
        if line == b"\n":
            at = end
            break
        field = _FIELD.match(line)
        if field:
            fields.append((field[1].lower(), _ended(line)))
        elif line[:1] in b" \t" and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + _ended(line))
        else:  # the body begins without a blank line
            break
        at = end
    return Draft(fields, text[at:])


def header_recipients(draft: Draft) -> list[str]:
    """The addresses of To, Cc and Bcc; of Resent-To, Resent-Cc, Resent-Bcc when the message is resent.

    Raises BadMessage for a list that cannot be read.
    """
    from email.utils import getaddresses

    resent = any(name.startswith(b"resent-") for name, _ in draft.fields)
    names = tuple((b"resent-" if resent else b"") + name for name in _RECIPIENT_FIELDS)
    found: dict[str, None] = {}
    for value in draft.values(*names):
        if not value or re.fullmatch(r'[^:"<>@]*:\s*;', value):  # "undisclosed-recipients:;"
            continue
        addresses = [address for _, address in getaddresses([value])]
        plain = _QUOTED.sub("", value)  # not every Python's getaddresses is strict about what it cannot read
        if not all(addresses) or plain.count("<") != plain.count(">"):
            raise BadMessage(f"cannot read the addresses of: {value}")
        found.update(dict.fromkeys(addresses))
    return list(found)


@dataclass(frozen=True)
class Sender:
    """Who sends: the envelope's address ("" for a bounce), the address of a missing From, and the full name."""

    envelope: str
    address: str
    full_name: str = ""


def complete(draft: Draft, sender: Sender, *, date: str, message_id: str) -> bytes:
    """The octets to send, with CRLF: From, Date and Message-ID added where missing, Bcc removed.

    date: RFC 5322.  message_id: with its angle brackets.
    """
    prefix = b"resent-" if any(name.startswith(b"resent-") for name, _ in draft.fields) else b""
    added: list[bytes] = []
    if not draft.has(b"from") or (prefix and not draft.has(b"resent-from")):
        name = "Resent-From" if draft.has(b"from") else "From"
        added.append(f"{name}: {_mailbox(sender.address, sender.full_name)}\n".encode())
    if not draft.has(b"date"):
        added.append(f"Date: {date}\n".encode())
    if not draft.has(b"message-id"):
        added.append(f"Message-ID: {message_id}\n".encode())
    kept = [raw for name, raw in draft.fields if name not in _REMOVED]
    if not any(name in (b"to", b"cc") for name, _ in draft.fields) and draft.has(b"bcc"):
        added.append(b"To: undisclosed-recipients:;\n")
    text = b"".join([*kept, *added, b"\n", draft.body])
    return _ended(text).replace(b"\n", b"\r\n")


def letter(sender: Sender, recipients: Sequence[str], subject: str, body: str) -> Draft:
    """A new message from its parts; text that is not ASCII is encoded (RFC 2047, MIME)."""
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"] = _mailbox(sender.address, sender.full_name)
    message["To"] = ", ".join(recipients)
    message["Subject"] = " ".join(subject.split())
    message.set_content(body if body.endswith("\n") else body + "\n")
    return read_draft(message.as_bytes())


def _mailbox(address: str, full_name: str) -> str:
    if not full_name:
        return address
    from email.utils import formataddr

    return formataddr((" ".join(full_name.split()), address)) if address.isascii() else f'"{full_name}" <{address}>'


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"
