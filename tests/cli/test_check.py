"""`relayd check`: what a configuration comes to."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from relayd.cli.program import main
from relayd.config import store
from relayd.config.store import MIGRATIONS

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
[queue.outbound.tls.domain."example.com"]
mode = "verified"
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
    assert "example.com verified 1.2" in lines
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


def stored_in(directory: Path, *rows: tuple[str, str]) -> Path:
    """A configuration whose data directory has these settings in its database."""
    file = directory / "relayd.toml"
    file.write_text(f'server.data-dir = "{directory}"\nserver.postmaster = "a@b.example"\n', encoding="utf-8")
    database = sqlite3.connect(directory / "settings.db")
    database.execute(MIGRATIONS[0].statements[0])
    database.execute("PRAGMA user_version = 1")
    database.executemany("INSERT INTO settings VALUES (?, ?)", rows)
    database.commit()
    database.close()
    return file


def test_the_settings_of_the_database_are_laid_over_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = stored_in(tmp_path, ("queue.schedule.retry.0000", "7m"), ("account.a.secret", "hunter2"))
    assert main(["check", "--json", "--config", str(file)]) == 0
    out = capsys.readouterr().out
    answer = json.loads(out)
    assert answer["schedule"]["retry"] == ["7m"]
    keys = ["account.a.secret", "queue.schedule.retry.0000"]
    assert answer["database"] == {"path": f"{tmp_path}/settings.db", "keys": keys, "unreadable": None}
    assert "hunter2" not in out


def test_an_error_of_the_database_says_so_and_how_to_get_rid_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = stored_in(tmp_path, ("queue.schedule.retry.0000", "soon"))
    assert main(["check", "--json", "--config", str(file)]) == 78
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert (error["key"], error["line"], error["source"]) == ("queue.schedule.retry.0000", None, "database")
    assert main(["check", "--config", str(file)]) == 78
    err = capsys.readouterr().err
    assert "database: queue.schedule.retry.0000: expected a duration" in err
    assert '"relayd settings delete queue.schedule.retry.0000" removes' in err


def test_a_database_that_we_may_not_read_is_said_and_one_that_is_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stored_in(tmp_path, ("queue.schedule.retry.0000", "7m"))
    (tmp_path / "settings.db").write_bytes(b"what is this?" * 1000)
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(file)]) == 71
        assert "the settings of the database cannot be read" in capsys.readouterr().err

    def refuse(directory: Path) -> dict[str, str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "read_stored", refuse)
    assert main(["check", "--config", str(file)]) == 0
    assert f"NOT looked at, {tmp_path}/settings.db cannot be read: Permission denied" in capsys.readouterr().out
