"""Answers to what our own people sent, as a source of tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relayd.reception.assessing import Subject
from relayd.reputation.sent import SentMail
from relayd.spam.tag import Tag

_RECIPIENTS = 20
"""Recipients that are looked at: an answer is to few."""


class Replies:
    """Sets TRUSTED_REPLY.  clock: Unix time."""

    def __init__(self, sent: SentMail, clock: Callable[[], float]) -> None:
        self._sent = sent
        self._clock = clock

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """See `assessing.TagSource`."""
        references = subject.scanned.references
        if not references or not self._sent.options.enable or subject.facts.is_trusted:
            return ()
        found = self._sent.answered(references, subject.facts.recipients[:_RECIPIENTS], self._clock())
        return (Tag("TRUSTED_REPLY", "it answers what its recipient sent", found),) if found else ()
