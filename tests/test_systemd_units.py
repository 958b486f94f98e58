"""The units: accepted by systemd without a word, sandboxed, and saying what the daemon relies on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rig.peers import require_program

_UNITS = Path(__file__).resolve().parents[1] / "systemd"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as installed."""
    for name in ("relayd.service", "relayd.socket"):
        (tmp_path / name).write_text((_UNITS / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def _values(name: str, section: str, key: str) -> list[str]:
    prefix = key + "="
    found, inside = [], ""
    for line in (_UNITS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            inside = line.strip("[]")
        elif inside == section and line.startswith(prefix):
            found.append(line.removeprefix(prefix))
    return found


def test_systemd_has_nothing_to_say_about_the_units(installed: Path) -> None:
    command = [require_program("systemd-analyze"), "verify", "./relayd.service", "./relayd.socket"]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_verify_would_have_said_something(installed: Path) -> None:
    unit = installed / "relayd.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("Type=notify", "Type=notified"), encoding="utf-8")
    command = [require_program("systemd-analyze"), "verify", "./relayd.service"]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=60, check=False)
    assert "notified" in done.stderr


def test_the_service_is_sandboxed(installed: Path) -> None:
    analyze = require_program("systemd-analyze")
    command = [analyze, "security", "--offline=true", "--threshold=16", "./relayd.service"]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-400:]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Type", "notify"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "relayd"),
        ("WatchdogSec", "30s"),
        ("Sockets", "relayd.socket"),
        ("RestartPreventExitStatus", "64 78"),
    ],
)
def test_the_service_says(key: str, expected: str) -> None:
    assert _values("relayd.service", "Service", key) == [expected]


def test_the_submit_socket_is_named_and_open_to_all_local_users() -> None:
    assert _values("relayd.socket", "Socket", "ListenStream") == ["/run/relayd/submit.sock"]
    assert _values("relayd.socket", "Socket", "FileDescriptorName") == ["submit"]
    assert _values("relayd.socket", "Socket", "SocketMode") == ["0666"]


def test_stopping_may_take_longer_than_the_daemon_needs() -> None:
    from relayd.mail.options import ServerOptions
    from relayd.options import parse_duration

    (allowed,) = _values("relayd.service", "Service", "TimeoutStopSec")
    assert parse_duration(allowed) > ServerOptions().stop_timeout


@pytest.mark.parametrize(
    ("program", "file"), [("systemd-sysusers", "relayd.sysusers"), ("systemd-tmpfiles", "relayd.tmpfiles")]
)
def test_users_and_directories_are_well_formed(program: str, file: str, tmp_path: Path) -> None:
    arguments = ["--create"] if program == "systemd-tmpfiles" else ["--dry-run"]
    if program == "systemd-tmpfiles":  # against an empty root, where the group is a number
        text = (_UNITS / file).read_text(encoding="utf-8").replace(" root relayd ", " root root ")
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n", encoding="utf-8")
        (tmp_path / "etc/group").write_text("root:x:0:\n", encoding="utf-8")
        checked = tmp_path / "relayd.conf"
        checked.write_text(text, encoding="utf-8")
    else:
        checked = _UNITS / file
    command = [require_program(program), *arguments, f"--root={tmp_path}", str(checked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
