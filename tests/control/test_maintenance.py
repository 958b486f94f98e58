"""Backup and reload: carried out, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.control.conftest import Control


async def test_a_backup_is_written(local: aiohttp.ClientSession, tmp_path: Path, control: Control) -> None:
    await control.rig.o.queue.enqueue(control.rig.new())
    async with local.post("/api/backup", json={"directory": str(tmp_path / "copy")}) as answer:
        data = (await answer.json())["data"]
    assert data["directory"] == str(tmp_path / "copy")
    assert data["size"] > 0
    assert (tmp_path / "copy" / "queue.db").exists()
    assert control.named("manage.action")[-1].fields["type_"] == "backup"


async def test_a_backup_that_cannot_be_written_says_why(local: aiohttp.ClientSession, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    async with local.post("/api/backup", json={"directory": str(tmp_path / "full")}) as answer:
        assert answer.status == 200
        body = await answer.json()
    assert body["error"] == "other"
    assert str(tmp_path / "full") in body["reason"]


@pytest.mark.parametrize("directory", ["", "relative/place", "/a\0b"])
async def test_a_backup_needs_an_absolute_path(local: aiohttp.ClientSession, directory: str) -> None:
    async with local.post("/api/backup", json={"directory": directory}) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/reload", ("", False)),
        ("/api/reload/", ("", False)),
        ("/api/reload?dry-run=1", ("", True)),
        ("/api/reload/certificate", ("certificate", False)),
        ("/api/reload/server.blocked-ip?dry-run=", ("server.blocked-ip", False)),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_reload(
    local: aiohttp.ClientSession, control: Control, method: str, path: str, asked: tuple[str, bool]
) -> None:
    async with local.request(method, path) as answer:
        data = (await answer.json())["data"]
    assert data == {"warnings": {"queue.min-free": {"type": "build", "error": "is low"}}, "errors": {}}
    assert control.reloads == [asked]
    assert bool(control.named("manage.action")) is not asked[1]


async def test_a_refused_reload_answers_errors_by_key(local: aiohttp.ClientSession, control: Control) -> None:
    control.refusals.append("relayd.toml:3: expected one of")
    async with local.get("/api/reload/") as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "data": {"warnings": {}, "errors": {"server.loop": {"type": "parse", "error": control.refusals[0]}}}
        }
    assert not control.named("manage.action")
