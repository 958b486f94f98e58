"""One message's questions to the DNS: a time for all of them together, and a record of each.

When the time or the number of questions is used up, every further question fails as Temporary at once, so that a dead
DNS server costs a message its checks and never holds a session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import msgspec

from relayd.resolver.answer import Answer, Bogus, Mx, NoData, NoName, ResolveError, Resolver, Temporary, Tlsa

T = TypeVar("T")

MAX_QUESTIONS = 300
"""Questions of one message: well beyond what the limits of SPF, DKIM, ARC and DMARC let an honest one cause."""

_OUTCOMES = {NoName: "no-name", NoData: "no-data", Bogus: "bogus"}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question and what came of it.

    outcome: "answer", "no-name", "no-data", "temporary" or "bogus".  records: as text, () without an answer.  problem:
    why there is none.  elapsed: seconds, near 0 from the cache.  secure: a trusted resolver set AD.
    """

    type: str
    name: str
    outcome: str
    records: tuple[str, ...] = ()
    problem: str = ""
    elapsed: float = 0.0
    ttl: int = 0
    secure: bool = False


class BudgetResolver:
    """A Resolver before another, for one message.  seconds: from now, for all questions.  clock: seconds.

    asked: every question in its order, when `keep` was given.
    """

    def __init__(
        self,
        resolver: Resolver,
        seconds: float,
        *,
        keep: bool = False,
        questions: int = MAX_QUESTIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._deadline = clock() + seconds
        self._left = questions
        self._keep = keep
        self.asked: list[Question] = []

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records; CNAMEs are followed, `canonical` names their end."""
        return await self._ask("MX", name, self._resolver.mx, _mx_text)

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A (family 4) or AAAA (family 6) records as text."""
        type = "A" if family == 4 else "AAAA"
        return await self._ask(type, name, lambda asked: self._resolver.addresses(asked, family), str)

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        return await self._ask("TXT", name, self._resolver.txt, lambda record: record.decode("utf-8", "replace"))

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address."""
        return await self._ask("PTR", address, self._resolver.ptr, str)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        return await self._ask("TLSA", name, self._resolver.tlsa, str)

    async def _ask(
        self, type: str, name: str, work: Callable[[str], Coroutine[Any, Any, Answer[T]]], text: Callable[[T], str]
    ) -> Answer[T]:
        started = self._clock()
        try:
            answer = await self._answered(type, name, work, self._deadline - started)
        except ResolveError as error:
            if self._keep:
                outcome = _OUTCOMES.get(error.__class__, "temporary")
                elapsed = self._clock() - started
                self.asked.append(Question(type=type, name=name, outcome=outcome, problem=str(error), elapsed=elapsed))
            raise
        if self._keep:
            self.asked.append(
                Question(
                    type=type,
                    name=name,
                    outcome="answer",
                    records=tuple(text(record) for record in answer.records),
                    elapsed=self._clock() - started,
                    ttl=answer.ttl,
                    secure=answer.secure,
                )
            )
        return answer

    async def _answered(
        self, type: str, name: str, work: Callable[[str], Coroutine[Any, Any, Answer[T]]], seconds: float
    ) -> Answer[T]:
        self._left -= 1
        if self._left < 0:
            raise Temporary(f"{type} of {name}: not asked, the message has caused too many questions")
        if seconds <= 0:
            raise Temporary(f"{type} of {name}: not asked, the time for the checks of this message is over")
        asking = work(name)
        try:
            waits_for = asking.send(None)  # what the cache holds is here without a timer
        except StopIteration as end:
            answer: Answer[T] = end.value
            return answer
        try:
            async with asyncio.timeout(seconds):
                return await _Begun(asking, waits_for)
        except TimeoutError:
            raise Temporary(f"{type} of {name}: no answer in the time for the checks of this message") from None


class _Begun(Generic[T]):
    """The rest of a coroutine that was begun in the same task.  waits_for: what it waits for."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, waits_for = self._coroutine, self._waits_for
        try:
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as error:
                    waits_for = coroutine.throw(error)
                else:
                    waits_for = coroutine.send(sent)
        except StopIteration as end:
            value: T = end.value
            return value


def _mx_text(record: Mx) -> str:
    return f"{record.preference} {record.exchange or '.'}"
