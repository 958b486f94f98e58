"""`relayd bans`."""

from __future__ import annotations

import json

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

BANS = {
    "items": [
        {
            "address": "2001:db8::/64",
            "since": "2027-01-15T08:00:00Z",
            "until": "2027-01-15T09:00:00Z",
            "reason": "repeated failed sign-ins",
            "times": 1,
        }
    ],
    "total": 1,
}


def test_list(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--url", f"unix:{control.path}"]
    control.answers["GET /api/bans"] = {"data": BANS}
    assert main(["bans", "list", *url]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ADDRESS", "SINCE", "UNTIL", "TIMES", "REASON"]
    assert row.startswith("2001:db8::/64  2027-01-15T08:00:00Z  2027-01-15T09:00:00Z  1")
    assert main(["bans", "list", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == BANS
    control.answers["GET /api/bans"] = {"data": {"items": [], "total": 0}}
    assert main(["bans", "list", *url]) == 0
    assert capsys.readouterr().out == "Nobody is banned\n"


def test_lift(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--url", f"unix:{control.path}"]
    control.answers["DELETE /api/bans/2001%3Adb8%3A%3A%2F64"] = {"data": True}
    assert main(["bans", "lift", "2001:db8::/64", *url]) == 0
    assert capsys.readouterr().out == "2001:db8::/64 may come again\n"
    control.answers["DELETE /api/bans/192.0.2.1"] = {"error": "notFound", "item": "192.0.2.1"}
    assert main(["bans", "lift", "192.0.2.1", *url]) == 66
