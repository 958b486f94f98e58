"""Spam scoring on the live path: the content is scanned, others are asked, the sum is weighed, the verdict acted upon.

It stands behind the checks of who sent a message and before its 250, so that a refusal is given to the peer, never
mailed back.  Strangers' mail to listeners with the role mx is scored, and where configured what our own people submit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from relayd.events.event import Span
from relayd.mailauth.findings import Findings
from relayd.spam.facts import Facts, Scanned
from relayd.spam.tag import Tag


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A message about which others are asked.

    content: the whole of it as the client sent it, or the path of its file.  span: of the session.  queue_id: the id
    under which it will be queued.  is_trial: an operator asks (classify): nothing may be learnt from it.
    """

    facts: Facts
    findings: Findings
    scanned: Scanned
    content: bytes | Path
    span: Span
    queue_id: int = 0
    is_trial: bool = False


class TagSource(Protocol):
    """Somebody who knows something of a message that its content does not say: DNS lists, reputation, a scanner."""

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """The tags that it sets.  It keeps to a time limit of its own; `Refused` where it is to be refused or
        deferred at once.  Any other exception is stated and sets no tag.
        """
        ...
