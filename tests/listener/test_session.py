"""What a whole session says and does; oddities of single commands are in tests/dialogues."""

from __future__ import annotations

import asyncio
from typing import Any

from relayd.listener.options import TimeoutOptions
from relayd.reception.client import Client
from tests.rig.listener import Dialogue, live
from tests.rig.reception_stub import StubReception


async def send_message(client: Dialogue, content: bytes = b"Subject: hi\r\n\r\nhello\r\n") -> str:
    """One message by DATA; the reply to its end."""
    assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("250 2.1.0 ")
    assert (await client.ask("RCPT TO:<b@example.org>")).startswith("250 2.1.5 ")
    assert (await client.ask("DATA")).startswith("354 ")
    client.send(content + b".\r\n")
    return await client.reply()


async def test_takes_a_message() -> None:
    reception = StubReception()
    async with live(reception) as server:
        client = await server.dial()
        await client.greet()
        assert (await send_message(client, b"Subject: hi\r\n\r\n..dot\r\n")).startswith("250 2.0.0 ")
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
        assert await client.at_end()
        await client.close()
        await server.until(lambda: "smtp.connection-end" in server.ids())
    assert bytes(reception.messages[0].content) == b"Subject: hi\r\n\r\n.dot\r\n"
    assert server.ids()[1] == "smtp.connection-start"


async def test_a_bug_is_temporary_and_tells_the_peer_nothing() -> None:
    reception = StubReception()
    async with live(reception) as server:
        client = await server.dial()
        await client.greet()
        reply = await client.ask("MAIL FROM:<bug@example.org>")
        assert reply.startswith("451 4.3.0 ")
        assert "secret" not in reply
        assert (await send_message(client)).startswith("250 ")
        errors = [event for event in server.events if event.kind.id == "smtp.handler-error"]
        number = reply.rpartition("error ")[2].rstrip(")")
        assert errors[0].fields["reason"].startswith(number)


async def test_a_failing_write_is_told_after_the_final_dot() -> None:
    class Full(StubReception):
        async def write(self, tx: Any, chunks: list[bytes]) -> None:
            raise OSError(28, "No space left on device")

    reception = Full()
    async with live(reception) as server:
        client = await server.dial()
        await client.greet()
        assert (await send_message(client)).startswith("451 4.3.0 ")
        assert await client.ask("NOOP") == "250 2.0.0 OK"
    assert reception.aborted == 1


async def test_early_talker_is_refused() -> None:
    class Slow(StubReception):
        async def connect(self, client: Client) -> None:
            await asyncio.wait_for(spoke.wait(), 10)

    spoke = asyncio.Event()
    async with live(Slow()) as server:
        client = await server.dial()
        client.send(b"EHLO early.example\r\n")
        await client.writer.drain()
        await server.until(lambda: any(session.has_input for session in server.listeners.sessions))
        spoke.set()
        assert (await client.reply()).startswith("554 5.5.0 ")
        assert await client.at_end()
        assert "smtp.unauthorized-pipelining" in server.ids()


async def test_idle_session_is_told_and_closed() -> None:
    async with live(StubReception()) as server:
        client = await server.dial()
        await client.greet()
        await server.until(lambda: all(session.at_boundary for session in server.listeners.sessions))
        server.move(299)
        assert await client.ask("NOOP") == "250 2.0.0 OK"
        await server.until(lambda: all(session.at_boundary for session in server.listeners.sessions))
        server.move(301)
        assert (await client.reply()).startswith("421 4.4.2 ")
        assert await client.at_end()


async def test_message_below_the_minimum_rate_is_cut() -> None:
    async with live(StubReception(), timeouts=TimeoutOptions(data_grace=10, data_rate=100)) as server:
        client = await server.dial()
        await client.greet()
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.org>")
        await client.ask("DATA")
        (session,) = server.listeners.sessions
        client.send(b"x" * 1000)  # good for ten seconds more
        await server.until(lambda: session.deadline == server.clock.now + 20)
        server.move(19)
        client.send(b"x" * 100)
        await server.until(lambda: session.deadline == server.clock.now + 2)
        server.move(2)
        assert (await client.reply()).startswith("421 4.4.2 ")
        assert "smtp.time-limit-exceeded" in server.ids()


async def test_drain_lets_a_message_finish_and_ends_the_others() -> None:
    reception = StubReception()
    async with live(reception) as server:
        idle, busy = await server.dial(), await server.dial()
        await idle.greet()
        await busy.greet()
        await busy.ask("MAIL FROM:<a@example.com>")
        await busy.ask("RCPT TO:<b@example.org>")
        assert (await busy.ask("DATA")).startswith("354")
        await server.until(lambda: any(session.at_boundary for session in server.listeners.sessions))
        drained = asyncio.create_task(server.listeners.drain(10))
        assert (await idle.reply()).startswith("421 4.3.2 ")
        await idle.close()
        busy.send(b"hi\r\n.\r\n")
        assert (await busy.reply()).startswith("250 2.0.0 ")
        assert (await busy.reply()).startswith("421 4.3.2 ")
        await busy.close()
        await drained
    assert len(reception.messages) == 1


async def test_lost_connection_does_not_stop_the_end_of_data() -> None:
    class Thoughtful(StubReception):
        async def finish(self, tx: Any) -> Any:
            started.set()
            await asyncio.wait_for(go_on.wait(), 10)
            return await super().finish(tx)

    started, go_on = asyncio.Event(), asyncio.Event()
    reception = Thoughtful()
    async with live(reception) as server:
        client = await server.dial()
        await client.greet()
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.org>")
        await client.ask("DATA")
        client.send(b"hi\r\n.\r\n")
        await started.wait()
        client.writer.transport.abort()
        (session,) = server.listeners.sessions
        await server.until(lambda: session.at_eof or session.transport is None)
        go_on.set()
        await server.until(lambda: not server.listeners.sessions)
    assert len(reception.messages) == 1
    assert reception.aborted == 0
