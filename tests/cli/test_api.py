"""`relayd api`: any operation, its data as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl


@pytest.fixture
def run(control: FakeControl) -> Callable[..., int]:
    return lambda *words: main(["api", *words, "--url", f"unix:{control.path}"])


@pytest.mark.parametrize("path", ["/queue/messages", "queue/messages", "/api/queue/messages"])
def test_an_operation_is_asked_for_and_its_data_printed(
    run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    control.answers["GET /api/queue/messages"] = {"data": {"items": [1], "total": 1, "status": True}}
    assert run("get", path, "-q", "to=a=b", "-q", "limit=1") == 0
    assert control.asked[0].query == [("to", "a=b"), ("limit", "1")]
    assert json.loads(capsys.readouterr().out) == {"items": [1], "total": 1, "status": True}


def test_the_description_is_printed_whole(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/openapi.json"] = {"openapi": "3.1.0", "paths": {}}
    assert run("GET", "/openapi.json") == 0
    assert json.loads(capsys.readouterr().out) == {"openapi": "3.1.0", "paths": {}}


def test_a_body_is_sent(run: Any, control: FakeControl, tmp_path: Path) -> None:
    control.answers["POST /api/settings"] = {"data": None}
    body = tmp_path / "body.json"
    body.write_text('[{"type": "delete", "keys": ["a"]}]', encoding="utf-8")
    assert run("POST", "/settings", "--body", str(body)) == 0
    assert control.asked[0].body == [{"type": "delete", "keys": ["a"]}]


@pytest.mark.parametrize("words", [["GET", "/a", "-q", "limit"], ["POST", "/a", "--body", "BAD"]])
def test_what_is_no_parameter_or_no_json_is_refused_here(
    run: Any, control: FakeControl, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{", encoding="utf-8")
    assert run(*[str(bad) if word == "BAD" else word for word in words]) == 64
    assert control.asked == []
    assert "not" in capsys.readouterr().err
