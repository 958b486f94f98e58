"""What a whole session says and does; oddities of single commands are in tests/dialogues."""

from __future__ import annotations

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
