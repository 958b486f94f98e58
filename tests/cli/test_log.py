"""`relayd log`: what is asked for and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from relayd.cli import log
from relayd.cli.program import main
from tests.cli.conftest import FakeControl

Line = dict[str, Any]


def line(number: int, details: str = "a = 1") -> Line:
    return {
        "timestamp": f"2026-11-21T05:00:{number:02d}Z",
        "level": "INFO",
        "event": "Heard",
        "event_id": "test.heard",
        "details": details,
    }


@pytest.fixture
def run(control: FakeControl) -> Callable[..., int]:
    return lambda *words: main(["log", *words, "--url", f"unix:{control.path}"])


def test_lines_are_printed_oldest_first_and_harmless(
    run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["GET /api/logs"] = {"data": {"items": [line(2, "a = \x1b[31m"), line(1)], "total": 4}}
    assert run("-n", "2", "--filter", "Heard") == 0
    assert control.asked[0].query == [("filter", "Heard"), ("limit", "2"), ("page", "1")]
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "2026-11-21T05:00:01Z INFO Heard (test.heard) a = 1",
        "2026-11-21T05:00:02Z INFO Heard (test.heard) a = \\x1b[31m",
    ]
    assert "--page 2" in captured.err


def test_json_is_the_answer(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"items": [line(1)], "total": 1}
    control.answers["GET /api/logs"] = {"data": data}
    assert run("--json") == 0
    assert json.loads(capsys.readouterr().out) == data


def test_without_log_files(run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/logs"] = {"error": "unsupported", "details": "Tracer log path not configured"}
    assert run() == 70
    assert "Tracer log path not configured" in capsys.readouterr().err


def test_following(
    run: Any, control: FakeControl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [[line(1)], [line(2), line(1)], [line(2), line(1)], [line(4), line(3), line(2), line(1)]]
    looks = iter(pages)

    def sleep(seconds: float) -> None:
        if len(control.asked) == len(pages):
            raise KeyboardInterrupt

    monkeypatch.setattr("relayd.cli.log.time.sleep", sleep)
    control.answers["GET /api/logs"] = lambda query: {"data": {"items": next(looks), "total": 1}}
    assert run("-f", "--json") == 130
    assert [json.loads(each) for each in capsys.readouterr().out.splitlines()] == [line(each) for each in (1, 2, 3, 4)]
    assert run("-f", "--page", "2") == 64


@pytest.mark.parametrize(
    ("seen", "known", "new"),
    [
        ([], [], []),
        ([2, 1], [], [2, 1]),
        ([3, 2, 1], [3, 2, 1], []),
        ([4, 3, 2], [3, 2, 1], [4]),
        ([9, 8, 7], [3, 2, 1], [9, 8, 7]),
        ([3, 2, 1], [2, 1], [3]),
        ([1, 1, 1], [1], []),
        ([5, 4, 3, 2, 1, 0], [3, 2], [5, 4]),
    ],
)
def test_new_lines(seen: list[int], known: list[int], new: list[int]) -> None:
    def page(numbers: list[int]) -> list[Line]:
        return [line(each) for each in numbers]

    assert log.new_lines(page(seen), page(known)) == page(new)
