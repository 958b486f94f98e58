"""`relayd message body`: by id or hash, to a terminal, a pipe or a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

HASH = "A" * 21 + "-_" + "b" * 20
BODY = b"Subject: \x1b]0;title\x07 h\xc3\xa9\r\n\r\n\tone\r\ntwo \xff\r\n"


@pytest.fixture
def run(control: FakeControl) -> Callable[..., int]:
    control.answers[f"GET /api/store/blobs/{HASH}"] = BODY
    return lambda *words: main(["message", "body", *words, "--url", f"unix:{control.path}"])


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        self.shown = io.BytesIO()
        super().__init__(self.shown, encoding="utf-8", newline="", write_through=True)

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_the_octets(run: Any, control: FakeControl, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(HASH, "--head", "100") == 0
    assert capfdbinary.readouterr().out == BODY
    assert control.asked[0].query == [("limit", "100")]


def test_an_id_is_looked_up(
    run: Any, control: FakeControl, message: Any, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    control.answers["GET /api/queue/messages/128"] = {"data": message(128, blob_hash=HASH)}
    assert run("128") == 0
    assert capfdbinary.readouterr().out == BODY


def test_a_terminal_is_not_steered(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert run(HASH) == 0
    assert terminal.shown.getvalue().decode() == "Subject: \\x1b]0;title\\x07 hé\n\n\tone\ntwo \ufffd\n"


def test_a_file_is_for_its_owner_alone(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "message.eml"
    assert run(HASH, "-o", str(path)) == 0
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(HASH, "-o", str(tmp_path / "none" / "x")) == 73


def test_what_is_not_there(run: Any, control: FakeControl, tmp_path: Path) -> None:
    control.answers[f"GET /api/store/blobs/{HASH}"] = {"error": "notFound", "item": ""}
    path = tmp_path / "message.eml"
    assert run(HASH, "-o", str(path)) == 66
    assert not path.exists()
    assert run("128") == 66
    assert run("neither") == 64
