"""Whom the tests of filters share: a session with one scripted milter, and what was stated of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from relayd.events.event import Event, EventStream, Span
from relayd.filters.changes import Edited
from relayd.filters.milter_macros import Facts
from relayd.filters.milters import Content, Milters, MilterSession
from relayd.filters.options import FilterOptions, MilterOptions
from relayd.filters.ruling import Ruling
from relayd.filters.scan import Scannable
from relayd.mail.header import HeaderBlock
from relayd.options import section_of

HEADER = b"Received: from ours\r\nFrom: a@b.test\r\nX-Twice: one\r\nX-Twice: two\r\nSubject: hello\r\n there\r\n"
BODY = b"first line\r\nsecond line\r\n"


def milter_options(address: str, **given: Any) -> MilterOptions:
    """Options by key, as TOML has them."""
    built: MilterOptions = section_of(MilterOptions).build({"address": address, **given})
    return built


def filter_options(type: str, address: str, **given: Any) -> FilterOptions:
    """Likewise."""
    built: FilterOptions = section_of(FilterOptions).build({"type": type, "address": address, **given})
    return built


FACTS = Facts(
    hostname="mx.test", listener="smtp", trusted=False, address="192.0.2.7", port=4711, client_name="client.test",
    helo="client.test", local_address="192.0.2.1", local_port=25, account="ann",
)  # fmt: skip


@dataclass
class Told:
    """Where events land, and the clock of a test."""

    now: float = 1000.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.span = Span(EventStream(lambda: self.now, [self.events.append]))

    def ids(self) -> list[str]:
        """Ids of what was stated, without what is only traced."""
        return [each.kind.id for each in self.events if each.kind.id not in ("milter.read", "milter.write")]

    def of(self, id: str) -> dict[str, Any]:
        """The fields of the last event of a kind."""
        return [each for each in self.events if each.kind.id == id][-1].fields


def edited() -> Edited:
    """The message of the tests as milters see it: our Received is left out."""
    block = HeaderBlock.parse(HEADER)
    del block.fields[0]
    return Edited(block, 0)


async def pieces(*octets: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for each in octets:
        yield each


@dataclass
class Talk:
    """A session from connection to the end of a message; rulings by stage."""

    told: Told
    session: MilterSession
    rulings: dict[str, Ruling | None] = field(default_factory=dict)
    edited: Edited = field(default_factory=edited)

    async def message(self, body: bytes = BODY, until: float = 1e12) -> Ruling | None:
        """MAIL to the end; the first refusal ends it."""
        session = self.session
        stages: dict[str, Callable[[], Awaitable[Ruling | None]]] = {
            "mail": lambda: session.mail(4711, "a@b.test", ("SIZE=100",)),
            "rcpt": lambda: session.rcpt("c@d.test"),
            "data": session.data,
            "content": lambda: session.content(self.edited, Content(len(body), lambda: pieces(body), until)),
        }
        for stage, work in stages.items():
            self.rulings[stage] = ruling = await work()
            if ruling is not None:
                return ruling
        return None


def talk(*options: MilterOptions, told: Told | None = None, facts: Facts = FACTS) -> Talk:
    """A session with milters of these options, named a, b, ..."""
    told = told or Told()
    milters = Milters({chr(ord("a") + number): each for number, each in enumerate(options)})
    session = milters.session("smtp", lambda: facts, told.span)
    assert session is not None
    return Talk(told, session)


async def whole(*options: MilterOptions) -> Talk:
    """A session with one message."""
    found = talk(*options)
    found.rulings["connect"] = await found.session.connect()
    found.rulings["helo"] = await found.session.helo()
    await found.message()
    found.session.abort()
    found.session.close()
    return found


def scannable(octets: bytes, **given: Any) -> Scannable:
    """A message to be scanned."""
    return Scannable(queue_id=4711, size=len(octets), octets=lambda: pieces(octets), **given)
