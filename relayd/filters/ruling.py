"""What a milter's verdict means for the SMTP session.  Pure."""

from __future__ import annotations

import re

import msgspec

from relayd.events import milter as events
from relayd.events.event import EventKind
from relayd.filters.milter_wire import Code, MilterReply, WireError
from relayd.mail.reply import Reply

_LINE = re.compile(r"([45]\d\d)(?:[ -](?:([245]\.\d{1,3}\.\d{1,3})(?:[ ]|$))?(.*))?", re.S)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_MAX_LINES = 32
_MAX_TEXT = 400

REFUSED = Reply(550, "5.7.1", "Refused by policy")
NOT_NOW = Reply(451, "4.7.1", "Service unavailable, try again later")
SHUT_DOWN = Reply(421, "4.7.0", "Service not available, closing the connection")

_REPLIES = {
    Code.REJECT: (REFUSED, events.ACTION_REJECT),
    Code.TEMPORARY_FAILURE: (NOT_NOW, events.ACTION_TEMP_FAIL),
    Code.CONNECTION_FAILURE: (NOT_NOW, events.ACTION_CONNECTION_FAILURE),
    Code.SHUTDOWN: (SHUT_DOWN, events.ACTION_SHUTDOWN),
}


class Ruling(msgspec.Struct, frozen=True):
    """A verdict that is more than to go on.  kind: its event.  reply: the refusal, None: the message is discarded, or
    the milter wants to see no more (`is_accepted`).
    """

    kind: EventKind
    reply: Reply | None = None
    is_accepted: bool = False


def ruling_of(reply: MilterReply) -> Ruling | None:
    """None: go on.  WireError: a reply code that refuses nothing."""
    if reply.code is Code.ACCEPT:
        return Ruling(events.ACTION_ACCEPT, is_accepted=True)
    if reply.code is Code.DISCARD:
        return Ruling(events.ACTION_DISCARD)
    if reply.code is Code.REPLY_CODE:
        return Ruling(events.ACTION_REPLY_CODE, read_reply_code(reply.data))
    found = _REPLIES.get(reply.code)
    return None if found is None else Ruling(found[1], found[0])


def read_reply_code(data: bytes) -> Reply:
    """The refusal that a milter words itself: "550 5.7.1 text", of several lines too; "%%" is "%".  WireError."""
    text = data.rstrip(b"\0\r\n").decode("utf-8", "replace").replace("%%", "%")
    lines = re.split(r"\r\n|\r|\n", text)[:_MAX_LINES]
    first = _LINE.fullmatch(lines[0])
    if first is None:
        raise WireError("a reply code that refuses nothing")
    code = int(first[1])
    enhanced = first[2] if first[2] and first[2][0] == first[1][0] else f"{first[1][0]}.7.1"
    said = []
    for line in lines:
        found = _LINE.fullmatch(line)
        words = found[3] if found is not None and found[1] == first[1] else line
        said.append(_UNPRINTABLE.sub(" ", words or "").strip()[:_MAX_TEXT])
    return Reply(code, enhanced, "\n".join(said).strip() or REFUSED.text)
