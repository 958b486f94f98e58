"""A message that may be a bounce, read: what kind of report it is, about whom, and the words it gives as evidence.

Delivery status notifications (RFC 3464 in RFC 6522 multiparts, RFC 6533), feedback reports (RFC 5965), the
notifications of Amazon SES, and what programs without a standard write.  No judgement is made here: what the words
mean is said by `relayd.routing.bounce_class`.  Pure, bounded, and nothing raises whatever the octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import msgspec

from relayd.mail.bounce_text import Mention, Step, addresses_in, find_mentions, is_daemon, split_returned, step_of
from relayd.mail.delivery_status import StatusRecipient, address_in, read_delivery_status
from relayd.mail.header import HeaderBlock
from relayd.mail.reading import MAX_TEXT, Part, decode_words, read_parts


class BounceKind(Enum):
    """What a message reports."""

    FAILURE = "failure"
    DELAY = "delay"
    SUCCESS = "success"
    FEEDBACK = "feedback"
    AUTO_REPLY = "auto-reply"
    OTHER = "other"
    """No report: mail of a person or a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BouncedRecipient:
    """A recipient of the report with the words about it; what was not said is "".

    original: the address it was sent to, when another.  status: "5.1.1" as the reporter put it.  diagnostic: what the
    peer said.  remote: the peer.  said: the reporter's own lines about this recipient.  step: the refused command.
    """

    address: str
    kind: BounceKind
    original: str = ""
    status: str = ""
    diagnostic: str = ""
    remote: str = ""
    said: str = ""
    step: Step | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """A report as it was read.

    text: what the reporter wrote for people, without the returned message.  reporter: the host that reports.
    feedback_type: "abuse", "opt-out" ... of feedback.  message_id: of the returned message, with angle brackets.
    """

    kind: BounceKind
    recipients: tuple[BouncedRecipient, ...] = ()
    text: str = ""
    subject: str = ""
    reporter: str = ""
    feedback_type: str = ""
    message_id: str = ""


def read_bounce(content: bytes) -> Bounce:
    """Read a message, header and body."""
    parts = read_parts(content)
    letter = _Letter(parts)
    for reading in (_feedback, _status_report, _ses_notice, _automatic_reply, _complaint, _free_text):
        bounce = reading(letter)
        if bounce is not None:
            return bounce
    return Bounce(kind=BounceKind.OTHER, subject=letter.subject)


_HTML_TAG = re.compile(r"<(?![^<>\s@]{1,64}@)[^<>]{0,2000}>")
_MOST_REPORTS = 4
"""Delivery statuses of one message that are read."""
_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_RETURNED_TYPES = ("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers")
_WARNINGS = (
    *("warning message only", "this is a warning only", "has been delayed", "still being retried", "is delayed for"),
    *("temporary failure report", "will be retried", "will continue to retry", "(delay)", "delivery delayed"),
    *("delivery status notification: warning", "could not send message for past", "delayed mail", "not yet been"),
    *("delivery has been delayed", "keep trying", "you do not need to resend"),
    *("delivery attempts will continue", "delivery will continue to be attempted"),
)
_SUBJECTS = (
    *("undeliver", "returned mail", "failure notice", "delivery fail", "delivery status", "delivery notification"),
    *("mail delivery", "failure delivery", "delivery error", "not delivered", "could not be delivered", "mail failure"),
    *("returned to sender", "mail system error", "delivery problem", "nondeliverable", "non-deliverable", "bounce"),
    *("unzustellbar", "non remis", "non recapitabile", "rejected mail", "message not delivered", "loop alert"),
    *(
        "warning: could not send",
        "not member article",
        "trouble delivering",
        "delayed mail",
        "blocked by our",
        "error sending",
        "mail could not",
    ),
)
_BODIES = (
    *("could not be delivered", "couldn't be delivered", "unable to deliver", "was not delivered", "delivery failed"),
    *("wasn't delivered", "undeliverable", "following addresses had", "did not reach the following", "not be deliver"),
    *("could not be reached", "delivery to the following", "transcript of session follows", "mailbox is full:"),
    *("following recipients was rejected", "failure reasons", "duplicated message-id", "can not be delivered"),
    *("had delivery problems", "cannot be delivered", "failed to deliver", "送信できませんでした", "could not deliver"),
    *("not a member of this mailing list", "trouble delivering"),
)
_AUTO_SUBJECTS = (
    *("automatic reply", "auto reply", "auto-reply", "autoreply", "out of office", "out of the office", "vacation"),
    *("automatische antwort", "abwesenheit", "réponse automatique", "respuesta automática", "自動応答", "自動返信"),
    *("risposta automatica", "autosvar", "away from my mail", "auto:", "i am on vacation", "automatisch antwoord"),
)


class _Letter:
    """The parts of a message, sorted for what follows."""

    def __init__(self, parts: list[Part]) -> None:
        self.header = parts[0].header
        own = [part for part in parts[1:] if not part.returned]
        self.status = [part for part in own if part.content_type in _STATUS_TYPES]
        self.feedback = [part for part in own if part.content_type == "message/feedback-report"]
        self.returned = next((_header_of(part) for part in parts[1:] if part.content_type in _RETURNED_TYPES), None)
        plain = [part for part in own if part.content_type == "text/plain"]
        html = [part for part in own if part.content_type == "text/html"]
        words = [part.text for part in plain] or [_HTML_TAG.sub(" ", part.text) for part in html]
        self.text, self.tail = split_returned("\n".join(words)[:MAX_TEXT])
        if self.returned is None:
            self.returned = HeaderBlock.parse("\r\n".join(self.tail.split("\n")[:200]).encode())
        self.subject = decode_words(self.header.first("Subject") or b"").strip()[:500]
        self.senders = addresses_in(decode_words(self.header.first("From") or b""))
        self.strangers = self.senders + [
            address
            for name in ("To", "Reply-To", "Sender", "Return-Path")
            for value in self.header.get(name)[:2]
            for address in addresses_in(decode_words(value))
        ]
        self.failed = addresses_in(
            " ".join(decode_words(value) for value in self.header.get("X-Failed-Recipients")[:100])
        )
        self.message_id = self._returned("Message-ID")
        self.step = step_of(self.text)

    def _returned(self, name: str) -> str:
        value = self.returned.first(name) if self.returned is not None else None
        return decode_words(value)[:998].strip() if value is not None else ""

    @property
    def sent_to(self) -> list[str]:
        """Whom the returned message was sent to, when it was sent to one."""
        for name in ("X-HmXmrOriginalRecipient", "X-Original-To", "Delivered-To", "To", "Cc"):
            addresses = addresses_in(self._returned(name))
            if len(addresses) == 1:
                return addresses
        return []

    def field(self, name: str) -> str:
        """A field of the report's own header, lower case."""
        return decode_words(self.header.first(name) or b"").strip().lower()


def _header_of(part: Part) -> HeaderBlock:
    """The header of a returned message."""
    if part.content_type == "message/rfc822" and part.returned:
        return part.header
    return HeaderBlock.parse(part.body.partition(b"\r\n\r\n")[0][:MAX_TEXT])


def _feedback(letter: _Letter) -> Bounce | None:
    """RFC 5965."""
    if not letter.feedback:
        return None
    fields = HeaderBlock.parse(letter.feedback[0].body.lstrip())
    kind = decode_words(fields.first("Feedback-Type") or b"").strip().lower()[:40]
    named = fields.get("Original-Rcpt-To") or fields.get("Removal-Recipient")
    addresses = list(dict.fromkeys(filter(None, (address_in(decode_words(value)) for value in named[:1000]))))
    return _about(letter, addresses or letter.sent_to or letter.senders[:1], BounceKind.FEEDBACK, kind)


def _about(letter: _Letter, addresses: list[str], kind: BounceKind, feedback_type: str = "") -> Bounce:
    return Bounce(
        kind=kind,
        recipients=tuple(BouncedRecipient(address=address, kind=kind) for address in addresses if address),
        text=letter.text,
        subject=letter.subject,
        feedback_type=feedback_type,
        message_id=letter.message_id,
    )


_ACTIONS = {
    "failed": BounceKind.FAILURE,
    "failure": BounceKind.FAILURE,
    "delayed": BounceKind.DELAY,
    "delivered": BounceKind.SUCCESS,
    "deliverable": BounceKind.SUCCESS,
    "relayed": BounceKind.SUCCESS,
    "expanded": BounceKind.SUCCESS,
}


def _status_report(letter: _Letter) -> Bounce | None:
    """RFC 3464: in parts of its own, or written into the text, or in a report that another one was wrapped around."""
    reporter = ""
    found: dict[str, StatusRecipient] = {}
    texts = [part.text for part in letter.status[:_MOST_REPORTS]] + [letter.text]
    if not letter.status and not letter.failed and not find_mentions(letter.text, letter.strangers, guess=False):
        texts.append(letter.tail)
    for text in texts:
        status = read_delivery_status(text)
        reporter = reporter or status.reporter
        for each in status.recipients:
            if each.action or each.status or each.diagnostic:
                found.setdefault(each.address.lower(), each)
    if not found:
        return None
    strangers = [address for address in letter.strangers if address.lower() not in found]
    mentions = {each.address.lower(): each.section for each in find_mentions(letter.text, strangers)}
    recipients = tuple(_reported(each, mentions, letter) for each in found.values())
    kinds = {each.kind for each in recipients}
    order = (BounceKind.FAILURE, BounceKind.DELAY, BounceKind.SUCCESS)
    return Bounce(
        kind=next(kind for kind in order if kind in kinds),
        recipients=recipients,
        text=letter.text,
        subject=letter.subject,
        reporter=reporter,
        message_id=letter.message_id,
    )


def _reported(status: StatusRecipient, mentions: dict[str, str], letter: _Letter) -> BouncedRecipient:
    kind = _ACTIONS.get(status.action)
    if kind is None:
        kind = BounceKind.SUCCESS if status.status.startswith("2") else BounceKind.FAILURE
    said = mentions.get(status.address.lower(), "") or mentions.get(status.original.lower(), "")
    return BouncedRecipient(
        address=status.address,
        kind=kind,
        original=status.original if status.original.lower() != status.address.lower() else "",
        status=status.status,
        diagnostic=status.diagnostic,
        remote=status.remote,
        said=said,
        step=step_of(status.diagnostic) or step_of(said) or letter.step,
    )


class _SesAddress(msgspec.Struct, rename="camel"):
    email_address: str = ""
    status: str = ""
    diagnostic_code: str = ""


class _SesReport(msgspec.Struct, rename="camel"):
    """The object "bounce", "complaint" or "delivery"; "recipients" of the last are bare addresses."""

    bounced_recipients: list[_SesAddress] = []
    complained_recipients: list[_SesAddress] = []
    recipients: list[str] = []
    smtp_response: str = ""
    complaint_feedback_type: str | None = None


class _SesNotice(msgspec.Struct, rename="camel"):
    notification_type: str = ""
    event_type: str = ""
    bounce: _SesReport | None = None
    complaint: _SesReport | None = None
    delivery: _SesReport | None = None


def _ses_notice(letter: _Letter) -> Bounce | None:
    """The JSON that Amazon SES sends through SNS."""
    text = letter.text.strip()
    if not text.startswith("{") or '"mail"' not in text:
        return None
    text = text.partition("\n--\n")[0].replace("\n", "").replace("\r", "")
    try:
        notice = msgspec.json.decode(text.encode("utf-8", "replace"), type=_SesNotice)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if notice.bounce is not None:
        bounced = tuple(
            BouncedRecipient(
                address=each.email_address,
                kind=BounceKind.FAILURE,
                status=each.status,
                diagnostic=each.diagnostic_code.partition(";")[2].strip() or each.diagnostic_code,
                step=step_of(each.diagnostic_code),
            )
            for each in notice.bounce.bounced_recipients[:1000]
            if each.email_address
        )
        return Bounce(kind=BounceKind.FAILURE, recipients=bounced, subject=letter.subject)
    if notice.complaint is not None:
        complained = [each.email_address for each in notice.complaint.complained_recipients[:1000]]
        kind = notice.complaint.complaint_feedback_type or "abuse"
        return _about(letter, complained, BounceKind.FEEDBACK, kind[:40].lower())
    if notice.delivery is not None:
        return _about(letter, notice.delivery.recipients[:1000], BounceKind.SUCCESS)
    return None


def _automatic_reply(letter: _Letter) -> Bounce | None:
    """RFC 3834: a program of the recipient's answers."""
    if any(is_daemon(address) for address in letter.senders) or letter.failed:
        return None
    subject = letter.subject.lower()
    automatic = (
        letter.field("Auto-Submitted").startswith(("auto-replied", "auto-generated", "auto-notified"))
        or letter.field("Precedence") == "auto_reply"
        or any(name in letter.header for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Reply"))
        or subject.startswith(_AUTO_SUBJECTS)
    )
    if not automatic or "unsubscribe" in subject or any(words in subject for words in _SUBJECTS):
        return None
    return _about(letter, letter.senders[:1], BounceKind.AUTO_REPLY)


def _complaint(letter: _Letter) -> Bounce | None:
    """Feedback without RFC 5965: Hotmail's, and mail programs that unsubscribe."""
    subject = letter.subject.lower()
    if subject.startswith(("complaint about message from", "abuse report")):
        return _about(letter, letter.sent_to or letter.senders[:1], BounceKind.FEEDBACK, "abuse")
    if subject.startswith("unsubscribe") and letter.field("Auto-Submitted").startswith("auto"):
        return _about(letter, letter.senders[:1], BounceKind.FEEDBACK, "opt-out")
    return None


def _from_daemon(letter: _Letter) -> bool:
    header = letter.header
    return (
        any(is_daemon(address) for address in letter.senders)
        or "mailer-daemon" in letter.field("From")
        or bool(letter.failed)
        or (header.first("Return-Path") or b"").replace(b" ", b"") == b"<>"
    )


def _free_text(letter: _Letter) -> Bounce | None:
    """Everything else that says it is a bounce."""
    subject, text = letter.subject.lower(), letter.text
    words = text.lower()
    signs = (
        _from_daemon(letter)
        + any(sign in subject for sign in _SUBJECTS)
        + any(sign in words for sign in _BODIES)
        + bool(letter.status)
    )
    if not signs:
        return None
    mentions = find_mentions(text, letter.strangers)
    sections = {each.address.lower(): each.section for each in mentions}
    if letter.failed:
        only = mentions[0].section if len(mentions) == len(letter.failed) == 1 else ""
        mentions = [Mention(address, sections.get(address.lower(), only)) for address in letter.failed]
    if not mentions:
        mentions = [Mention(address, "") for address in letter.sent_to] or find_mentions(text, letter.senders)
    if not mentions or (signs == 1 and not _from_daemon(letter) and not words.strip()):
        return None
    warned = any(sign in words or sign in subject for sign in _WARNINGS)
    kind = BounceKind.DELAY if warned and "giving up" not in words else BounceKind.FAILURE
    recipients = tuple(
        BouncedRecipient(address=each.address, kind=kind, said=each.section, step=step_of(each.section) or letter.step)
        for each in mentions
    )
    return Bounce(kind=kind, recipients=recipients, text=text, subject=letter.subject, message_id=letter.message_id)
