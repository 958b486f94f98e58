"""Clients that send numbered messages as fast as they are taken, and remember which were promised."""

from __future__ import annotations

import re
import smtplib
import threading
from dataclasses import dataclass, field

TOKEN = re.compile(rb"^X-Token: (\S+)", re.MULTILINE)


@dataclass
class Load:
    """`threads` clients against a port of 127.0.0.1 until `stop`; a refused or broken session is begun anew.

    promised: token -> queue id of every message that got its 250.  sent: every token whose DATA was begun.
    `sizes` are taken in turn, in octets.
    """

    port: int
    threads: int = 8
    sizes: tuple[int, ...] = (600, 4000, 150_000)
    recipients: int = 2
    promised: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    most: int = 1_000_000

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.threads)]

    def start(self) -> None:
        """Begin sending."""
        for each in self._workers:
            each.start()

    def stop(self) -> None:
        """Send nothing more, and wait for the clients."""
        self._stop.set()
        for each in self._workers:
            each.join(60)

    def join(self) -> None:
        """Wait until `most` messages have been sent."""
        for each in self._workers:
            each.join(300)

    def _next(self) -> int | None:
        with self._lock:
            self._number += 1
            return self._number if self._number <= self.most else None

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, "client.test", timeout=20) as client:
                    client.ehlo()
                    for _ in range(20):
                        number = self._next()
                        if number is None:
                            return
                        if self._stop.is_set():
                            return
                        self._send(client, number)
            except (OSError, smtplib.SMTPException):
                self._stop.wait(0.01)

    def _send(self, client: smtplib.SMTP, number: int) -> None:
        token = f"t{number}"
        size = self.sizes[number % len(self.sizes)]
        line = b"the quick brown fox jumps over the lazy dog 0123456789 " + token.encode() + b"\r\n"
        content = (
            f"From: a@sender.test\r\nTo: b@receiver.test\r\nSubject: {number}\r\nX-Token: {token}\r\n"
            f"Message-ID: <{token}@sender.test>\r\nDate: Sat, 21 Nov 2026 05:00:00 +0000\r\n\r\n"
        ).encode() + line * max(1, size // len(line))
        self.sent.add(token)
        client.mail("a@sender.test")
        for each in range(self.recipients):
            client.rcpt(f"r{each}@receiver.test")
        code, text = client.data(content)
        if code == 250:
            self.promised[token] = text.decode().rpartition(" ")[2]


def token_of(content: bytes) -> str:
    """The token of a received message."""
    found = TOKEN.search(content)
    if found is None:
        raise AssertionError(f"a message that nobody sent: {content[:200]!r}")
    return found[1].decode()
