"""The next hop of `relayd try`: an SMTP server on loopback that takes everything and tells what arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Arrival:
    """A message that arrived."""

    return_path: str
    recipients: tuple[str, ...]
    content: bytes


class Sink:
    """Answers as the next hop.  on_arrival is called in the loop, before the 250."""

    def __init__(self, on_arrival: Callable[[Arrival], None]) -> None:
        self._on_arrival = on_arrival
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free port of loopback; the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="sink.invalid", ident="sink of relayd try", enable_SMTPUTF8=True, loop=loop),
            "127.0.0.1",
            0,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: the message is complete."""
        content = envelope.content or b""
        octets = content if isinstance(content, bytes) else content.encode()
        self._on_arrival(Arrival(envelope.mail_from or "", tuple(envelope.rcpt_tos), octets))
        return "250 2.0.0 arrived"
