"""`relayd settings` and `relayd reload`: what they ask the daemon, what they print, and their exit codes."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest

from relayd.cli.program import main
from relayd.config.store import open_store, read_stored
from relayd.events.event import EventStream, Span
from relayd.queue.lock import DirectoryLock
from tests.cli.conftest import FakeControl

DONE = {"data": None}


@pytest.fixture
def url(control: FakeControl) -> list[str]:
    return ["--url", f"unix:{control.path}"]


def test_list(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/settings/list"] = lambda query: {
        "data": {"total": 1, "items": {"node": "5"}, "sources": {"server.node": "database"}}
        if "source" in query
        else {"total": 1, "items": {"node": "5"}}
    }
    assert main(["settings", "list", "server", *url]) == 0
    assert capsys.readouterr().out.split() == ["key", "value", "server.node", "5"]
    assert main(["settings", "list", "server.", "--source", "--defaults", *url]) == 0
    assert capsys.readouterr().out.split() == ["key", "value", "from", "server.node", "5", "database"]
    assert control.asked[1].query == [("prefix", "server."), ("defaults", "1"), ("source", "1")]
    assert main(["settings", "list", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == {"node": "5"}
    control.answers["GET /api/settings/list"] = {"data": {"total": 0, "items": {}}}
    assert main(["settings", "list", "nothing", *url]) == 0
    assert capsys.readouterr().out == "Nothing is set below nothing.\n"


def test_get(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/settings/keys"] = {"data": {"server.node": "5"}}
    assert main(["settings", "get", "server.node", *url]) == 0
    assert capsys.readouterr().out == "5\n"
    assert main(["settings", "get", "server.node", "server.loop", *url]) == 66
    assert capsys.readouterr().err == "relayd: server.loop is not set\n"
    assert control.asked[1].query == [("keys", "server.node,server.loop")]
    control.answers["GET /api/settings/keys"] = {"data": {"items": {"a.b.0000": "x"}, "sources": {"a.b.0000": "file"}}}
    assert main(["settings", "get", "a.b", "--source", *url]) == 0
    assert "a.b.0000  x      file" in capsys.readouterr().out


def test_set(
    control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control.answers["POST /api/settings"] = DONE
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    assert main(["settings", "set", "server.node", "5", "account.a.secret", "-", "--new", *url]) == 0
    values = [["server.node", "5"], ["account.a.secret", "hunter2"]]
    assert control.asked[0].body == [{"type": "insert", "prefix": None, "values": values, "assert_empty": True}]
    assert "2 keys written" in capsys.readouterr().out
    assert main(["settings", "set", "server.node", *url]) == 64
    assert main(["settings", "set", "--list", "a.b", "x", "y", *url]) == 0
    assert control.asked[-1].body == [
        {"type": "delete", "keys": ["a.b"]},
        {"type": "insert", "prefix": None, "values": [["a.b.0000", "x"], ["a.b.0001", "y"]], "assert_empty": False},
    ]
    assert main(["settings", "set", "--list", "a.b", *url]) == 0
    assert control.asked[-1].body[1]["values"] == [["a.b", ""]]
    for refusal in ({"error": "other", "details": "refused", "reason": "why"}, {"error": "assertFailed"}):
        control.answers["POST /api/settings"] = refusal
        assert main(["settings", "set", "server.node", "5", *url]) == 65
    assert "why" in capsys.readouterr().err


def test_delete(control: FakeControl, url: list[str]) -> None:
    control.answers["DELETE /api/settings/account.a%40b.secret"] = DONE
    control.answers["POST /api/settings"] = DONE
    assert main(["settings", "delete", "account.a@b.secret", *url]) == 0
    assert main(["settings", "delete", "x", "y", "--below", "z.", *url]) == 0
    assert control.asked[1].body == [{"type": "delete", "keys": ["x", "y"]}, {"type": "clear", "prefix": "z."}]
    assert main(["settings", "delete", *url]) == 64


def test_delete_without_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "relayd.toml"
    file.write_text(f'server.data-dir = "{tmp_path}/data"\n')
    config = ["--config", str(file)]
    assert main(["settings", "delete", "server.node", *config]) == 69  # nobody answers, nothing is there
    (tmp_path / "data").mkdir()
    stored = {"server.node": "5", "a.list.0000": "x", "a.list.0001": "y", "a.listing": "z", "b.c": "1"}

    async def store() -> None:
        opened = await open_store(tmp_path / "data", Span(EventStream(lambda: 0.0)))
        await opened.replace(stored)
        await opened.close()

    asyncio.run(store())
    assert main(["settings", "delete", "a.list", "--below", "b.", *config]) == 0
    assert read_stored(tmp_path / "data") == {"server.node": "5", "a.listing": "z"}
    assert "a.list.0000, a.list.0001, b.c" in capsys.readouterr().out
    assert main(["settings", "delete", "a.list", *config]) == 66
    lock = DirectoryLock(tmp_path / "data")
    try:
        assert main(["settings", "delete", "a.listing", *config]) == 75
    finally:
        lock.release()
    assert main(["settings", "delete", "a.listing", *config, "--url", f"unix:{tmp_path}/none"]) == 69
    assert read_stored(tmp_path / "data") == {"server.node": "5", "a.listing": "z"}


def test_group(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    item = {"_id": "smtp", "protocol": "smtp", "bind.0000": "127.0.0.1:25"}
    sources = {"server.listener.smtp.protocol": "file", "server.listener.smtp.bind.0000": "database"}
    control.answers["GET /api/settings/group"] = {"data": {"total": 3, "items": [item], "sources": sources}}
    assert main(["settings", "group", "server.listener", "protocol", "--limit", "1", "--filter", "x", *url]) == 0
    assert control.asked[0].query == [
        ("prefix", "server.listener"), ("suffix", "protocol"), ("filter", "x"), ("limit", "1"),
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "smtp",
        "  bind.0000 127.0.0.1:25  (database)",
        "  protocol smtp  (file)",
        "1 of 3 records",
    ]
    control.answers["GET /api/settings/group"] = {"data": {"total": 1, "items": [{"_id": "node", "_value": "5"}]}}
    assert main(["settings", "group", "server", *url]) == 0
    assert capsys.readouterr().out.splitlines() == ["node", "  = 5", "1 records"]
    assert main(["settings", "group", "server", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 1


def test_reload(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    warnings = {"server.node": {"type": "build", "error": "takes effect at the next start"}, "x": {"type": "missing"}}
    control.answers["GET /api/reload/"] = {"data": {"warnings": warnings, "errors": {}}}
    assert main(["reload", *url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "warning: server.node: takes effect at the next start",
        "warning: x: missing",
        "Reloaded.",
    ]
    assert main(["reload", "--dry-run", *url]) == 0
    assert control.asked[1].query == [("dry-run", "1")]
    assert "nothing was applied" in capsys.readouterr().out
    errors = {"server.node": {"type": "parse", "error": "relayd.toml:3: expected a whole number"}}
    control.answers["GET /api/reload/certificate"] = {"data": {"warnings": {}, "errors": errors}}
    assert main(["reload", "certificate", *url]) == 78
    assert capsys.readouterr().err.splitlines() == [
        "error: server.node: relayd.toml:3: expected a whole number",
        "Nothing was applied; what was in force stays.",
    ]
    assert main(["reload", "everything", *url]) == 64
