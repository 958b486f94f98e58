"""Scoring, as an operator asks for it: what the filter says of a message that is given, and learning from such.

The same rules, sources and weights as on the live path; the checks of who sent it are all made.  Nothing is queued, and
nothing that is asked is learnt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from relayd.events import spam as events
from relayd.events.event import Span
from relayd.reception.assessing import Assessor, Subject
from relayd.reception.examination import Examinations, Suspect, Unreadable
from relayd.reception.unscannable import body_digest
from relayd.spam.explain import flipping_tags
from relayd.spam.facts import Address, Facts
from relayd.spam.heading import result_fields
from relayd.spam.verdict import Verdict, mildest

_FIELD = re.compile(rb"\A(?:From [^\n]*\n)?[!-9;-~]+[ \t]*:")
_BARE_LF = re.compile(rb"(?<!\r)\n")

Kind = Literal["spam", "ham"]


class Nothing(Exception):
    """There is nothing in the message to be learnt."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A message about which an operator asks, and how it would come."""

    message: bytes
    address: Address
    return_path: str
    recipients: tuple[str, ...] = ()
    helo: str = ""
    account: str = ""
    is_tls: bool = False
    is_8bit: bool = False
    is_utf8: bool = False


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter says.  fields: what would be put on top.  flip: the smallest set of tags without which the
    verdict would be another; () where none would do.
    """

    verdict: Verdict
    fields: str
    flip: tuple[str, ...]


class Classifications:
    """clock: Unix time.  span: of what is stated about learning."""

    def __init__(
        self, assessor: Assessor, examinations: Callable[[], Examinations], clock: Callable[[], float], span: Span
    ) -> None:
        self._assessor = assessor
        self._examinations = examinations
        self._clock = clock
        self._span = span

    async def classify(self, asked: Asked) -> Classified:
        """Raises Unreadable, Overrun, Busy, Refused."""
        content = readable(asked.message)
        suspect = Suspect(address=asked.address, helo=asked.helo, return_path=asked.return_path, message=content)
        examined = await self._examinations().examine(suspect, everything=True)
        facts = Facts(
            address=asked.address,
            helo=asked.helo,
            return_path=asked.return_path,
            recipients=asked.recipients,
            account=asked.account,
            is_tls=asked.is_tls,
            is_8bit=asked.is_8bit,
            is_utf8=asked.is_utf8,
            now=self._clock(),
            origin=examined.origin,
        )
        subject = Subject(
            facts=facts,
            findings=examined.findings,
            scanned=await self._assessor.scan(content, facts, len(content)),
            content=content,
            span=self._span,
            is_trial=True,
        )
        verdicts = await self._assessor.verdicts(subject, asked.recipients, asked.account)
        settings = self._assessor.settings
        verdict = mildest(list(verdicts.values()))
        who = next(address for address, each in verdicts.items() if each is verdict)
        return Classified(
            verdict=verdict,
            fields=result_fields(verdict, settings.options.result_header or "", settings.options.status_header or ""),
            flip=flipping_tags(verdict, settings.thresholds_of(who)),
        )

    async def train(self, message: bytes, kind: Kind, account: str = "", *, automatic: bool = False) -> bool:
        """Learn a message; False where an automatic one would unbalance the model.

        Raises Unreadable, Nothing, Overrun, Busy, DatabaseError.
        """
        tokens, digest = await self._tokens(message)
        try:
            return await self._assessor.bayes.train(
                tokens, digest, spam=kind == "spam", account=account, automatic=automatic
            )
        except Exception as error:
            events.TRAIN_ERROR(self._span, reason=f"{type(error).__name__}: {error}")
            raise

    async def forget(self, message: bytes, kind: Kind, account: str = "") -> bool:
        """Take back what was learnt, once; False: it was not learnt as that kind.  Raises as `train` does."""
        tokens, digest = await self._tokens(message)
        return await self._assessor.bayes.forget(tokens, digest, spam=kind == "spam", account=account)

    async def _tokens(self, message: bytes) -> tuple[bytes, bytes]:
        content = readable(message)
        scanned = await self._assessor.scan(content, Facts(now=self._clock()), len(content))
        if not scanned.tokens:
            raise Nothing
        return scanned.tokens, body_digest(content, 0)


def readable(message: bytes) -> bytes:
    """A message with its lines ending in CRLF.  Unreadable where it does not begin with a header field."""
    if not _FIELD.match(message):
        raise Unreadable("it does not begin with a header field")
    return _BARE_LF.sub(b"\r\n", message)
