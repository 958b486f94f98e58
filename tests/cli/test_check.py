"""`relayd check`: what a configuration comes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relayd.cli.program import main

TEXT = """
[server]
hostname = "mx.example.org"
postmaster = "ops@example.org"
[server.listener.mx]
bind = ["127.0.0.1:25"]
relay-networks = ["10.0.0.0/8"]
[session.rcpt]
relay-domains = ["example.org", "example.net"]
[session.rcpt.known.open]
domains = ["example.net"]
check = "any"
[queue.outbound]
next-hop = "smarthost"
[queue.outbound.domain]
"example.com" = "mx"
[queue.route.smarthost]
address = "smtp.example.net"
port = 587
auth.username = "relay"
auth.secret = "not to be shown"
[queue.schedule]
retry = ["1h", "6h"]
notify = ["1d"]
expire = "2d"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "relayd.toml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_tables(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"{path}: valid"
    assert lines[1].startswith(f"warning: {path}:12: session.rcpt.known.open.check: every recipient of example.net")
    assert "mx smtp mx 127.0.0.1:25 STARTTLS" in lines
    assert any("10.0.0.0/8 on listener mx" in line for line in lines)
    assert "example.net any: EVERY name is taken" in lines
    assert "example.org probe: the next hop is asked" in lines
    assert "example.com its MX, port 25" in lines
    assert "(every other) route smarthost" in lines
    assert "smarthost smtp.example.net:587 smtp verified relay" in lines
    assert "Retry schedule (expires after 2d)" in lines
    assert "1 0 0" in lines
    assert "2 1h 1h" in lines
    assert "3 6h 7h" in lines
    assert any(line.startswith("6 6h 1d 1h tells the sender") for line in lines)
    assert lines[-1].endswith("2d gives up")
    assert "not to be shown" not in out


def test_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    answer = json.loads(out)
    assert answer["schedule"]["retry"] == ["1h", "6h"]
    assert answer["schedule"]["attempts"][2]["age"] == 7 * 3600
    assert answer["sessions"]["known-recipients"] == {"example.org": "probe", "example.net": "any"}
    assert answer["warnings"][0]["line"] == 12
    assert "not to be shown" not in out


def test_errors_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("[server]\nlop = 1\n", encoding="utf-8")
    assert main(["check", "--json", "--config", str(path)]) == 78
    assert json.loads(capsys.readouterr().out)["errors"] == [
        {"key": "server.lop", "line": 2, "text": 'unknown key, did you mean "server.loop"?', "source": "file"}
    ]


def test_the_default_configuration_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from relayd.config.generate import render

    assert main(["check", "--print-default"]) == 0
    assert capsys.readouterr().out == render()


def test_a_plugin_that_cannot_be_loaded_is_an_error_of_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "relayd.toml"
    file.write_text('server.postmaster = "a@b.example"\nsession.plugins = ["no_such_module:Class"]\n')
    assert main(["check", "--config", str(file)]) == 78
    assert f"{file}:2: session.plugins: no_such_module:Class cannot be loaded" in capsys.readouterr().err
