"""What every journey needs: a daemon with a next hop, on either event loop, and a client that sends."""

from __future__ import annotations

import os
import smtplib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.daemon import Daemon
from tests.rig.peers import absent, require_program
from tests.rig.postfix import Postfix

StartRelay = Callable[..., Daemon]
StartPostfix = Callable[[dict[str, str]], Postfix]


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.long)], scope="module")
def loop_name(request: pytest.FixtureRequest) -> str:
    """The event loop under the daemon: every journey passes on both."""
    name: str = request.param
    return name


@pytest.fixture
def relay(tmp_path: Path, loop_name: str) -> Iterator[StartRelay]:
    """Start daemons: `relay(port_of_the_next_hop or None, {settings})`; they are stopped at the end."""
    yield from _starting(tmp_path, loop_name)


@pytest.fixture(scope="module")
def module_relay(tmp_path_factory: pytest.TempPathFactory, loop_name: str) -> Iterator[StartRelay]:
    """The same for daemons that the tests of a module share."""
    yield from _starting(tmp_path_factory.mktemp("relays"), loop_name)


def _starting(directory: Path, loop_name: str) -> Iterator[StartRelay]:
    started: list[Daemon] = []

    def start(next_hop: int | None = None, settings: dict[str, Any] | None = None) -> Daemon:
        given: dict[str, Any] = {"server.loop": loop_name, "queue.schedule.retry": ["200ms"]}
        if next_hop is not None:
            given |= {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": next_hop,
            }
        daemon = Daemon(directory / f"relay{len(started)}", given | (settings or {}))
        started.append(daemon)
        return daemon.start()

    yield start
    for each in started:
        if each.process is not None and each.process.poll() is None:
            assert each.stop() == 0
        assert "Traceback" not in each.output.read_text(errors="replace")


@pytest.fixture
def postfix() -> Iterator[StartPostfix]:
    """Start Postfix instances; they are stopped at the end.  Their directory must be open to user postfix."""
    require_program("postfix")
    if os.geteuid() != 0:
        absent("Postfix's master needs root")
    with tempfile.TemporaryDirectory(prefix="relayd-postfix-") as name:
        started: list[Postfix] = []

        def start(settings: dict[str, str]) -> Postfix:
            instance = Postfix(Path(name) / str(len(started)), settings)
            started.append(instance)
            instance.start()
            return instance

        yield start
        for each in started:
            each.stop()


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
        if "SMTPUTF8" in mail_options:
            client.command_encoding = "utf-8"
        code, text = client.mail(sender, mail_options)
        assert code == 250, text
        for each in [to] if isinstance(to, str) else to:
            code, text = client.rcpt(each, rcpt_options)
            assert code == 250, text
        code, text = client.data(message() if content is None else content)
        assert code == 250, text
        return text.decode().rpartition(" ")[2]


class Proxied(smtplib.SMTP):
    """A client behind a load balancer: `header` (PROXY v1 or v2) is sent before the banner is read."""

    def __init__(self, port: int, header: bytes = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 25\r\n") -> None:
        self.header = header
        super().__init__("127.0.0.1", port, "client.test", timeout=60)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        connection.sendall(self.header)
        return connection


def wait_until(met: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
    """What `met` answers as soon as that is true; AssertionError after `timeout` seconds."""
    until = time.monotonic() + timeout
    while not (found := met()):
        assert time.monotonic() < until, f"not within {timeout} s: {what}"
        time.sleep(0.02)
    return found


def wait_logged(daemon: Daemon, *words: str, timeout: float = 20.0) -> str:
    """The first line of the daemon's log that has all `words`."""

    def found() -> str | None:
        lines = daemon.output.read_text(errors="replace").splitlines()
        return next((line for line in lines if all(word in line for word in words)), None)

    until = time.monotonic() + timeout
    while (line := found()) is None:
        assert time.monotonic() < until, f"{words} not in {daemon.output.read_text(errors='replace')[-3000:]}"
        time.sleep(0.02)
    return line


def wait_status(daemon: Daemon, queue_id: str, kind: str) -> str:
    """What the queue says about the message's first domain once its status is `kind` ("temp_fail" ...)."""

    def found() -> str | None:
        status = daemon.data_of("GET", f"/api/queue/messages/{queue_id}")["domains"][0]["status"]
        return str(status[kind]) if isinstance(status, dict) and kind in status else None

    text: str = wait_until(found, f"{queue_id} is {kind}")
    return text


def wait_gone(daemon: Daemon, queue_id: str) -> None:
    """Return once the message is settled."""
    wait_until(lambda: daemon.request("GET", f"/api/queue/messages/{queue_id}")[0] == 404, f"{queue_id} is settled")
