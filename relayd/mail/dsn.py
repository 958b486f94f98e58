"""Delivery status notifications: multipart/report messages (RFC 3464, RFC 6522, RFC 3461 §6, RFC 6533, RFC 3834).

Pure: the time, the ids and the boundary come by argument.  What is composed is 7-bit wherever it can be: parts that
hold more are quoted-printable, so only a returned 8-bit message and a return path in UTF-8 ask more of the next hop.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from relayd.mail.header import fold
from relayd.mail.reply import Reply
from relayd.mail.trace import rfc5322_date
from relayd.mail.xtext import XtextError, decode_utf8_addr_xtext, decode_xtext, encode_utf8_addr_xtext

MAX_RETURNED_HEADER = 128 * 1024
"""Octets of the original header that a report returns at most."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")


class Action(Enum):
    """What happened to a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecipient:
    """One recipient of the report.

    status: enhanced code, "" to take that of the reply.  reply: the last one, of the peer or of our own making; None
    when there is none.  remote: name of the peer that gave it, "" when it is ours.  orcpt: as RCPT had it, still
    xtext.  last_attempt, will_retry_until: Unix times or None.  class_, rule: what a failure means and the rule that
    says so (`routing.bounce_class`).  maybe_delivered: when a copy was sent to its last octet and
    the peer was lost before it answered; None: never.
    """

    address: str
    action: Action
    status: str = ""
    reply: Reply | None = None
    remote: str = ""
    orcpt: str | None = None
    last_attempt: float | None = None
    will_retry_until: float | None = None
    class_: str = ""
    rule: str = ""
    maybe_delivered: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DsnRequest:
    """What to report to whom.

    hostname: the reporting MTA.  message_id: of the report, with angle brackets.  boundary: a seed nobody else knows.
    to: the return path of the message.  queue_id, arrival (Unix time), envid (still xtext), original_message_id: of the
    message.  header: its header block.  content: all of it, to return it in full; None returns the header.
    deliver_by: when it was to be delivered (RFC 2852 §5), Unix time.
    international: it was sent with SMTPUTF8, or an address of it needs that (RFC 6533 forms are used).
    """

    hostname: str
    now: float
    message_id: str
    boundary: str
    to: str
    recipients: Sequence[ReportedRecipient]
    queue_id: str = ""
    arrival: float | None = None
    deliver_by: float | None = None
    envid: str | None = None
    original_message_id: str = ""
    header: bytes = b""
    content: bytes | None = None
    international: bool = False


def compose_dsn(request: DsnRequest) -> bytes:
    """The report as a message, CRLF line ends, no line of ours over 998 octets."""
    international = request.international or not all(
        text.isascii() for text in (request.to, *(each.address for each in request.recipients))
    )
    parts = [
        _text_part(request),
        _status_part(request, international),
        _returned_part(request, international),
    ]
    boundary = _boundary(request.boundary, parts)
    delimiter = b"--" + boundary.encode() + b"\r\n"
    body = b"".join(delimiter + part + b"\r\n" for part in parts)
    eight_bit = b"" if body.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"".join(
        (
            _report_header(request),
            b"MIME-Version: 1.0\r\n",
            f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n'.encode(),
            eight_bit,
            b"\r\nThis is a delivery status notification in MIME format.\r\n\r\n",
            body,
            b"--" + boundary.encode() + b"--\r\n",
        )
    )


def status_of(reply: Reply | None, action: Action) -> str:
    """The enhanced status code to report: the reply's where its class is one, else the class of the reply or action."""
    if reply is not None and re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", reply.enhanced, re.A):
        return reply.enhanced
    if reply is not None and reply.code // 100 in (2, 4, 5):
        return f"{reply.code // 100}.0.0"
    return {Action.FAILED: "5.0.0", Action.DELAYED: "4.0.0"}.get(action, "2.0.0")


def split_orcpt(orcpt: str) -> tuple[str, str] | None:
    """(address type in lower case, the address it stands for) of an ORCPT parameter; None when it has not the form."""
    kind, semicolon, address = orcpt.partition(";")
    if not kind or not semicolon or not address:
        return None
    kind = kind.lower()
    try:
        if kind == "utf-8":
            return kind, decode_utf8_addr_xtext(address, unitext=True)
        return kind, decode_xtext(address)
    except XtextError:
        return None


def _boundary(seed: str, parts: list[bytes]) -> str:
    """A boundary from the seed that no part holds."""
    stem = "relayd-" + re.sub(r"[^A-Za-z0-9]", "", seed)[:40]
    boundary, number = stem, 0
    while any(b"--" + boundary.encode() in part for part in parts):
        number += 1
        boundary = f"{stem}-{number}"
    return boundary


_SUBJECTS = {
    frozenset((Action.FAILED,)): "Undelivered mail returned to sender",
    frozenset((Action.DELAYED,)): "Delayed mail (still being retried)",
    frozenset((Action.DELIVERED,)): "Successful mail delivery report",
    frozenset((Action.RELAYED,)): "Mail relayed to a host without delivery reports",
    frozenset((Action.EXPANDED,)): "Mail delivered to a list",
}


def _report_header(request: DsnRequest) -> bytes:
    actions = frozenset(each.action for each in request.recipients)
    fields = [
        ("Date", rfc5322_date(request.now)),
        ("From", f"Mail Delivery System <MAILER-DAEMON@{request.hostname}>"),
        ("To", f"<{request.to}>"),
        ("Subject", _SUBJECTS.get(actions, "Delivery status report")),
        ("Message-ID", request.message_id),
    ]
    if _MESSAGE_ID.fullmatch(request.original_message_id):
        fields += [("In-Reply-To", request.original_message_id), ("References", request.original_message_id)]
    fields.append(("Auto-Submitted", "auto-replied"))  # RFC 3834 §5
    return b"".join(fold(name, value) for name, value in fields)


_SECTIONS = (
    (
        Action.FAILED,
        "Your message could not be delivered to the recipients below, and it will\n"
        "not be tried again. If it must arrive, correct the cause and send it anew.",
    ),
    (
        Action.DELAYED,
        "Your message could not be delivered yet to the recipients below. You need\n"
        "not send it again: delivery is still being tried.",
    ),
    (Action.DELIVERED, "Your message was delivered to the recipients below."),
    (
        Action.RELAYED,
        "Your message was handed on for the recipients below to a mail system that\n"
        "does not report deliveries. You may hear no more of it.",
    ),
    (Action.EXPANDED, "Your message was delivered to the lists below, which send it on."),
)


def _text_part(request: DsnRequest) -> bytes:
    """The part for people: who, what was said, what happens next."""
    paragraphs = [f"This is the mail system at host {request.hostname}."]
    for action, explanation in _SECTIONS:
        of_action = [each for each in request.recipients if each.action is action]
        if of_action:
            paragraphs.append(explanation)
            paragraphs += [_for_people(each) for each in of_action]
    about = []
    if request.arrival is not None:
        about.append(f"Received here: {rfc5322_date(request.arrival)}")
    if request.deliver_by is not None:
        about.append(f"To be delivered by: {rfc5322_date(request.deliver_by)}")
    if request.original_message_id:
        about.append(f"Message-ID: {_printable(request.original_message_id)[:300]}")
    if request.queue_id:
        about.append(f"Queue id: {request.queue_id}")
    if about:
        paragraphs.append("About the message:\n" + "\n".join(f"  {line}" for line in about))
    text = "\n\n".join(paragraphs) + "\n"
    content = text.replace("\n", "\r\n").encode("utf-8", "replace")
    return _part("text/plain", content, charset=True)


def _for_people(recipient: ReportedRecipient) -> str:
    lines = [f"<{_printable(recipient.address)}>"]
    kept = split_orcpt(recipient.orcpt) if recipient.orcpt else None
    if kept is not None and kept[1] != recipient.address:
        lines[0] += f" (you wrote to {_printable(kept[1])})"
    if recipient.reply is not None:
        said = f"Host {_printable(recipient.remote)} said" if recipient.remote else "Reason"
        lines.append(f"  {said}: {_said(recipient.reply, recipient.remote)}")
    if recipient.action is Action.DELAYED and recipient.will_retry_until is not None:
        lines.append(f"  Delivery is tried until {rfc5322_date(recipient.will_retry_until)}.")
    if recipient.maybe_delivered is not None and recipient.action in (Action.FAILED, Action.DELAYED):
        lines.append(
            "  A copy may have arrived all the same: on "
            f"{rfc5322_date(recipient.maybe_delivered)}\n"
            "  the whole message was sent, and the connection was lost before the host\n"
            "  said whether it took it."
        )
    return "\n".join(lines)


def _said(reply: Reply, remote: str) -> str:
    text = _printable(reply.text.replace("\n", " "))[:2000]
    return " ".join(word for word in (str(reply.code), reply.enhanced, text) if word) if remote else text


def _status_part(request: DsnRequest, international: bool) -> bytes:
    """message/delivery-status, or message/global-delivery-status (RFC 6533 §4)."""
    fields = []
    if request.envid:
        try:
            fields.append(fold("Original-Envelope-Id", _printable(decode_xtext(request.envid))))
        except XtextError:
            fields.append(fold("Original-Envelope-Id", _printable(request.envid)))
    fields.append(fold("Reporting-MTA", f"dns; {request.hostname}"))
    if request.arrival is not None:
        fields.append(fold("Arrival-Date", rfc5322_date(request.arrival)))
    if request.deliver_by is not None:
        fields.append(fold("Deliver-By-Date", rfc5322_date(request.deliver_by)))
    groups = [b"".join(fields)]
    groups += [_recipient_fields(each, international) for each in request.recipients]
    kind = "message/global-delivery-status" if international else "message/delivery-status"
    return _part(kind, b"\r\n".join(groups))


def _recipient_fields(recipient: ReportedRecipient, international: bool) -> bytes:
    fields = []
    original = split_orcpt(recipient.orcpt) if recipient.orcpt else None
    if original is not None:
        fields.append(fold("Original-Recipient", _typed(original[0], original[1], international)))
    kind = "rfc822" if recipient.address.isascii() else "utf-8"
    fields.append(fold("Final-Recipient", _typed(kind, recipient.address, international)))
    fields.append(fold("Action", recipient.action.value))
    fields.append(fold("Status", recipient.status or status_of(recipient.reply, recipient.action)))
    if recipient.remote:
        fields.append(fold("Remote-MTA", f"dns; {_printable(recipient.remote)}"))
    if recipient.reply is not None and recipient.action is not Action.DELIVERED:
        kind = "smtp" if recipient.remote else "x-relayd"
        text = _said(recipient.reply, "-")
        fields.append(fold("Diagnostic-Code", f"{kind}; {text if international else _ascii(text)}"))
    if recipient.last_attempt is not None:
        fields.append(fold("Last-Attempt-Date", rfc5322_date(recipient.last_attempt)))
    if recipient.will_retry_until is not None and recipient.action is Action.DELAYED:
        fields.append(fold("Will-Retry-Until", rfc5322_date(recipient.will_retry_until)))
    if recipient.class_:
        fields.append(fold("X-Relayd-Class", recipient.class_ + (f"; rule={recipient.rule}" if recipient.rule else "")))
    if recipient.maybe_delivered is not None and recipient.action in (Action.FAILED, Action.DELAYED):
        fields.append(fold("X-Relayd-Maybe-Delivered", rfc5322_date(recipient.maybe_delivered)))
    return b"".join(fields)


def _typed(kind: str, address: str, international: bool) -> str:
    """A typed address; type utf-8 has its 7-bit form outside message/global-delivery-status (RFC 6533 §3)."""
    address = _printable(address)
    if kind == "utf-8" and not international:
        address = encode_utf8_addr_xtext(address)
    return f"{kind};{address}"


def _returned_part(request: DsnRequest, international: bool) -> bytes:
    """The message, or its header."""
    if request.content is not None:
        header_is_ascii = request.header.isascii()
        if international and not header_is_ascii:
            return _part("message/global", request.content)
        encoding = b"" if request.content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
        return b"Content-Type: message/rfc822\r\n" + encoding + b"\r\n" + request.content
    header = request.header
    if len(header) > MAX_RETURNED_HEADER:
        header = header[: header.rfind(b"\r\n", 0, MAX_RETURNED_HEADER) + 2]
    if international and not header.isascii():
        return _part("message/global-headers", header)
    return _part("text/rfc822-headers", header, charset=not header.isascii())


def _part(kind: str, content: bytes, *, charset: bool = False) -> bytes:
    """A part that is 7-bit with short lines, quoted-printable where its content is not."""
    header = f"Content-Type: {kind}"
    if charset:
        header += f"; charset={_charset(content)}"
    if not content.isascii() or any(len(line) > 998 for line in content.split(b"\r\n")):
        header += "\r\nContent-Transfer-Encoding: quoted-printable"
        content = binascii.b2a_qp(b"\r\n" + content, istext=True)[2:]
    return header.encode() + b"\r\n\r\n" + content


def _charset(content: bytes) -> str:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "unknown-8bit"  # RFC 1428
    return "us-ascii" if content.isascii() else "utf-8"


def _printable(text: str) -> str:
    return _CONTROLS.sub(" ", text)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
