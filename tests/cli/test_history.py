"""`relayd message list|show`, `relayd events` and `relayd forget`."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

RECIPIENT = {
    "address": "b@receiver.test",
    "state": "deferred",
    "at": "2026-11-21T05:00:00Z",
    "host": "mx.receiver.test",
    "code": 451,
    "details": "later \x1b[31m",
    "attempts": 1,
    "nextRetry": "2026-11-21T05:02:00Z",
}
MESSAGE: dict[str, Any] = {
    "id": 128,
    "messageId": "<m@sender.test>",
    "from": "a@sender.test",
    "to": ["b@receiver.test", "c@receiver.test"],
    "size": 2048,
    "state": "deferred",
    "origin": "submitted",
    "listener": "smtp",
    "client": "192.0.2.1",
    "account": "jane",
    "receivedAt": "2026-11-21T05:00:00Z",
    "queuedAt": "2026-11-21T05:00:00Z",
    "finishedAt": None,
    "recipients": [RECIPIENT],
}
EVENT = {
    "text": "Delivery deferred",
    "details": "The recipient will be tried again",
    "createdAt": "2026-11-21T05:00:00Z",
    "type": "delivery.deferred",
    "data": {"to": "b@receiver.test", "code": 451, "hostname": "mx\u202e.receiver.test", "reason": None, "elapsed": 7},
}


@pytest.fixture
def run(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--url", f"unix:{control.path}"])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_list_of_messages(run: Any, control: FakeControl) -> None:
    control.answers["GET /api/telemetry/messages"] = {"data": {"items": [MESSAGE], "total": 9}}
    code, out, err = run("message", "list", "sender", "mx", "--address", "b@receiver.test", "-n", "1")
    assert code == 0
    assert control.asked[0].query == [
        ("address", "b@receiver.test"),
        ("filter", "sender mx"),
        ("limit", "1"),
        ("page", "1"),
    ]
    assert out.splitlines()[1].split() == [
        "128", "2026-11-21T05:00:00Z", "deferred", "a@sender.test", "b@receiver.test", "and", "1", "more", "2.0KB",
    ]  # fmt: skip
    assert "9 in all" in err


def test_a_message_with_all_that_happened(run: Any, control: FakeControl) -> None:
    found = {**MESSAGE, "spans": [1, 2], "events": [EVENT]}
    control.answers["GET /api/telemetry/message/%3Cm%40sender.test%3E"] = {"data": found}
    code, out, _ = run("message", "show", "<m@sender.test>")
    assert code == 0
    assert out.splitlines() == [
        "Message 128 <m@sender.test>",
        "deferred; submitted by 192.0.2.1 as jane at 2026-11-21T05:00:00Z, 2.0KB",
        "from a@sender.test",
        "  to b@receiver.test: deferred by mx.receiver.test: 451 later \\x1b[31m, next at 2026-11-21T05:02:00Z",
        "",
        "2026-11-21T05:00:00Z Delivery deferred (delivery.deferred) "
        "to = b@receiver.test, code = 451, hostname = mx\\x202e.receiver.test, elapsed = 7ms",
        "",
        "Its session and attempts: relayd api GET /telemetry/trace/1,2",
    ]
    assert json.loads(run("message", "show", "<m@sender.test>", "--json")[1]) == found
    assert run("message", "show", "77")[0] == 66


def test_the_table_of_events(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "smtp.ehlo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "id": "smtp.ehlo",
            "level": "info",
            "text": "SMTP EHLO command",
            "details": "The remote server sent an EHLO command",
            "fields": ["domain"],
        }
    ]
    assert main(["events"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 200


def test_an_address_is_forgotten_when_that_was_meant(
    run: Any, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.answers["POST /api/telemetry/forget"] = {"data": {"traces": 1, "history": 2, "logs": 3}}
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert run("forget", "jane@x.test")[0] == 130
    assert not control.asked
    code, out, _ = run("forget", "jane@x.test", "--yes")
    assert (code, out) == (0, "Overwritten in 1 traces, 2 entries of history, 3 log files\n")
    assert control.asked[0].body == {"address": "jane@x.test"}
