"""The dialogue of a session in words of events (`smtp.raw-input`, `smtp.raw-output`): what may be shown of it.

Never what signs somebody in, nor how long it is; of content the size.  A line that is no command of SMTP may be either,
gone astray, so that nothing of it is told.
"""

from __future__ import annotations

from collections.abc import Container

from relayd.events.event import Span
from relayd.events.smtp import RAW_INPUT

MOST = 1000
"""Characters that are shown of a command line or of replies."""

HIDDEN = "***"
_SECRET = {"AUTH": 1, "BURL": 0}
"""Commands with secrets, and how many of their words hold none."""


def raw_command(line: bytes, verbs: Container[str]) -> str:
    """A command line as it may be shown.  verbs: that are known."""
    text = line[:MOST].decode("utf-8", "replace").rstrip("\r\n")
    verb, *arguments = text.split(" ")
    if verb.upper() not in verbs:
        return HIDDEN
    shown = _SECRET.get(verb.upper())
    return text if shown is None else " ".join([verb, *arguments[:shown], HIDDEN])


def state_command(span: Span, line: bytes, verbs: Container[str]) -> None:
    """State a command line to who asks for it.  verbs: that are known."""
    contents = raw_command(line, verbs)
    RAW_INPUT(span, size=None if contents.endswith(HIDDEN) else len(line), contents=contents)


def raw_replies(data: bytes) -> str:
    """Replies as they may be shown, without the challenges of AUTH."""
    lines = data[:MOST].decode("utf-8", "replace").split("\r\n")
    return "\r\n".join(f"334 {HIDDEN}" if line.startswith("334 ") else line for line in lines).rstrip("\r\n")
