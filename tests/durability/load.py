"""Clients that send numbered messages as fast as they are taken, and remember which were promised."""

from __future__ import annotations

import re
import smtplib
import threading
from collections import Counter
from dataclasses import dataclass, field

from tests.rig.sink import Delivery

TOKEN = re.compile(rb"^X-Token: (\S+)", re.MULTILINE)


@dataclass
class Load:
    """`threads` clients against a port of 127.0.0.1 until `stop`; a refused or broken session is begun anew.

    sizes: of the messages, in octets, taken in turn.  most: how many are sent.  waited: seconds for which a client
    waits for an answer.  promised: token -> queue id of every message that got its 250.  refused: token -> code of
    those that got another answer to their content.  sent: every token whose DATA was begun.  answers: how often each
    other code was given to MAIL, RCPT and DATA.
    """

    port: int
    threads: int = 8
    sizes: tuple[int, ...] = (600, 4000, 150_000)
    recipients: int = 2
    most: int = 1_000_000
    waited: float = 20.0
    promised: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0

    def start(self) -> None:
        """Begin sending."""
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.threads)]
        for each in self._workers:
            each.start()

    def stop(self) -> None:
        """Send nothing more, and wait for the clients."""
        self._stop.set()
        self.join()

    def join(self, timeout: float = 300.0) -> None:
        """Wait until `most` messages have been sent; TimeoutError after about `timeout` seconds."""
        for each in self._workers:
            each.join(timeout)
            if each.is_alive():
                raise TimeoutError("a client did not end")

    @property
    def is_done(self) -> bool:
        """Whether all has been sent."""
        return not any(each.is_alive() for each in self._workers)

    def go_on(self, more: int) -> None:
        """Send `more` messages after all was sent."""
        self._number, self.most = self.most, self.most + more
        self.start()

    def content(self, token: str) -> bytes:
        """The message of a token as it is sent."""
        number = int(token[1:])
        size = self.sizes[number % len(self.sizes)]
        line = b"the quick brown fox jumps over the lazy dog 0123456789 " + token.encode() + b"\r\n"
        head = (
            f"From: a@sender.test\r\nTo: b@receiver.test\r\nSubject: {number}\r\nX-Token: {token}\r\n"
            f"Message-ID: <{token}@sender.test>\r\nDate: Sat, 21 Nov 2026 05:00:00 +0000\r\n\r\n"
        )
        return head.encode() + line * max(1, size // len(line))

    def to(self) -> list[str]:
        """The recipients of every message."""
        return [f"r{each}@receiver.test" for each in range(self.recipients)]

    def _next(self) -> int | None:
        with self._lock:
            self._number += 1
            return self._number if self._number <= self.most else None

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, "client.test", timeout=self.waited) as client:
                    code, _ = client.ehlo()
                    if code != 250:
                        self.answers[code] += 1
                        continue
                    for _ in range(20):
                        number = self._next()
                        if number is None or self._stop.is_set():
                            return
                        self._send(client, f"t{number}")
            except (OSError, smtplib.SMTPException):
                self._stop.wait(0.01)

    def _send(self, client: smtplib.SMTP, token: str) -> None:
        for command in ("MAIL FROM:<a@sender.test>", *(f"RCPT TO:<{to}>" for to in self.to())):
            code, _ = client.docmd(command)
            if code != 250:
                self.answers[code] += 1
                client.rset()
                return
        self.sent.add(token)
        try:
            code, text = client.data(self.content(token))
        except smtplib.SMTPDataError as error:  # DATA itself was refused
            self.answers[error.smtp_code] += 1
            client.rset()
            return
        if code == 250:
            self.promised[token] = text.decode().rpartition(" ")[2]
        else:
            self.refused[token] = code
            self.answers[code] += 1


def token_of(content: bytes) -> str:
    """The token of a received message."""
    found = TOKEN.search(content)
    if found is None:
        raise AssertionError(f"a message that nobody sent: {content[:200]!r}")
    return found[1].decode()


def check_promises(load: Load, deliveries: list[Delivery]) -> Counter[tuple[str, str]]:
    """How often each (token, recipient) arrived.

    AssertionError unless every promised message came to each recipient, unchanged below what was added on top, and
    nothing came that nobody sent.
    """
    arrived: Counter[tuple[str, str]] = Counter()
    for each in deliveries:
        token = token_of(each.content)
        assert token in load.sent, f"{token} was never sent"
        assert each.content.endswith(b"\r\n" + load.content(token)), f"{token} was changed on its way"
        assert set(each.recipients) <= set(load.to())
        for recipient in each.recipients:
            arrived[token, recipient] += 1
    missing = [(token, to) for token in load.promised for to in load.to() if not arrived[token, to]]
    assert missing == [], f"{len(missing)} promised recipients got nothing"
    return arrived
