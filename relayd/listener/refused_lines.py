"""What the events say of command lines that are refused: what is wrong, and no more of the line than may be shown.

A client that does not wait for our answers goes on after a refused AUTH with its password, and after a refused DATA
with its message.  So of a line that does not begin with a command that names somebody only the first word is shown, and
nothing at all once AUTH was tried.
"""

from __future__ import annotations

from relayd.events import smtp
from relayd.events.event import Span
from relayd.listener.raw import HIDDEN
from relayd.smtp.command import SyntaxRefused

_SHOWN = 200
_WORD = 40
_ADDRESS = 320

_WITH_ARGUMENT = frozenset("EHLO HELO LHLO MAIL RCPT BDAT VRFY EXPN XCLIENT XFORWARD ETRN".split())

_DISABLED = {
    "REQUIRETLS": smtp.REQUIRE_TLS_DISABLED,
    "HOLDFOR": smtp.FUTURE_RELEASE_DISABLED,
    "HOLDUNTIL": smtp.FUTURE_RELEASE_DISABLED,
    "BY": smtp.DELIVER_BY_DISABLED,
    "MT-PRIORITY": smtp.MT_PRIORITY_DISABLED,
    **dict.fromkeys(("RET", "ENVID", "NOTIFY", "ORCPT"), smtp.DSN_DISABLED),
}
"""What a parameter is that was sent to a session to which it is not offered."""

_INVALID = {
    "HOLDFOR": smtp.FUTURE_RELEASE_INVALID,
    "HOLDUNTIL": smtp.FUTURE_RELEASE_INVALID,
    "BY": smtp.DELIVER_BY_INVALID,
    "MT-PRIORITY": smtp.MT_PRIORITY_INVALID,
}


def state_refused(span: Span, refused: SyntaxRefused, line: bytes, *, after_auth: bool) -> None:
    """State why a line was refused: its address, one of its parameters, or what it is as a whole."""
    reason = refused.reply.text
    if refused.sender is not None:
        smtp.INVALID_SENDER_ADDRESS(span, from_=refused.sender[:_ADDRESS], reason=reason)
    elif refused.recipient is not None:
        smtp.INVALID_RECIPIENT_ADDRESS(span, to=refused.recipient[:_ADDRESS], reason=reason)
    elif refused.not_offered:
        disabled = _DISABLED.get(refused.not_offered)
        if disabled is not None:
            disabled(span)
        else:
            smtp.UNSUPPORTED_PARAMETER(span, key=refused.not_offered[:_WORD])
    elif refused.invalid:
        invalid = _INVALID.get(refused.invalid)
        if invalid is not None:
            invalid(span)
        else:
            smtp.INVALID_PARAMETER(span, key=refused.invalid[:_WORD])
    else:
        smtp.SYNTAX_ERROR(span, contents=shown(line, after_auth=after_auth))


def shown(line: bytes, *, after_auth: bool) -> str:
    """A command line for an event, cut.  after_auth: AUTH was tried in the session."""
    text = line[:_SHOWN].decode("utf-8", "replace").strip()
    word, blank, _ = text.partition(" ")
    if word.upper() in _WITH_ARGUMENT:
        return text
    if word[:4].upper() == "AUTH":
        return f"{word[:4]} {HIDDEN}"
    if after_auth:
        return HIDDEN
    return f"{word[:_WORD]} {HIDDEN}" if blank or len(word) > _WORD else word
