"""Events of the milter family (control-api family `milter`): what milters answer and how talking to them fails."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

READ = EventKind("milter.read", Level.TRACE, "Read from a milter", "A reply came", "id type_ size")
WRITE = EventKind("milter.write", Level.TRACE, "Written to a milter", "A command was sent", "id type_ size")


def _action(name: str, text: str, details: str) -> EventKind:
    return EventKind(f"milter.action-{name}", Level.INFO, text, details, "id stage queue_id code reason")


ACTION_ACCEPT = _action("accept", "Accepted by a milter", "The milter wants to see no more of the message or session")
ACTION_DISCARD = _action("discard", "Discarded by a milter", "The message is taken and thrown away")
ACTION_REJECT = _action("reject", "Rejected by a milter", "The command or message is refused for good")
ACTION_TEMP_FAIL = _action("temp-fail", "Deferred by a milter", "The command or message is refused for now")
ACTION_REPLY_CODE = _action("reply-code", "Answered by a milter", "The milter says with which reply to refuse")
ACTION_CONNECTION_FAILURE = _action(
    "connection-failure", "Connection failed by a milter", "The milter cannot go on with the connection"
)
ACTION_SHUTDOWN = _action("shutdown", "Session ended by a milter", "The milter asks to end the session with 421")
ACTION_QUARANTINE = _action("quarantine", "Held by a milter", "The message waits for an operator")
MODIFIED = EventKind(
    "milter.modified",
    Level.INFO,
    "Changed by a milter",
    "Header, body or envelope are queued as the milter wants them",
    "id queue_id details",
)
CHANGE_REFUSED = EventKind(
    "milter.change-refused",
    Level.WARN,
    "Change of a milter refused",
    "It would make the message malformed; the rest is done",
    "id queue_id details reason",
)


def _failure(name: str, text: str, details: str) -> EventKind:
    return EventKind(f"milter.{name}", Level.WARN, text, details, "id stage queue_id reason policy")


IO_ERROR = _failure("io-error", "Milter not reached", "Connecting, reading or writing failed")
TLS_INVALID_NAME = _failure(
    "tls-invalid-name", "Certificate of another milter", "The certificate is valid, but for another name"
)
DISCONNECTED = _failure("disconnected", "Milter went away", "The connection ended in the middle of a conversation")
TIMEOUT = _failure("timeout", "Milter too slow", "It did not answer in time")
FRAME_TOO_LARGE = _failure("frame-too-large", "Reply of a milter too large", "The reply is larger than what is taken")
FRAME_INVALID = _failure("frame-invalid", "Reply of a milter malformed", "The reply breaks the protocol")
UNEXPECTED_RESPONSE = _failure(
    "unexpected-response", "Unexpected reply of a milter", "The reply is none for this stage, or was not negotiated"
)
NOT_ASKED = _failure("not-asked", "Milter not asked", "It failed before, and is not tried again yet")
