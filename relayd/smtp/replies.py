"""Replies of a server, parsed as they come (RFC 5321 §4.2.1, RFC 2034)."""

from __future__ import annotations

import re

from relayd.mail.reply import Reply

MAX_LINE = 4096
"""Octets of one reply line; RFC 5321 §4.5.3.1.5 says 512, servers do not heed it."""

MAX_REPLY = 65536
"""Octets of one reply with all its lines."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.S)
_ENHANCED = re.compile(r"([0-9]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)", re.A)


class ProtocolError(Exception):
    """What the server sent is no SMTP reply."""


class ReplyParser:
    """Fed octets as they come; gives replies as they are complete.

    A bare LF ends a line too: servers that send it are common, and nothing hangs on it in this direction.
    enhanced: take an enhanced code off the text (False: leave the text alone, as in the greeting and EHLO).
    """

    def __init__(self, *, enhanced: bool = True) -> None:
        self.enhanced = enhanced
        self._buffer = b""
        self._searched = 0
        self._lines: list[bytes] = []
        self._code = b""
        self._size = 0

    @property
    def is_idle(self) -> bool:
        """Nothing of a next reply has come yet."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes; ProtocolError when it goes on as no reply does."""
        buffer = self._buffer + data if self._buffer else data
        replies: list[Reply] = []
        start = 0
        search = self._searched
        while (end := buffer.find(b"\n", search)) >= 0:
            reply = self._line(buffer[start : end - 1 if buffer[end - 1 : end] == b"\r" and end > start else end])
            if reply is not None:
                replies.append(reply)
            start = search = end + 1
        self._buffer = buffer[start:]
        self._searched = len(self._buffer)
        if self._searched > MAX_LINE:
            raise ProtocolError("reply line is too long")
        return replies

    def _line(self, line: bytes) -> Reply | None:
        if len(line) > MAX_LINE:
            raise ProtocolError("reply line is too long")
        found = _LINE.fullmatch(line)
        if found is None:
            raise ProtocolError(f"not an SMTP reply: {line[:80]!r}")
        code, separator, text = found.groups()
        if self._lines and code != self._code:
            raise ProtocolError("the lines of a reply have different codes")
        self._size += len(line)
        if self._size > MAX_REPLY:
            raise ProtocolError("reply is too long")
        self._code = code
        self._lines.append(text or b"")
        if separator == b"-":
            return None
        lines, self._lines, self._size = self._lines, [], 0
        return _reply(int(code), lines, self.enhanced)


def _reply(code: int, lines: list[bytes], enhanced: bool) -> Reply:
    texts = [line.decode("utf-8", "replace") for line in lines]
    first = _ENHANCED.match(texts[0]) if enhanced else None
    if first is None:
        return Reply(code, "", "\n".join(texts))
    status = first[1]
    for place, text in enumerate(texts):
        found = _ENHANCED.match(text)
        if found is not None and found[1] == status:
            texts[place] = text[found.end() :]
    return Reply(code, status, "\n".join(texts))
