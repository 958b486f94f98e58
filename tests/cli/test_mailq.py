"""`mailq`: Postfix's form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from relayd.cli.program import mailq, sendmail
from tests.cli.conftest import FakeControl

Make = Callable[..., dict[str, Any]]


def test_the_listing(control: FakeControl, message: Make, capsys: pytest.CaptureFixture[str]) -> None:
    held = {"since": "2026-11-21T05:00:00Z", "by": "root", "reason": ""}
    items = [message(128), message(256, return_path="", hold=held)]
    control.answers["GET /api/queue/messages"] = {"data": {"items": items, "total": 2, "status": True}}
    assert mailq(["--url", f"unix:{control.path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("-Queue ID-")
    assert lines[1].split()[:2] == ["128", "2048"]
    assert lines[1].endswith(" ann@a.example")
    assert lines[2].strip() == "(Connection to 'b.example' failed: refused)"
    assert lines[3] == " " * 40 + "bob@b.example"
    assert lines[5].startswith("256! ")
    assert lines[5].endswith(" MAILER-DAEMON")
    assert lines[-1] == "-- 4 Kbytes in 2 Requests."


def test_all_pages_are_read(control: FakeControl, message: Make, capsys: pytest.CaptureFixture[str]) -> None:
    everything = [message(128 * number) for number in range(1, 2501)]

    def page(query: dict[str, str]) -> dict[str, Any]:
        left = [each for each in everything if each["id"] >= int(query["range-start"])]
        return {"data": {"items": left[: int(query["limit"])], "total": len(left), "status": True}}

    control.answers["GET /api/queue/messages"] = page
    assert mailq(["--url", f"unix:{control.path}", "--json"]) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == [each["id"] for each in everything]


def test_sendmail_bp_is_mailq(
    control: FakeControl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control.answers["GET /api/queue/messages"] = {"data": {"items": [], "total": 0, "status": True}}
    monkeypatch.setenv("RELAYD_URL", f"unix:{control.path}")
    assert sendmail(["-bp"]) == 0
    assert capsys.readouterr().out == "Mail queue is empty\n"
