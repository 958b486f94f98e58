"""An SMTP reply as a value: code, enhanced status code, text (RFC 5321 §4.2, RFC 3463, RFC 2034).

The only place that knows the classes 2, 4 and 5.
"""

from __future__ import annotations

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """A reply to give or one received.

    code: 200-599.  enhanced: "5.7.1", or "" for replies that carry none (greeting, EHLO, 3xx).  text: lines parted by
    "\\n", without codes.
    """

    code: int
    enhanced: str
    text: str

    @property
    def is_positive(self) -> bool:
        """2xx."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        """5xx."""
        return 500 <= self.code < 600

    def encode(self) -> bytes:
        """Wire form: each line with the code and, where there is one, the enhanced code (RFC 2034 §4)."""
        prefix = f"{self.enhanced} " if self.enhanced else ""
        lines = self.text.split("\n")
        last = len(lines) - 1
        return "".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{line}\r\n" for number, line in enumerate(lines)
        ).encode("utf-8", "replace")

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}".replace("  ", " ").replace("\n", " ")
