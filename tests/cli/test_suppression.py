"""`relayd suppression`."""

from __future__ import annotations

import json

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

ENTRY = {
    "id": 3,
    "scope": "domain:sender.test",
    "address": "dead@x.example",
    "cause": "bad-mailbox",
    "since": "2027-01-15T08:00:00Z",
    "until": None,
    "times": 1,
    "by": "",
    "note": "",
    "evidence": {
        "queue_id": 7,
        "host": "mx.x.example",
        "code": 550,
        "enhanced": "5.1.1",
        "reply": "no such user",
        "rule": "mailbox-unknown",
    },
}


@pytest.fixture
def url(control: FakeControl) -> list[str]:
    return ["--url", f"unix:{control.path}"]


def test_list_and_show(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/suppression"] = {"data": {"items": [ENTRY], "total": 2, "enabled": False}}
    assert main(["suppression", "list", "--cause", "bad-mailbox", *url]) == 0
    shown = capsys.readouterr()
    head, row, more = shown.out.splitlines()
    assert head.split() == ["ID", "ADDRESS", "SCOPE", "CAUSE", "SINCE", "UNTIL", "EVIDENCE"]
    assert row.split()[:2] == ["3", "dead@x.example"]
    assert row.endswith("550 5.1.1 no such user")
    assert more == "1 more: --limit"
    assert "enable is off" in shown.err
    assert control.asked[-1].query == [("cause", "bad-mailbox"), ("limit", "100")]
    control.answers["GET /api/suppression/3"] = {"data": ENTRY}
    assert main(["suppression", "show", "3", *url]) == 0
    assert "mailbox-unknown" in capsys.readouterr().out
    assert main(["suppression", "show", "3", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == ENTRY


def test_add(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["POST /api/suppression"] = {"data": {**ENTRY, "scope": "global"}}
    assert main(["suppression", "add", "dead@x.example", "--keep", "30d", "--note", "why", *url]) == 0
    assert capsys.readouterr().out == "dead@x.example is suppressed (global, id 3)\n"
    body = control.asked[-1].body
    assert body.pop("until").endswith("Z")
    assert body == {"address": "dead@x.example", "scope": "global", "cause": "operator", "note": "why"}
    assert main(["suppression", "add", "dead@x.example", "--keep", "soon", *url]) == 64


def test_remove(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["DELETE /api/suppression"] = {"data": {"matched": 1, "sample": []}}
    assert main(["suppression", "remove", "3", "4", *url]) == 0
    assert capsys.readouterr().out == "2 entries undone\n"
    assert [each.query for each in control.asked] == [[("id", "3")], [("id", "4")]]
    control.answers["DELETE /api/suppression"] = {"data": {"matched": 1, "sample": [ENTRY]}}
    assert main(["suppression", "remove", "--cause", "bad-mailbox", "--dry-run", *url]) == 0
    assert capsys.readouterr().out == (
        "1 entry would be undone\n  3 dead@x.example (bad-mailbox, domain:sender.test)\n"
    )
    assert control.asked[-1].query == [("cause", "bad-mailbox"), ("dry-run", "1")]
    control.answers["DELETE /api/suppression"] = {"data": {"matched": 0, "sample": []}}
    assert main(["suppression", "remove", "--all", *url]) == 66


@pytest.mark.parametrize("given", [[], ["3", "--cause", "x"], ["3", "--all"], ["--all", "--cause", "x"]])
def test_remove_needs_to_know_what(given: list[str], url: list[str], control: FakeControl) -> None:
    assert main(["suppression", "remove", *given, *url]) == 64
    assert control.asked == []
