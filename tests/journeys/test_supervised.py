"""systemd's side of the protocol, played: readiness, status, watchdog, reload, inherited sockets, stopping."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import send
from tests.rig.daemon import Daemon
from tests.rig.sink import Sink


class Notifications:
    """The socket that NOTIFY_SOCKET names; datagrams are kept in order."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.seen: list[str] = []

    def wait_for(self, text: str, timeout: float = 20.0) -> str:
        """The first datagram from now on that has `text`."""
        until = time.monotonic() + timeout
        while True:
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            datagram = self.socket.recv(65536).decode()
            self.seen.append(datagram)
            if text in datagram:
                return datagram


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[Notifications]:
    """Somebody who listens as systemd does."""
    listening = Notifications(tmp_path / "notify")
    yield listening
    listening.socket.close()


def test_readiness_watchdog_reload_and_stop_are_told(tmp_path: Path, notifications: Notifications) -> None:
    daemon = Daemon(
        tmp_path / "relay",
        environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"},
    )
    daemon.start(wait=False)
    notifications.wait_for("READY=1")
    status, _ = daemon.request("GET", "/healthz/ready")
    assert status == 200
    notifications.wait_for("WATCHDOG=1")
    before = time.monotonic_ns() // 1000
    daemon.signal(signal.SIGHUP)
    reloading = notifications.wait_for("RELOADING=1")
    stamp = re.search(r"MONOTONIC_USEC=(\d+)", reloading)
    assert stamp is not None
    assert before <= int(stamp[1]) <= time.monotonic_ns() // 1000
    notifications.wait_for("READY=1")
    daemon.signal(signal.SIGTERM)
    notifications.wait_for("STOPPING=1")
    assert daemon.stop() == 0


def test_inherited_sockets_are_the_listeners(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, Sink() as sink:
        port = listening.getsockname()[1]
        daemon = Daemon(
            tmp_path,
            {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": sink.port,
                "server.listener.smtp.bind": ["127.0.0.1:1"],
            },
            environment={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"},
        )
        daemon.smtp_port = port
        shell = ("bash", "-c", f'LISTEN_PID=$$ exec "$@" 3<&{listening.fileno()}', "sh")
        daemon.start(prefix=shell, pass_fds=(listening.fileno(),))
        send(daemon)
        sink.wait_for(1)
        assert daemon.stop() == 0
