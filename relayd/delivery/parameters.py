"""MAIL and RCPT lines with the parameters that the peer offers (RFC 1870, 3461, 2852, 6152, 6531, 6710, 8689)."""

from __future__ import annotations

import math
import re

from relayd.mail.envelope import Notify
from relayd.mail.terms import NO_TERMS, Terms
from relayd.queue.message import Message, Recipient
from relayd.routing.next_hop import MessageTls
from relayd.smtp.extension import PeerExtensions

_LONGEST_BY = 999_999_999
_NOTIFY_ORDER = (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class UnsafeAddress(ValueError):
    """An address holds control characters: it would end the command line."""


def mail_line(
    message: Message, offered: PeerExtensions, *, size: int, eight_bit: bool, smtputf8: bool, now: float
) -> bytes:
    """MAIL FROM with SIZE, BODY, SMTPUTF8, REQUIRETLS, RET, ENVID, BY and MT-PRIORITY, as far as they are offered and
    mean something.

    eight_bit: the content as it will be sent holds octets over 127.  now: Unix seconds.
    """
    line = f"MAIL FROM:<{message.return_path}>"
    if offered.size is not None:
        line += f" SIZE={size}"
    if eight_bit and offered.eightbitmime:
        line += " BODY=8BITMIME"
    if smtputf8 and offered.smtputf8:
        line += " SMTPUTF8"
    if message.tls is MessageTls.REQUIRED and "REQUIRETLS" in offered.keywords:
        line += " REQUIRETLS"
    if offered.dsn:
        if message.ret is not None:
            line += f" RET={message.ret}"
        if message.envid is not None:
            line += f" ENVID={message.envid}"
    if message.terms is not NO_TERMS:
        line += _urgency(message.terms, offered, now)
    return _encoded(line)


def _urgency(terms: Terms, offered: PeerExtensions, now: float) -> str:
    """BY with the seconds that are left (RFC 2852 §4.2), and MT-PRIORITY (RFC 6710 §5)."""
    line = ""
    if terms.by is not None and "DELIVERBY" in offered.keywords:
        left = max(-_LONGEST_BY, min(_LONGEST_BY, math.floor(terms.by - now)))
        mode = ("R" if terms.returns else "N") + ("T" if terms.traces else "")
        line += f" BY={max(left, 1) if terms.returns else left};{mode}"
    if terms.priority and "MT-PRIORITY" in offered.keywords:
        line += f" MT-PRIORITY={terms.priority}"
    return line


def why_not_by(terms: Terms, offered: PeerExtensions, now: float) -> str:
    """Why mail that is to be returned when it is late may not be relayed to a peer (RFC 2852 §4.2); "": it may.

    The peer must promise the time too, and not ask for more of it than is left.
    """
    least = offered.keywords.get("DELIVERBY")
    if terms.by is None:
        return ""
    if least is None:
        return "the message is to be returned when it is late, and DELIVERBY is not offered"
    left = math.floor(terms.by - now)
    if least.isascii() and least.isdigit() and len(least) <= 9 and int(least) > left:
        return f"the message is to be returned after {left} seconds, the host takes no less than {least}"
    return ""


def rcpt_line(recipient: Recipient, offered: PeerExtensions) -> bytes:
    """RCPT TO, with NOTIFY and ORCPT where DSN is offered."""
    line = f"RCPT TO:<{recipient.address}>"
    if offered.dsn:
        if recipient.notify:
            line += " NOTIFY=" + ",".join(each.value for each in _NOTIFY_ORDER if each in recipient.notify)
        if recipient.orcpt is not None:
            line += f" ORCPT={recipient.orcpt}"
    return _encoded(line)


def asked_tls(message: Message) -> MessageTls:
    """What a message asks of TLS, the null return path taken into account."""
    return MessageTls.REPORT if message.tls is MessageTls.REQUIRED and not message.return_path else message.tls


def message_needs_smtputf8(message: Message) -> bool:
    """Whether no recipient can have the message without SMTPUTF8: its return path or header is not ASCII.

    A header with 8-bit octets of a message that never claimed SMTPUTF8 is old-fashioned mail: it goes as it came.
    """
    return not message.return_path.isascii() or (message.smtputf8 and message.utf8_header)


def _encoded(line: str) -> bytes:
    if not line.isprintable() and _CONTROL.search(line):  # what else is not printable is a letter of some script
        raise UnsafeAddress(f"control characters in {line!r}")
    return line.encode("utf-8") + b"\r\n"
