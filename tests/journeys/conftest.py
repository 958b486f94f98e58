"""What every journey needs: a daemon with a next hop, on either event loop, and a client that sends."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.daemon import Daemon

StartRelay = Callable[..., Daemon]


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.long)])
def loop_name(request: pytest.FixtureRequest) -> str:
    """The event loop under the daemon: every journey passes on both."""
    name: str = request.param
    return name


@pytest.fixture
def relay(tmp_path: Path, loop_name: str) -> Iterator[StartRelay]:
    """Start daemons: `relay(port_of_the_next_hop or None, {settings})`; they are stopped at the end."""
    started: list[Daemon] = []

    def start(next_hop: int | None = None, settings: dict[str, Any] | None = None) -> Daemon:
        given: dict[str, Any] = {"server.loop": loop_name, "queue.schedule.retry": ["200ms"]}
        if next_hop is not None:
            given |= {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": next_hop,
            }
        daemon = Daemon(tmp_path / f"relay{len(started)}", given | (settings or {}))
        started.append(daemon)
        return daemon.start()

    yield start
    for each in started:
        if each.process is not None and each.process.poll() is None:
            assert each.stop() == 0
        assert "Traceback" not in each.output.read_text(errors="replace")


def message(subject: str = "hello", body: str = "a line\r\n", **fields: str) -> bytes:
    """A small well-formed message."""
    header = {"From": "a@sender.test", "To": "b@receiver.test", "Subject": subject, **fields}
    return ("".join(f"{name}: {value}\r\n" for name, value in header.items()) + "\r\n" + body).encode()


def send(
    relay: Daemon,
    content: bytes | None = None,
    *,
    sender: str = "a@sender.test",
    to: str | list[str] = "b@receiver.test",
    mail_options: tuple[str, ...] = (),
    rcpt_options: tuple[str, ...] = (),
) -> str:
    """Hand a message to the relay; the queue id of its 250."""
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, "client.test", timeout=60) as client:
        client.ehlo()
        code, text = client.mail(sender, mail_options)
        assert code == 250, text
        for each in [to] if isinstance(to, str) else to:
            code, text = client.rcpt(each, rcpt_options)
            assert code == 250, text
        code, text = client.data(message() if content is None else content)
        assert code == 250, text
        return text.decode().rpartition(" ")[2]
