"""The console's files: how they are served, and that they keep to what they promise."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

import relayd.console
from relayd.console.files import Console
from tests.control.conftest import Control

STATIC = Path(relayd.console.__file__).parent / "static"
FILES = sorted(STATIC.iterdir())
ELSEWHERE = re.compile(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|@import|\burl\(""", re.I)
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|\.cssText")


@pytest.fixture
async def anyone(control: Control) -> AsyncIterator[aiohttp.ClientSession]:
    """Who shows no credentials."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{control.port}") as session:
        yield session


def address(file: Path) -> str:
    return "/" if file.name == "index.html" else f"/console/{file.name}"


async def test_each_file_is_served_to_anyone_and_only_once(anyone: aiohttp.ClientSession) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    for file in FILES:
        async with anyone.get(address(file)) as answer:
            assert answer.status == 200, file
            assert await answer.read() == file.read_bytes()
            assert answer.headers["Content-Type"] == f"{types[file.suffix]}; charset=utf-8"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            tag = answer.headers["ETag"]
        async with anyone.get(address(file), headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
        async with anyone.get(address(file), headers={"If-None-Match": '"older"'}) as answer:
            assert answer.status == 200
        async with anyone.head(address(file)) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert answer.headers["Content-Length"] == str(file.stat().st_size)


async def test_the_policy_lets_nothing_in_from_elsewhere(anyone: aiohttp.ClientSession) -> None:
    async with anyone.get("/") as answer:
        policy = dict(each.strip().split(" ", 1) for each in answer.headers["Content-Security-Policy"].split(";"))
        headers = answer.headers
    assert policy["default-src"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    for name in ("script-src", "style-src", "connect-src"):
        assert policy[name] == "'self'"
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/nothing.js",
        "/console/../files.py",
        "/console/%2e%2e/files.py",
        "/console/..%2ffiles.py",
        "/console//etc/passwd",
        "/console/app.js/",
        "/console/app.js%00.css",
        "/console/index.html",
    ],
)
async def test_nothing_else_is_served(anyone: aiohttp.ClientSession, control: Control, path: str) -> None:
    async with anyone.get(URL(f"http://127.0.0.1:{control.port}{path}", encoded=True)) as answer:
        assert answer.status in (400, 401, 404)
        assert "Content-Security-Policy" not in answer.headers


async def test_nobody_writes_to_it(anyone: aiohttp.ClientSession) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        async with anyone.request(method, "/console/app.js") as answer:
            assert answer.status in (401, 405)


def test_only_files_of_known_types_are_read(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    (tmp_path / "folder").mkdir()
    paths = {door.path for door in Console(tmp_path).doors()}
    assert paths == {"/"}
    (tmp_path / "notes.bak").write_text("x")
    with pytest.raises(KeyError):
        Console(tmp_path)


@pytest.mark.parametrize("file", FILES, ids=lambda each: each.name)
def test_a_file_names_nothing_elsewhere_and_makes_no_markup_of_text(file: Path) -> None:
    text = file.read_text()
    assert ELSEWHERE.findall(text.replace("http://www.w3.org/2000/svg", "")) == []
    assert MARKUP.findall(text) == []
    assert text.count("\n") < 400


def test_each_import_is_of_a_file_that_exports_the_name() -> None:
    for file in STATIC.glob("*.js"):
        for names, other in re.findall(r'^import \{ ([^}]+) \} from "\./([^"]+)";$', file.read_text(), re.M):
            exported = (STATIC / other).read_text()
            for name in names.split(", "):
                assert re.search(rf"^export (?:async )?(?:function|const|class) {name}\b", exported, re.M), (file, name)
