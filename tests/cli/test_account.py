"""`relayd account hash`."""

from __future__ import annotations

import io

import pytest

from relayd.cli.program import main
from relayd.directory.password import matches


def run(monkeypatch: pytest.MonkeyPatch, text: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return main(["account", "hash"])


def test_the_first_line_of_stdin_is_hashed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, " pä ss \r\nmore\n") == 0
    stored = capsys.readouterr().out.strip()
    assert stored.startswith("$argon2id$")
    assert matches(" pä ss ", stored)


def test_at_a_terminal_it_is_asked_for_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []

    def hidden(prompt: str) -> str:
        asked.append(prompt)
        return "s3cret"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("click.termui.hidden_prompt_func", hidden)
    assert main(["account", "hash"]) == 0
    output = capsys.readouterr()
    assert matches("s3cret", output.out.strip())
    assert len(asked) == 2
    assert "s3cret" not in output.err


@pytest.mark.parametrize("text", ["", "\n", "x" * 1025, "a\0b\n"])
def test_what_no_secret_can_be(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert run(monkeypatch, text) == 65
    assert capsys.readouterr().out == ""
