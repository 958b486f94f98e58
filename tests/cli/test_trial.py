"""`relayd try`: a message goes through a whole relay and arrives at the sink."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.cli.trial import free_port

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def directory() -> Iterator[Path]:
    """For temporary files, by a name that leaves room for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="try-") as made:
        yield Path(made)


def send_one(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "relayd", "try", "--send"],
        cwd=_ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_directory_too_deep_for_sockets_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    done = send_one(deep)
    assert done.returncode == os.EX_CONFIG
    assert "server.data-dir: is too long" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_message_sent_arrives_and_its_path_is_shown(directory: Path) -> None:
    done = send_one(directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    path = ["smtp.mail-from", "smtp.rcpt-to", "queue.queue-message", "delivery.attempt-start", "=> arrived at the sink"]
    places = [done.stdout.find(each) for each in path]
    assert -1 not in places, done.stdout
    assert places == sorted(places)
    assert "from <you@example.org> to <friend@example.net>" in done.stdout
    assert "| Subject: Hello" in done.stdout
    assert list(directory.iterdir()) == []


def test_it_says_how_to_send_and_ends_when_interrupted(directory: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "relayd", "try"],
        cwd=_ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        said = ""
        for line in running.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        config = next(word for word in said.split() if word.endswith("relayd.toml"))
        sent = subprocess.run(
            [sys.executable, "-m", "relayd", "send", "--config", config, "--to", "a@x.example", "--body", "text"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
        for line in running.stdout:
            if line.startswith("=> arrived"):
                break
        else:
            raise AssertionError("nothing arrived")
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=30)
        assert running.returncode == 0, rest + errors
        assert errors == ""
    assert "swaks --server 127.0.0.1:" in said
    assert "smtplib.SMTP('127.0.0.1'" in said
    assert list(directory.iterdir()) == []


def test_a_port_that_is_taken_is_not_chosen() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken
