"""`relayd bans`, `relayd greylist`, `relayd reputation`."""

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
            "evidence": "sign-in as 'ann'",
        }
    ],
    "total": 1,
}


def test_list(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--url", f"unix:{control.path}"]
    control.answers["GET /api/bans"] = {"data": BANS}
    assert main(["bans", "list", *url]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ADDRESS", "SINCE", "UNTIL", "TIMES", "REASON", "EVIDENCE"]
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


GREYLIST = {
    "items": [
        {"key": "spf:b.c", "is_waiting": False, "until": "2027-01-15T08:00:00Z", "since": None, "sender": None,
         "recipient": None},
        {"key": "192.0.2.0/24", "is_waiting": True, "until": None, "since": "2027-01-15T08:00:00Z", "sender": "a@b.c",
         "recipient": "d@e.f"},
    ],
    "total": 2,
    "enabled": False,
}  # fmt: skip


def test_greylist_and_reputation(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--url", f"unix:{control.path}"]
    control.answers["GET /api/greylist"] = {"data": GREYLIST}
    assert main(["greylist", "list", *url]) == 0
    off, head, first, second, count = capsys.readouterr().out.splitlines()
    assert off == "It is off: greylist.enabled"
    assert head.split() == ["KEY", "UNTIL", "WAITS", "SINCE", "FROM", "TO"]
    assert first.split() == ["spf:b.c", "2027-01-15T08:00:00Z"]
    assert second.split() == ["192.0.2.0/24", "2027-01-15T08:00:00Z", "a@b.c", "d@e.f"]
    assert count == "2 of 2"
    control.answers["DELETE /api/greylist"] = {"data": 1}
    assert main(["greylist", "reset", "192.0.2.0/24", *url]) == 0
    assert capsys.readouterr().out == "1 forgotten\n"
    assert main(["greylist", "reset", *url]) == 64
    record = {"key": "ip:192.0.2.1/32", "ham": 1.0, "spam": 9.5, "goodness": -0.68}
    control.answers["GET /api/reputation"] = {"data": {"items": [record], "total": 1, "enabled": True}}
    capsys.readouterr()
    assert main(["reputation", "list", "--filter", "ip", *url]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["ip:192.0.2.1/32", "1.0", "9.5", "-0.68"]
