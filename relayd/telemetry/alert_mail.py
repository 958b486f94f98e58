"""The mail by which the postmaster is told of an alert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate

from relayd.telemetry.escape import escape


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMail:
    """What it says.  to: addresses.  now: Unix time.  message_id: with angle brackets.  opening: with "{}" for the
    hostname.
    """

    hostname: str
    to: Sequence[str]
    now: float
    message_id: str
    subject: str
    lines: Sequence[str]
    opening: str = "relayd on {} has something to say:"
    closing: str = "It is said once for each cause, and once more when it is over."

    def compose(self) -> bytes:
        """The message, in seven bits: whatever peers said is escaped."""
        head = [
            f"From: relayd <MAILER-DAEMON@{self.hostname}>",
            "To: " + ",\r\n ".join(_ascii(each) for each in self.to),
            f"Subject: [{self.hostname}] {_ascii(self.subject)}",
            f"Date: {formatdate(self.now)}",
            f"Message-ID: {self.message_id}",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=us-ascii",
        ]
        body = [
            self.opening.format(self.hostname),
            "",
            *(f"- {part}" for line in self.lines for part in [_ascii(line)[:900]]),
            "",
            self.closing,
        ]
        return "\r\n".join([*head, "", *body, ""]).encode("ascii")


def _ascii(text: str) -> str:
    return escape(text).encode("ascii", "backslashreplace").decode()
