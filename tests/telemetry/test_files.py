"""Log files: their names, and that they stay within age and size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relayd.telemetry.files import RotatingFile
from tests.telemetry.conftest import NOW


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


@pytest.mark.parametrize(
    ("rotate", "first", "second", "later"),
    [
        ("daily", "relayd.2026-11-21", "relayd.2026-11-22", 86400),
        ("hourly", "relayd.2026-11-21T05", "relayd.2026-11-21T06", 3600),
        ("minutely", "relayd.2026-11-21T05:00", "relayd.2026-11-21T05:01", 60),
    ],
)
def test_names_by_rotation(tmp_path: Path, rotate: str, first: str, second: str, later: int) -> None:
    file = RotatingFile(tmp_path / "logs", "relayd", rotate, 0, 0)
    file.write(b"one\n", NOW)
    file.write(b"two\n", NOW + later)
    file.close()
    assert names(tmp_path / "logs") == [first, second]
    assert (tmp_path / "logs" / first).read_bytes() == b"one\n"


def test_old_and_unfinished_files_go_and_others_stay(tmp_path: Path) -> None:
    for name, age in [
        ("relayd.2026-11-01", 20),
        ("relayd.2026-11-15", 6),
        ("relayd.2026-11-15.new", 0),
        ("relayd.conf", 99),
        ("relayd.conf.new", 99),
        ("other.2026-11-01", 99),
    ]:
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (NOW - age * 86400, NOW - age * 86400))
    file = RotatingFile(tmp_path, "relayd", "daily", 14 * 86400, 0)
    file.write(b"one\n", NOW)
    file.close()
    assert names(tmp_path) == [
        "other.2026-11-01",
        "relayd.2026-11-15",
        "relayd.2026-11-21",
        "relayd.conf",
        "relayd.conf.new",
    ]


@pytest.mark.parametrize("rotate", ["daily", "never"])
def test_a_burst_stays_within_the_size(tmp_path: Path, rotate: str) -> None:
    file = RotatingFile(tmp_path, "relayd", rotate, 0, 8000)
    for number in range(500):
        file.write(b"%099d\n" % number, NOW)
    file.close()
    kept = [tmp_path / name for name in names(tmp_path)]
    assert sum(path.stat().st_size for path in kept) <= 8000
    newest = max(kept, key=lambda path: path.read_bytes()[-100:])
    assert newest.read_bytes().endswith(b"%099d\n" % 499)


def test_a_restart_goes_on_in_the_last_part(tmp_path: Path) -> None:
    first = RotatingFile(tmp_path, "relayd", "daily", 0, 8000)
    for _ in range(15):
        first.write(b"x" * 99 + b"\n", NOW)
    first.close()
    again = RotatingFile(tmp_path, "relayd", "daily", 0, 8000)
    again.write(b"again\n", NOW)
    again.close()
    assert names(tmp_path) == ["relayd.2026-11-21", "relayd.2026-11-21.001"]
    assert (tmp_path / "relayd.2026-11-21.001").read_bytes().endswith(b"again\n")


def test_after_a_failed_write_the_next_line_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatingFile(tmp_path, "relayd", "daily", 0, 0)
    write = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) > 3:
            return write(handle, data[:3])
        raise OSError(28, "No space left on device")

    file.write(b"first\n", NOW)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(OSError):
            file.write(b"torn line\n"[:6], NOW)
    file.write(b"whole\n", NOW)
    file.close()
    assert (tmp_path / "relayd.2026-11-21").read_bytes().splitlines() == [b"first", b"tor", b"whole"]
