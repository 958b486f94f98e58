"""An SMTP server in a thread that keeps every message it gets: the far end of journeys and of the crash test.

Quick and obliging by default; `answer` may make it refuse, defer, drop or wait, by verb.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.rig.postfix import free_port

DROP = "DROP"
"""An answer that closes the connection without a word."""


@dataclass
class Delivery:
    """One message as it came in.

    at: when its final dot was seen; answered: when the reply to it was written, infinity when it was not yet
    (monotonic seconds).  came_from: the address of the client.
    """

    return_path: str
    recipients: list[str]
    content: bytes = b""
    at: float = 0.0
    answered: float = math.inf
    parameters: str = ""
    helo: str = ""
    came_from: str = ""


Answer = Callable[[str, str, Delivery], str | None]
"""(verb, argument, transaction so far) -> a reply line, DROP, or None for the default.  Verb "." is the final dot."""


@dataclass
class Sink:
    """The server; use as a context manager.  `deliveries` grows as final dots are answered or not."""

    answer: Answer | None = None
    extensions: tuple[str, ...] = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
    port: int = field(default_factory=free_port)
    address: str = "127.0.0.1"
    deliveries: list[Delivery] = field(default_factory=list)
    sessions: int = 0

    def __enter__(self) -> Sink:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the sink did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, self.address, self.port, limit=1 << 20)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        try:
            await self._session(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _reply(self, verb: str, argument: str, delivery: Delivery, default: str) -> str:
        given = self.answer(verb, argument, delivery) if self.answer else None
        return default if given is None else given

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delivery = Delivery("", [])
        helo = ""
        came_from = writer.get_extra_info("peername")[0]
        greeting = self._reply("CONNECT", "", delivery, "220 sink.test ESMTP")
        if greeting == DROP:
            return
        writer.write(greeting.encode() + b"\r\n")
        while line := await reader.readline():
            verb, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
            verb = verb.upper()
            if verb in ("EHLO", "LHLO"):
                helo = argument
                rows = ["sink.test", *self.extensions]
                default = "\r\n".join(f"250{'-' if n < len(rows) - 1 else ' '}{row}" for n, row in enumerate(rows))
            elif verb == "MAIL":
                path, _, parameters = argument[5:].strip().partition(" ")
                delivery = Delivery(path.strip("<>"), [], parameters=parameters, helo=helo, came_from=came_from)
                default = "250 2.1.0 OK"
            elif verb == "DATA":
                default = "354 go on" if delivery.recipients else "554 5.5.1 no valid recipients"
            elif verb == "QUIT":
                default = "221 2.0.0 bye"
            else:
                default = "250 2.0.0 OK"
            reply = self._reply(verb, argument, delivery, default)
            if reply == DROP:
                return
            if verb == "RCPT" and reply.startswith("2"):
                delivery.recipients.append(argument[3:].strip().partition(" ")[0].strip("<>"))
            writer.write(reply.encode() + b"\r\n")
            if verb == "QUIT":
                await writer.drain()
                return
            if verb == "DATA" and reply.startswith("354"):
                reply = await self._data(reader, delivery)
                if reply == DROP:
                    return
                writer.write(reply.encode() + b"\r\n")
                delivery.answered = time.monotonic()
                delivery = Delivery("", [], helo=helo)

    async def _data(self, reader: asyncio.StreamReader, delivery: Delivery) -> str:
        content = bytearray(b"\r\n")
        while not content.endswith(b"\r\n.\r\n"):
            piece = await reader.readuntil(b"\r\n")
            content += piece
        delivery.content = bytes(content[2:-3]).replace(b"\r\n..", b"\r\n.")
        if delivery.content.startswith(b".."):
            delivery.content = delivery.content[1:]
        delivery.at = time.monotonic()
        reply = self._reply(".", "", delivery, "250 2.0.0 taken")
        self.deliveries.append(delivery)
        return reply

    def wait_for_one(self, wanted: Callable[[Delivery], bool], timeout: float = 10.0) -> Delivery:
        """The first delivery that is `wanted`; TimeoutError after `timeout` seconds."""
        until = time.monotonic() + timeout
        while True:
            for delivery in list(self.deliveries):
                if wanted(delivery):
                    return delivery
            if time.monotonic() > until:
                raise TimeoutError(f"not among {[(each.return_path, each.recipients) for each in self.deliveries]}")
            time.sleep(0.01)

    def wait_for(self, count: int, timeout: float = 30.0) -> list[Delivery]:
        """The deliveries once there are `count`; TimeoutError after `timeout` seconds."""
        until = time.monotonic() + timeout
        while len(self.deliveries) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self.deliveries)} of {count} messages arrived")
            time.sleep(0.01)
        return list(self.deliveries)
