"""`relayd webhook`."""

from __future__ import annotations

import json

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

HOOK = {
    "id": "my.hook",
    "url": "https://hooks.example/",
    "events": ["delivery.*", "auth.failed"],
    "signed": True,
    "offset": 128,
    "newest": 512,
    "pending": 3,
    "taken": 7,
    "last_taken": None,
    "failures": 2,
    "failing_since": "2027-01-15T08:00:00Z",
    "next_attempt": "2027-01-15T08:00:02Z",
    "last_error": "it answered 503",
}


@pytest.fixture
def url(control: FakeControl) -> list[str]:
    return ["--url", f"unix:{control.path}"]


def test_list_and_show(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/webhooks"] = {"data": {"items": [HOOK], "total": 1}}
    assert main(["webhook", "list", *url]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "URL", "PENDING", "TAKEN", "LAST", "TAKEN", "STATE"]
    assert row.endswith("failing since 2027-01-15T08:00:00Z: it answered 503")
    control.answers["GET /api/webhooks/my.hook"] = {"data": HOOK}
    assert main(["webhook", "show", "my.hook", *url]) == 0
    assert "delivery.*, auth.failed" in capsys.readouterr().out
    assert main(["webhook", "show", "my.hook", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == HOOK
    control.answers["GET /api/webhooks"] = {"data": {"items": [], "total": 0}}
    assert main(["webhook", "list", *url]) == 0
    assert capsys.readouterr().out == "No webhook is configured\n"


def test_replay(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["POST /api/webhooks/my.hook/replay"] = {"data": HOOK}
    assert main(["webhook", "replay", "my.hook", "--offset", "128", *url]) == 0
    assert capsys.readouterr().out == "3 events to be sent to my.hook\n"
    assert main(["webhook", "replay", "my.hook", "--since", "2027-01-15T08:00:00Z", *url]) == 0
    assert [each.body for each in control.asked] == [{"offset": 128}, {"since": "2027-01-15T08:00:00Z"}]
    assert main(["webhook", "replay", "my.hook", *url]) == 64


def test_test(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"taken": True, "status": 204, "reason": "", "elapsed": 12}
    control.answers["POST /api/webhooks/my.hook/test"] = {"data": answer}
    assert main(["webhook", "test", "my.hook", *url]) == 0
    assert capsys.readouterr().out == "taken: 204 after 12 ms\n"
    control.answers["POST /api/webhooks/my.hook/test"] = {"data": {**answer, "taken": False, "reason": "no answer"}}
    assert main(["webhook", "test", "my.hook", *url]) == 75
    assert "not taken: no answer" in capsys.readouterr().err
