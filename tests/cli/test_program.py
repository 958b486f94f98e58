"""The entry points: names, options in either place, exit codes, start-up time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relayd import __version__
from relayd.cli.program import VERBS, main
from tests.cli.conftest import FakeControl


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"relayd {__version__}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"relayd {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["queue", "nonsense"], ["queue", "list", "--nonsense"], ["backup"]]
)
def test_a_wrong_command_line_is_64(arguments: list[str]) -> None:
    assert main(arguments) == 64


def test_options_stand_before_or_after_the_verb(control: FakeControl) -> None:
    control.answers["GET /api/queue/audit"] = {"data": {"difference": 0}}
    url = ["--url", f"unix:{control.path}"]
    for arguments in ([*url, "queue", "audit"], ["queue", *url, "audit"], ["queue", "audit", *url]):
        assert main(arguments) == 0
    assert len(control.asked) == 3


def test_an_error_of_the_configuration_is_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[server]\nhostnam = 1\nloop = 2\n", encoding="utf-8")
    for arguments in (
        ["--config", str(path), "queue", "list"],
        ["serve", "--config", str(path)],
        ["check", "--config", str(path)],
    ):
        assert main(arguments) == 78
        err = capsys.readouterr().err
        assert f"{path}:2: server.hostnam: unknown key" in err
        assert f"{path}:3: server.loop: expected one of" in err


def test_the_configuration_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAYD_CONFIG", str(tmp_path / "none.toml"))
    assert main(["check"]) == 78


def test_the_name_of_the_program_decides(capsys: pytest.CaptureFixture[str], control: FakeControl) -> None:
    control.answers["GET /api/queue/messages"] = {"data": {"items": [], "total": 0, "status": True}}
    assert main(["--url", f"unix:{control.path}"], name="/usr/bin/mailq") == 0
    assert capsys.readouterr().out == "Mail queue is empty\n"
    assert main(["-bd"], name="/usr/sbin/sendmail") == 64


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "from relayd.cli.program import main; main(['--version'])",
            ["click", "rich", "asyncio", "aiohttp", "relayd.config"],
        ),
        ("import relayd.cli.sendmail", ["click.testing", "rich", "asyncio", "aiohttp", "email", "relayd.config"]),
        ("import relayd.config.load", ["dns", "aiohttp", "aiosmtpd", "cryptography", "msgspec"]),
        ("import relayd.cli.queue", ["rich", "asyncio", "aiohttp", "aiosmtpd", "cryptography", "relayd.config"]),
    ],
)
def test_what_must_start_fast_imports_little(code: str, heavy: list[str]) -> None:
    shown = f"{code}\nimport sys\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_backup(control: FakeControl, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["POST /api/backup"] = {"data": {"directory": "x", "bodies": 3}}
    url = ["--url", f"unix:{control.path}"]
    target = tmp_path / "copy"
    assert main(["backup", str(target), *url]) == 0
    assert control.asked[0].body == {"directory": str(target)}
    assert capsys.readouterr().out == f"Copied to {target}: bodies 3\n"
    target.mkdir()
    (target / "file").touch()
    assert main(["backup", str(target), *url]) == 73
    assert len(control.asked) == 1
