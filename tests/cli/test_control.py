"""The client of the control socket: where it looks, what errors become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.cli.control import Control, open_control
from relayd.cli.failure import Failure
from relayd.cli.where import Where
from tests.cli.conftest import FakeControl


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (400, 65, "400: detail of 400"),
        (401, 77, "401"),
        (403, 77, "403"),
        (404, 66, "404"),
        (429, 75, "429"),
        (500, 70, "500"),
        (503, 75, "503"),
        ({"error": "notFound", "item": "x"}, 66, "notFound: x"),
        ({"error": "other", "details": "Queue is busy", "reason": None}, 70, "other: Queue is busy"),
        ({"nothing": 1}, 70, "no data"),
    ],
)
def test_errors_become_exit_codes(answer: Any, code: int, text: str, control: FakeControl) -> None:
    control.answers["GET /api/x"] = answer
    with pytest.raises(Failure, match=text) as caught:
        Control([f"unix:{control.path}"]).get("/x")
    assert caught.value.code == code


def test_null_is_an_answer(control: FakeControl) -> None:
    control.answers["GET /api/x"] = {"data": None}
    assert Control([f"unix:{control.path}"]).get("/x") is None


def test_nobody_there_is_69(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is it running") as caught:
        Control([f"unix:{tmp_path}/none.sock"]).get("/x")
    assert caught.value.code == 69


def test_the_first_socket_that_answers_is_used(control: FakeControl, tmp_path: Path) -> None:
    control.answers["GET /api/x"] = {"data": 1}
    assert Control([f"unix:{tmp_path}/none.sock", f"unix:{control.path}"]).get("/x") == 1


def test_credentials_are_sent_and_never_taken_from_the_url(control: FakeControl) -> None:
    control.answers["GET /api/x"] = {"data": 1}
    Control([f"unix:{control.path}"], "admin:secret").get("/x")
    assert control.asked[0].authorization == "Basic YWRtaW46c2VjcmV0"
    with pytest.raises(Failure, match="RELAYD_CREDENTIALS") as caught:
        Control(["http://admin:secret@127.0.0.1:1"]).get("/x")
    assert caught.value.code == 64


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "", "http://a:secret@[", "http://x:99999"])
def test_what_is_no_control_socket_is_64(url: str) -> None:
    with pytest.raises(Failure) as caught:
        Control([url]).get("/x")
    assert caught.value.code == 64
    assert "secret" not in str(caught.value)


def test_the_socket_of_the_configuration_is_found(config: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"unix:{tmp_path}/data/control.sock"):
        open_control(Where(config=str(config))).get("/x")


def test_a_url_of_the_environment_yields_to_a_named_configuration(
    config: Path, control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.answers["GET /api/x"] = {"data": 1}
    monkeypatch.setenv("RELAYD_URL", f"unix:{control.path}")
    assert open_control(Where()).get("/x") == 1
    with pytest.raises(Failure, match=r"data/control\.sock"):
        open_control(Where(config=str(config))).get("/x")
