"""The record of a sender: what its mail was scored before, fading with time.  Pure.

A record is kept of the client's address (IPv6: /64), of its autonomous system where that is known, of the domain that
SPF or DKIM proved, and of the return path where its domain is proved.  A message counts 1 for the side it was scored
for; half of it is gone after `half-life`.
"""

from __future__ import annotations

import msgspec

from relayd.reputation.kept import Kept
from relayd.reputation.options import ReputationOptions


class Record(msgspec.Struct, frozen=True):
    """What is known of one sender.  ham, spam: messages, faded until `at` (Unix time)."""

    key: str
    ham: float
    spam: float
    at: float

    @property
    def goodness(self) -> float:
        """From -1 (all spam) to 1 (all ham); near 0 while little is known."""
        return (self.ham - self.spam) / (self.ham + self.spam + 2.0)


class Records:
    """now: Unix time, in every call."""

    def __init__(self, options: ReputationOptions | None = None) -> None:
        self.options = options or ReputationOptions()
        self.records: Kept[list[float]] = Kept("records", self.options.max_entries)

    def reconfigure(self, options: ReputationOptions) -> None:
        """Take other options; what is remembered stays."""
        self.options = options
        self.records.most = options.max_entries

    def get(self, key: str, now: float) -> Record | None:
        """The record of a key ("ip:...", "asn:...", "domain:...", "sender:...") as of now."""
        kept = self.records.get(key)
        if kept is None:
            return None
        ham, spam, at = kept
        left = 0.5 ** (max(0.0, now - at) / self.options.half_life)
        return Record(key, ham * left, spam * left, now)

    def learn(self, key: str, is_spam: bool, now: float) -> None:
        """A message of this sender was scored."""
        before = self.get(key, now) or Record(key, 0.0, 0.0, now)
        ham, spam = before.ham + (not is_spam), before.spam + is_spam
        self.records.put(key, [round(ham, 4), round(spam, 4), now])

    def all(self, now: float) -> list[Record]:
        """Every record as of now."""
        return [found for key, _ in self.records.items() if (found := self.get(key, now)) is not None]

    def sweep(self, now: float) -> int:
        """Forget records of which next to nothing is left; how many."""

        def is_faded(key: str, kept: list[float]) -> bool:
            found = self.get(key, now)
            return found is None or found.ham + found.spam < 0.05

        return self.records.drop_where(is_faded)

    def forget(self, key: str) -> int:
        """Forget a record; "": all.  How many."""
        return self.records.drop_where(lambda *_: True) if not key else int(self.records.drop(key))

    def forget_kind(self, kind: str) -> int:
        """Forget the records whose key begins with `kind` ("ip:", "asn:", "domain:", "sender:").  How many."""
        return self.records.drop_where(lambda key, _: key.startswith(kind))
