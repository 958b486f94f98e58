"""Live listeners on loopback, and a client that speaks raw octets to them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

from relayd.events.event import Event, EventStream
from relayd.listener.listeners import ListenerConfiguration, Listeners, Machinery
from relayd.listener.options import Bind, ListenerOptions
from relayd.mail.snowflake import Snowflakes

WAIT = 10.0


class Dialogue:
    """One connection to a listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> str:
        """One reply line without CRLF; "" at the end of the connection."""
        async with asyncio.timeout(WAIT):
            try:
                line = await self.reader.readline()
            except ConnectionResetError:
                return ""
        assert line == b"" or line.endswith(b"\r\n"), line
        return line[:-2].decode()

    async def reply(self) -> str:
        """One whole reply; its lines parted by "|"."""
        lines = [await self.line()]
        while lines[-1][3:4] == "-":
            lines.append(await self.line())
        return "|".join(lines)

    async def ask(self, command: str) -> str:
        """Send a command line, return its reply."""
        self.send(command.encode() + b"\r\n")
        return await self.reply()

    async def greet(self, name: str = "client.example", verb: str = "EHLO") -> str:
        """Read the greeting, say EHLO."""
        greeting = await self.reply()
        assert greeting.startswith("220 "), greeting
        answer = await self.ask(f"{verb} {name}")
        assert answer.startswith("250"), answer
        return answer

    async def start_tls(self, context: ssl.SSLContext, name: str = "mx.example.org") -> None:
        """The client's side of the handshake after 220."""
        async with asyncio.timeout(WAIT):
            await self.writer.start_tls(context, server_hostname=name)

    async def at_end(self) -> bool:
        """Whether the server has closed, now that nothing more is to be read."""
        return await self.line() == ""

    async def close(self) -> None:
        self.writer.transport.abort()
        for _ in range(3):  # closed transports let go of their sockets in the loop's next turns
            await asyncio.sleep(0)


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Live:
    """Running listeners with what was stated while they ran."""

    def __init__(self, listeners: Listeners, events: list[Event], clock: Clock) -> None:
        self.listeners = listeners
        self.events = events
        self.clock = clock
        self.dialogues: list[Dialogue] = []

    async def dial(
        self, id: str = "test", place: int = 0, tls: ssl.SSLContext | None = None, name: str = "mx.example.org"
    ) -> Dialogue:
        """Connect to a listener's `place`th address."""
        bind = self.listeners.addresses(id)[place]
        if bind.path:
            streams = await asyncio.open_unix_connection(bind.path)
        elif tls is None:
            streams = await asyncio.open_connection(bind.host, bind.port)
        else:
            streams = await asyncio.open_connection(bind.host, bind.port, ssl=tls, server_hostname=name)
        self.dialogues.append(Dialogue(*streams))
        return self.dialogues[-1]

    def ids(self) -> list[str]:
        """Ids of the events so far."""
        return [event.kind.id for event in self.events]

    async def until(self, condition: Any) -> None:
        """Let the loop turn until `condition()` holds."""
        async with asyncio.timeout(WAIT):
            while not condition():
                await asyncio.sleep(0.001)

    def move(self, seconds: float) -> None:
        """Move the clock of the deadlines and sweep."""
        self.clock.now += seconds
        self.listeners.sweep()


def listening(**options: Any) -> ListenerOptions:
    """A listener on a loopback port that the kernel chooses."""
    return ListenerOptions(**{"bind": (Bind(host="127.0.0.1"),), **options})


@contextlib.asynccontextmanager
async def live(reception: Any, options: ListenerOptions | None = None, **configuration: Any) -> AsyncIterator[Live]:
    """Listeners with `options` under the id "test" (or `listeners` by id), closed at the end."""
    events: list[Event] = []
    clock = Clock()
    stream = EventStream(time.time, [events.append])
    configuration.setdefault("listeners", {"test": options or listening()})
    listeners = Listeners(
        ListenerConfiguration(hostname="mx.example.org", **configuration),
        Machinery(reception=reception, stream=stream, snowflakes=Snowflakes(1), monotonic=clock),
    )
    await listeners.start()
    server = Live(listeners, events, clock)
    try:
        yield server
    finally:
        await listeners.drain(0)
        for dialogue in server.dialogues:
            await dialogue.close()


def trusting() -> ssl.SSLContext:
    """A client's context that checks nothing."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
