"""`relayd queue`: what is asked of the control socket, what is printed, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def run(control: FakeControl) -> Callable[..., int]:
    return lambda *words: main(["queue", *words, "--url", f"unix:{control.path}"])


def test_list_prints_a_table(run: Any, control: FakeControl, message: Make, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/queue/messages"] = {
        "data": {"items": [message(128), message(256, return_path="")], "total": 5, "status": True}
    }
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "size", "created", "from", "to", "state", "next", "attempt"]
    assert lines[1].split() == [
        "128", "2.0KB", "2026-11-21T05:00:00Z", "ann@a.example", "bob@b.example", "deferred", "2026-11-21T06:00:00Z",
    ]  # fmt: skip
    assert "<>" in lines[2]
    assert lines[3] == "2 of 5 messages; --page 2 shows more."
    assert control.asked[0].query == [("values", "1"), ("limit", "100"), ("page", "1")]


def test_list_takes_filters(run: Any, control: FakeControl) -> None:
    control.answers["GET /api/queue/messages"] = {"data": {"items": [], "total": 0, "status": True}}
    assert run("list", "--from", "Ann", "--domain", "B.example", "--held", "--limit", "7", "--page", "2") == 0
    assert control.asked[0].query[:3] == [("from", "ann"), ("domain", "b.example"), ("held", "1")]
    assert ("limit", "7") in control.asked[0].query


def test_list_says_why_the_queue_is_paused(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/queue/messages"] = {"data": {"items": [], "total": 0, "status": False}}
    pause = {"running": False, "since": "2026-11-21T05:00:00Z", "by": "root", "reason": "maintenance"}
    control.answers["GET /api/queue/status"] = {"data": pause}
    assert run("list") == 0
    assert "paused since 2026-11-21T05:00:00Z by root: maintenance" in capsys.readouterr().out


def test_list_as_json(run: Any, control: FakeControl, message: Make, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"items": [message()], "total": 1, "status": True}
    control.answers["GET /api/queue/messages"] = {"data": data}
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == data


def test_show(run: Any, control: FakeControl, message: Make, capsys: pytest.CaptureFixture[str]) -> None:
    held = {"since": "2026-11-21T05:00:00Z", "by": "root", "reason": "look\x1b[31m first"}
    control.answers["GET /api/queue/messages/128"] = {"data": message(hold=held)}
    assert run("show", "128") == 0
    out = capsys.readouterr().out
    assert "held     since 2026-11-21T05:00:00Z by root: look\\x1b[31m first" in out
    assert "<bob@b.example> temp fail Connection to 'b.example' failed: refused" in out


def test_an_unknown_id_is_66(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "1") == 66
    assert "404" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "method"),
    [(["retry"], "PATCH"), (["delete"], "DELETE"), (["retry", "--at", "2026-11-22T00:00:00Z"], "PATCH")],
)
def test_one_message_is_asked_for_by_its_path(words: list[str], method: str, run: Any, control: FakeControl) -> None:
    control.answers[f"{method} /api/queue/messages/128"] = {"data": True}
    assert run(*words, "128") == 0
    assert [(each.method, each.path) for each in control.asked] == [(method, "/api/queue/messages/128")]
    assert control.asked[0].query == ([("at", words[2])] if len(words) > 1 else [])


def test_a_missing_one_of_several_does_not_stop_the_others(
    run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["PATCH /api/queue/messages/256"] = {"data": True}
    assert run("retry", "128", "256") == 66
    captured = capsys.readouterr()
    assert "256 to be tried again" in captured.out
    assert "128: no such message" in captured.err


def test_many_are_asked_for_by_filter(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["DELETE /api/queue/messages"] = lambda query: {
        "data": {"matched": 3, "sample": [128, 256, 384]} if "dry-run" in query else True
    }
    assert run("delete", "--to", "b.example") == 0
    assert control.asked[-1].query == [("to", "b.example")]
    assert capsys.readouterr().out == "3 messages deleted\n"


def test_a_preview_only_asks(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["POST /api/queue/reroute"] = {"data": {"matched": 30, "sample": [128, 256]}}
    assert run("reroute", "--next-hop", "hub", "--all", "--dry-run") == 0
    assert [each.query for each in control.asked] == [[("dry-run", "1")]]
    assert control.asked[0].body == {"next_hop": "hub"}
    assert capsys.readouterr().out == "30 messages would be rerouted\n  128\n  256\n  and 28 more\n"
    control.answers["DELETE /api/queue/messages/128"] = {"data": {"matched": 1, "sample": [128]}}
    assert run("delete", "--purge", "128", "--dry-run") == 0
    assert control.asked[-1].query == [("purge", "1"), ("dry-run", "1")]
    assert capsys.readouterr().out == "128 would be purged\n"


def test_very_many_are_changed_in_batches_of_ids(
    run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [128 * number for number in range(1, 5001)]

    def listed(query: dict[str, str]) -> Any:
        found = [id for id in ids if id >= int(query["range-start"])][: int(query["limit"])]
        return {"data": {"items": found, "total": 1, "status": True}}

    def changed(query: dict[str, str]) -> Any:
        if "dry-run" in query:
            return {"data": {"matched": len(ids), "sample": ids[:20]}}
        first, last = int(query["range-start"]), int(query["range-end"])
        return {"data": {"matched": sum(first <= id <= last for id in ids)}}

    control.answers["GET /api/queue/messages"] = listed
    control.answers["POST /api/queue/hold"] = changed
    assert run("hold", "--domain", "b.example", "--reason", "why") == 0
    assert capsys.readouterr().out == "5000 messages held\n"
    posted = [each for each in control.asked if each.method == "POST"]
    assert [dict(each.query).get("range-start") for each in posted] == [None, "128", "256128", "512128"]
    assert all(each.body == {"reason": "why"} and ("domain", "b.example") in each.query for each in posted)


def test_deleted_mail_is_asked_for_by_name(
    run: Any, control: FakeControl, message: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted = {"since": "2026-11-21T05:00:00Z", "by": "ann", "reason": "", "until": "2026-11-22T05:00:00Z"}
    control.answers["GET /api/queue/messages"] = {
        "data": {"items": [message(deleted=deleted)], "total": 1, "status": True}
    }
    assert run("list", "--deleted") == 0
    assert control.asked[0].query[0] == ("state", "deleted")
    assert "deleted" in capsys.readouterr().out.splitlines()[1]
    control.answers["GET /api/queue/messages/128"] = {"data": message(deleted=deleted, next_hop="hub")}
    assert run("show", "128") == 0
    assert control.asked[1].query == [("deleted", "1")]
    out = capsys.readouterr().out
    assert "deleted  2026-11-21T05:00:00Z by ann: no reason given" in out
    assert "kept     until 2026-11-22T05:00:00Z" in out
    assert "goes by  hub" in out
    assert run("list", "--deleted", "--held") == 64
    control.answers["POST /api/queue/undo"] = {"data": {"matched": 1}}
    assert run("undo", "128") == 0
    assert capsys.readouterr().out == "1 message restored\n"


def test_suspended_destinations(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/queue/suspensions"] = {"data": []}
    assert run("suspensions") == 0
    assert capsys.readouterr().out == "Nothing is suspended.\n"
    one = {"destination": "mx:[::1]", "since": "2026-11-21T05:00:00Z", "until": None, "by": "breaker", "reason": "x"}
    one |= {"subject": "domain", "name": "[::1]"}
    control.answers["GET /api/queue/suspensions"] = {"data": [one]}
    assert run("suspensions") == 0
    assert "[::1]" in capsys.readouterr().out
    control.answers["DELETE /api/queue/suspensions/mx%3A%5B%3A%3A1%5D"] = {"data": True}
    assert run("unsuspend", "mx:[::1]") == 0
    assert run("unsuspend", "b.example") == 66


def test_suspend_and_resume_by_subject(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    until = "2026-11-21T05:30:00Z"
    control.answers["POST /api/queue/suspensions"] = {
        "data": {"destination": "provider:google", "subject": "provider", "name": "google", "until": until}
    }
    assert run("suspend", "--provider", "google", "--for", "30m", "--reason", "blocked") == 0
    assert capsys.readouterr().out == f"The provider google is suspended until {until}.\n"
    assert control.asked[-1].body == {"provider": "google", "for": "30m", "reason": "blocked"}
    assert run("suspend") == 64
    assert run("suspend", "--provider", "google", "--domain", "a.example") == 64
    assert run("resume", "--provider", "google", "--domain", "a.example") == 64
    capsys.readouterr()
    control.answers["DELETE /api/queue/suspensions/provider%3Agoogle"] = {"data": True}
    control.answers["DELETE /api/queue/suspensions/a.example"] = {"data": True}
    assert run("resume", "--provider", "google") == 0
    assert run("resume", "--domain", "a.example") == 0
    assert run("resume", "--account", "ann") == 66
    assert capsys.readouterr().out.startswith("The provider google is no longer suspended.\n")


@pytest.mark.parametrize("verb", ["retry", "delete", "hold", "release", "bounce"])
def test_nothing_selected_touches_nothing(verb: str, run: Any, control: FakeControl) -> None:
    assert run(verb) == 64
    assert run(verb, "128", "--to", "x") == 64
    assert control.asked == []


@pytest.mark.parametrize("verb", ["hold", "release", "bounce"])
def test_our_own_verbs(verb: str, run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers[f"POST /api/queue/{verb}"] = {"data": {"matched": 1}}
    reason = ["--reason", "why not"] if verb != "release" else []
    assert run(verb, "128", "256", *reason) == 0
    assert [each.query for each in control.asked] == [
        [("range-start", "128"), ("range-end", "128")],
        [("range-start", "256"), ("range-end", "256")],
    ]
    assert control.asked[0].body == ({"reason": "why not"} if reason else None)
    assert capsys.readouterr().out.startswith("2 messages ")


def test_nothing_matched_is_66(run: Any, control: FakeControl) -> None:
    control.answers["POST /api/queue/hold"] = {"data": {"matched": 0, "sample": []}}
    assert run("hold", "--all") == 66
    assert [each.query for each in control.asked] == [[("dry-run", "1")]]


@pytest.mark.parametrize(
    ("verb", "path", "before", "said"),
    [
        ("pause", "stop", True, "The queue is paused."),
        ("pause", "stop", False, "The queue was paused already."),
        ("resume", "start", False, "The queue runs."),
        ("resume", "start", True, "The queue was running already."),
    ],
)
def test_pause_and_resume(
    verb: str, path: str, before: bool, said: str, run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers[f"PATCH /api/queue/status/{path}"] = {"data": before}
    assert run(verb) == 0
    assert capsys.readouterr().out == said + "\n"


def test_an_audit_that_does_not_balance_is_70(
    run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["GET /api/queue/audit"] = {"data": {"accepted": 3, "queued": 3, "difference": 0}}
    assert run("audit") == 0
    assert "accepted    3" in capsys.readouterr().out
    control.answers["GET /api/queue/audit"] = {"data": {"accepted": 3, "queued": 2, "difference": 1}}
    assert run("audit", "--json") == 70
