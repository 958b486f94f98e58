"""Messages that our own people sent, by which answers to them are known (`spam-filter.replies.*`).  Pure.

What is kept of a message is one hash of its Message-ID and its return path: an answer refers to the one and is to the
other, so that nobody gains by a Message-ID that he read somewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from relayd.reputation.kept import Kept
from relayd.reputation.options import ReplyOptions


class SentMail:
    """now: Unix time, in every call."""

    def __init__(self, options: ReplyOptions | None = None) -> None:
        self.options = options or ReplyOptions()
        self.sent: Kept[float] = Kept("sent", self.options.max_entries)

    def reconfigure(self, options: ReplyOptions) -> None:
        """Take other options; what is remembered stays."""
        self.options = options
        self.sent.most = options.max_entries

    def note(self, message_id: str, sender: str, now: float) -> None:
        """A message was sent.  message_id: with its angle brackets."""
        if message_id and sender:
            self.sent.put(_key(message_id, sender), now)

    def answered(self, references: Iterable[str], recipients: Iterable[str], now: float) -> str:
        """The first of the Message-IDs under which one of the recipients sent something, "" for none."""
        to = list(recipients)
        for each in references:
            for address in to:
                at = self.sent.get(_key(each, address))
                if at is not None and now - at < self.options.keep:
                    return each
        return ""

    def sweep(self, now: float) -> int:
        """Forget what is too long ago; how many."""
        return self.sent.drop_where(lambda key, at: now - at >= self.options.keep)


def _key(message_id: str, sender: str) -> str:
    octets = f"{message_id}\n{sender.lower()}".encode("utf-8", "replace")
    return blake2b(octets, digest_size=12).hexdigest()
