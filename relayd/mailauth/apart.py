"""Checks whose computing is done apart from the event loop, while their questions are asked on it.

A header of hundreds of kilobytes takes tenths of a second to be read and hashed.  The coroutine of such a check is
stepped in a thread; where it comes to a question, the step ends, the question is asked on the loop, and the next step
begins with the answer.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

from relayd.resolver.answer import Answer, Mx, ResolveError, Resolver, Tlsa

T = TypeVar("T")


class Apart(Protocol):
    """Runs what takes long where it holds nobody up."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` gives or raises."""
        ...


class Memory:
    """A Resolver that remembers TXT answers and failures for one message, so that several may be asked beforehand."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[str, Answer[bytes] | ResolveError] = {}

    async def ask(self, name: str) -> None:
        """Have the TXT records of a name ready."""
        if name not in self._known:
            try:
                self._known[name] = await self._resolver.txt(name)
            except ResolveError as error:
                self._known[name] = error

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        await self.ask(name)
        found = self._known[name]
        if isinstance(found, ResolveError):
            raise found.with_traceback(None)
        return found

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records; CNAMEs are followed, `canonical` names their end."""
        return await self._resolver.mx(name)

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A (family 4) or AAAA (family 6) records as text."""
        return await self._resolver.addresses(name, family)

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address."""
        return await self._resolver.ptr(address)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        return await self._resolver.tlsa(name)


class _Question:
    """Awaiting it ends a step; what the next step is begun with is its value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __await__(self) -> Generator[_Question, Answer[bytes], Answer[bytes]]:
        return (yield self)


class _Stepped:
    """The Resolver of a coroutine that is stepped; keys are all it can ask for."""

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        return await _Question(name)


async def run_apart(work: Callable[[Any], Coroutine[Any, Any, T]], resolver: Resolver, apart: Apart) -> T:
    """What the coroutine `work(resolver)` gives; it may ask for TXT records and await nothing else."""
    coroutine = work(_Stepped())
    answer: Answer[bytes] | ResolveError | None = None
    try:
        while True:
            step: _Question | _End[T] = await apart(functools.partial(_step, coroutine, answer))
            if not isinstance(step, _Question):
                return step.value
            try:
                answer = await resolver.txt(step.name)
            except ResolveError as error:
                answer = error
    finally:
        coroutine.close()


class _End(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value


def _step(coroutine: Coroutine[Any, Any, T], answer: Answer[bytes] | ResolveError | None) -> _Question | _End[T]:
    try:
        if isinstance(answer, ResolveError):
            question: _Question = coroutine.throw(answer)
        else:
            question = coroutine.send(answer)
    except StopIteration as end:
        return _End(end.value)
    return question
