"""What programs that know no RFC 3464 write about a failure: whom it concerns and what the peer said.

No format is known by name.  A bounce names the recipient in one of a few ways (at the head of a line, behind a command
or a phrase, in a field), says why below or above it, and then returns the message; what is here looks for those.
Linear in the text, which the caller bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

MAX_RECIPIENTS = 1000
MAX_SECTION = 4096
"""Characters kept of what is said about one recipient."""

_ADDRESS = re.compile(
    r"(?<![\w!#$%&'*+/=?^`{|}~.@-])[\w!#$%&'*+/=?^`{|}~.-]{1,64}+@[\w.-]{1,255}+", re.U
)  # an atom is looked at once: the look-behind lets no search begin within it
_HEAD_LENGTH = 24
_AROUND = 6
"""Characters beside an address on a line that says nothing but the address."""
_NEAR = 200
"""Characters before an address in which a phrase is looked for."""
_HEAD = re.compile(r"[\s>*\"'=-]{0,20}<?$")
_RETURNED = (
    *("below this line is a copy", "this is a copy of", "original message follows", "original message header"),
    *("the header of the original message", "the original message follows", "message headers follow"),
    *("enclosed is a copy", "included is a copy", "unsent message follows", "returned message", "undelivered message"),
    *("below is a copy of the", "original mail as follows", "original mail info", "message header follows"),
    *("original message", "message text follows", "a copy of your message", "header of your message"),
    *("received:", "return-path: <", "x-received:", "dkim-signature:", "content-type: message/rfc822"),
    *("content-type: text/rfc822-headers", "元のメール", "body of original message"),
)
_NOT_YET = ("original message was", "original message is", "original message:")
_DAEMONS = ("mailer-daemon", "postmaster", "mail-daemon", "no-reply", "noreply", "abuse", "double-bounce")
_PHRASES = (
    *("rcpt to", "rcpt:", "recipient", "delivered to", "deliver message to", "deliver to", "undeliverable to"),
    *("your message to", "your mail to", "your mail message to", "message to", "mail to", "attempts:", "is full"),
    *("failed", "not reach", "address", "unknown", "no such user", "delivering to", "delivery to", "error for"),
    *("undeliverable", "rejected", "unable to deliver", "could not be delivered", "relayed to", "sent to"),
    *("member of", "mailbox exceeds", "user disabled", "userid disabled"),
)
_CODE = re.compile(r"\s{0,8}[245][0-9][0-9][ -](?:[245]\.[0-9]{1,3}\.[0-9]{1,3} )?<?$", re.A)


@dataclass(frozen=True, slots=True)
class Mention:
    """A recipient that the text names, and the text about it."""

    address: str
    section: str


class Step(Enum):
    """The command that was answered with the failure."""

    CONNECT = "connect"
    EHLO = "EHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    DOT = "end of data"


_STEPS = (
    (Step.DOT, "end of data"),
    (Step.DOT, "after i sent the message"),
    (Step.DOT, "end-of-data"),
    (Step.DOT, "sending end of data"),
    (Step.DOT, "body of message generated response"),
    (Step.DATA, ">>> data"),
    (Step.DATA, "to data command"),
    (Step.DATA, "after data"),
    (Step.DATA, "[data]"),
    (Step.DATA, "command\ndata"),
    (Step.RCPT, "rcpt to"),
    (Step.RCPT, "rcpt command"),
    (Step.RCPT, "rcpt_to"),
    (Step.RCPT, "does not like recipient"),
    (Step.RCPT, "rejected recipient"),
    (Step.MAIL, ">>> mail from"),
    (Step.MAIL, "after mail from"),
    (Step.MAIL, "to mail from"),
    (Step.MAIL, "like our mail from"),
    (Step.MAIL, "command\nmail from"),
    (Step.MAIL, "mail from command"),
    (Step.MAIL, "mail_from"),
    (Step.MAIL, "does not like sender"),
    (Step.EHLO, "after ehlo"),
    (Step.EHLO, "after helo"),
    (Step.EHLO, ">>> ehlo"),
    (Step.EHLO, ">>> helo"),
    (Step.EHLO, "to ehlo"),
    (Step.EHLO, "to helo"),
    (Step.CONNECT, "initial connection"),
    (Step.CONNECT, "refused to talk to me"),
    (Step.CONNECT, "service unavailable; client"),
)


def step_of(text: str) -> Step | None:
    """The command that the text says was refused: the one it names first; None where it names none."""
    text = text[: 2 * MAX_SECTION].lower()
    found = [(place, step) for step, words in _STEPS if (place := text.find(words)) >= 0]
    return min(found, key=lambda each: each[0])[1] if found else None


def split_returned(text: str) -> tuple[str, str]:
    """(what the reporter wrote, what of the returned message follows it)."""
    lines = text.split("\n")
    written = 0
    for number, line in enumerate(lines):
        plain = line.strip(" \t-=*_~>").lower()
        if plain.startswith(_RETURNED) and not plain.startswith(_NOT_YET) and (written or number > 1):
            return "\n".join(lines[:number]), "\n".join(lines[number:])
        written += bool(plain)
    return text, ""


def addresses_in(text: str) -> list[str]:
    """Addresses of the text in their order, each once."""
    found: dict[str, str] = {}
    for match in _ADDRESS.finditer(text):
        address = match[0].rstrip(".-'").lstrip("'")
        local, _, domain = address.rpartition("@")
        if local and domain.strip("."):
            found.setdefault(address.lower(), address)
        if len(found) >= MAX_RECIPIENTS:
            break
    return list(found.values())


def is_daemon(address: str) -> bool:
    """Whether it is the address of a program or of those who run one."""
    return address.lower().startswith(_DAEMONS)


def find_mentions(text: str, strangers: Iterable[str], *, guess: bool = True) -> list[Mention]:
    """The recipients that the reporter's text names.  strangers: addresses that are none (the report's From and To).

    Those at the head of lines count; without any, those behind a reply code or a phrase; without any and with `guess`,
    all addresses.
    """
    lines = text.split("\n")
    never = frozenset(address.lower() for address in strangers)
    for looks_like in (_at_head, _behind_phrase, _anywhere) if guess else (_at_head, _behind_phrase):
        hits = _hits(lines, looks_like, never)
        if hits:
            return _sections(lines, hits)
    return []


_Hits = dict[str, tuple[str, int]]
_Look = Callable[[list[str], int, re.Match[str]], bool]


def _hits(lines: list[str], looks_like: _Look, never: frozenset[str]) -> _Hits:
    hits: _Hits = {}
    for number, line in enumerate(lines):
        if "@" not in line:
            continue
        for match in _ADDRESS.finditer(line[:2000]):
            address = match[0].rstrip(".-'").lstrip("'")
            key = address.lower()
            if key in hits or key in never or is_daemon(key) or not address.rpartition("@")[2]:
                continue
            if len(hits) < MAX_RECIPIENTS and looks_like(lines, number, match):
                hits[key] = (address, number)
    return hits


def _sections(lines: list[str], hits: _Hits) -> list[Mention]:
    """Each with the lines from its own to the next one's; of those that stand alone in a row, to the last one's end."""
    starts = sorted({number for _, number in hits.values()})
    following = dict(zip(starts, (*starts[1:], len(lines)), strict=True))
    alone = {number for address, number in hits.values() if len(lines[number].strip()) <= len(address) + _AROUND}
    for number, after in zip(reversed(starts[:-1]), reversed(starts[1:]), strict=True):
        if number in alone and not any(line.strip() for line in lines[number + 1 : after]):
            following[number] = following[after]
    return [
        Mention(address, "\n".join(lines[number : min(following[number], number + 40)])[:MAX_SECTION])
        for address, number in hits.values()
    ]


def _at_head(lines: list[str], number: int, match: re.Match[str]) -> bool:
    line = lines[number]
    if match.start() > _HEAD_LENGTH or _HEAD.match(line[: match.start()]) is None:
        return False
    rest = line[match.end() :].lstrip("<>\"'").lstrip()
    return not rest or rest[0] in ":;[(<" or rest.startswith(("on ", "Invalid Address"))


def _behind_phrase(lines: list[str], number: int, match: re.Match[str]) -> bool:
    before = lines[number][max(0, match.start() - _NEAR) : match.start()]
    if _CODE.match(before) is not None:
        return True
    words = before.lower()
    if "from" in words or "contact" in words or "host " in words:
        return False
    return any(phrase in words for phrase in _PHRASES)


def _anywhere(lines: list[str], number: int, match: re.Match[str]) -> bool:
    words = lines[number][max(0, match.start() - _NEAR) : match.start()].lower()
    return "contact" not in words and not words.lstrip().startswith(("from", "message-id", "sender", "reply-to"))
