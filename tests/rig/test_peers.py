"""Where tests find their peers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.peers import require_program, require_suite


@pytest.fixture(autouse=True)
def _outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("RELAYD_REQUIRE_PEERS", raising=False)


def test_a_suite_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "smtp").mkdir()
    monkeypatch.setenv("RELAYD_SUITES", str(tmp_path))
    assert require_suite("smtp") == tmp_path / "smtp"
    with pytest.raises(pytest.skip.Exception, match="RELAYD_SUITES"):
        require_suite("spf")


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("RELAYD_REQUIRE_PEERS", "1")])
def test_what_must_be_there_fails_when_it_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv("RELAYD_SUITES", str(tmp_path))
    monkeypatch.setenv(name, value)
    with pytest.raises(pytest.fail.Exception):
        require_suite("smtp")
    with pytest.raises(pytest.fail.Exception):
        require_program("no-such-program-here")


def test_a_program_is_found_or_the_test_is_skipped() -> None:
    assert Path(require_program("sh")).name == "sh"
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        require_program("no-such-program-here")
