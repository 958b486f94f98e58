"""systemd's protocols: what the notify socket hears, and the sockets that are passed."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.supervision import Supervisor, inherited_sockets


@pytest.fixture(params=["path", "abstract"])
def hearing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The value of NOTIFY_SOCKET and the socket behind it."""
    abstract = request.param == "abstract"
    name = f"@relayd-test-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if abstract else name)
        listening.settimeout(10)
        yield name, listening


def test_what_is_told(hearing: tuple[str, socket.socket]) -> None:
    name, listening = hearing
    supervisor = Supervisor({"NOTIFY_SOCKET": name}, monotonic=lambda: 12.5)
    assert supervisor.is_supervised
    told = [
        supervisor.notify_ready("relaying\nREADY=0"),
        supervisor.notify_reloading(),
        supervisor.notify_status("3 queued"),
        supervisor.notify_alive(),
        supervisor.notify_stopping(),
    ]
    assert told == [True] * 5
    assert [listening.recv(4096).decode() for _ in told] == [
        "READY=1\nSTATUS=relaying READY=0",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "STATUS=3 queued",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_nobody_listens(tmp_path: Path) -> None:
    assert not Supervisor({}).notify_ready()
    assert not Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify_ready()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog_s_interval(environ: dict[str, str], interval: float | None) -> None:
    assert Supervisor(environ).watchdog_interval == interval


async def test_signs_of_life_only_while_healthy(hearing: tuple[str, socket.socket]) -> None:
    name, listening = hearing
    listening.setblocking(False)
    loop = asyncio.get_running_loop()
    asked = 0

    def is_healthy() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    supervisor = Supervisor({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000"})
    task = loop.create_task(supervisor.keep_alive(is_healthy))
    assert await asyncio.wait_for(loop.sock_recv(listening, 100), 10) == b"WATCHDOG=1"
    assert asked >= 3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_a_watchdog_there_is_nothing_to_do() -> None:
    await asyncio.wait_for(Supervisor({}).keep_alive(), 10)


_CHILD = """
import os
os.environ["LISTEN_PID"] = str(os.getpid())
from relayd.supervision import inherited_sockets
found = inherited_sockets()
print({name: [each.getsockname()[1] for each in sockets] for name, sockets in found.items()})
print([each.get_inheritable() or each.getblocking() for sockets in found.values() for each in sockets])
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


def test_inherited_sockets() -> None:
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [each.getsockname()[1] for each in listening]
    fds = [each.fileno() for each in listening]
    # the shell puts them where systemd does: 3, 4, 5
    redirections = " ".join(f"{10 + at}<&{fd}" for at, fd in enumerate(fds))
    moves = " ".join(f"{3 + at}<&{10 + at} {10 + at}<&-" for at in range(3))
    command = f'exec {redirections}; exec {moves}; exec "$0" "$@"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, "-c", _CHILD],
        env={**os.environ, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "smtp::smtp"},
        pass_fds=fds,
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for each in listening:
        each.close()
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str({"smtp": [ports[0], ports[2]], "unknown": [ports[1]]}),
        "[False, False, False]",
        "[]",
    ]


@pytest.mark.parametrize("pid", ["1", "", str(os.getpid()) + "0"], ids=["init", "none", "another"])
def test_sockets_for_another_process_are_left_alone(pid: str) -> None:
    assert inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": pid}) == {}
