"""The log files read back: newest first over all files, in bounded time, whatever happens to them meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.telemetry import reading
from relayd.telemetry.files import RotatingFile
from relayd.telemetry.reading import LogPage, Logs, NoLogFiles, Patience, Place
from tests.telemetry.conftest import NOW

DAY = 86400.0


def line(number: int, more: str = "") -> bytes:
    return f"2026-11-21T05:00:00Z INFO Heard (test.heard) number = {number}{more}\n".encode()


def lines(*numbers: int, more: str = "") -> bytes:
    return b"".join(line(each, more) for each in numbers)


def numbers(page: LogPage) -> list[int]:
    return [int(each.details.split()[2].rstrip(",")) for each in page.items]


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(lambda: Place(tmp_path, "relayd"), lambda timeout: True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BLOCK", 100)


async def test_newest_first_page_by_page(logs: Logs, tmp_path: Path, small_blocks: None) -> None:
    (tmp_path / "relayd.2026-11-20").write_bytes(lines(*range(50)))
    (tmp_path / "relayd.2026-11-21").write_bytes(lines(*range(50, 80)))
    (tmp_path / "relayd.2026-11-21.001").write_bytes(lines(*range(80, 95)))
    found = []
    totals = []
    for offset in range(0, 100, 10):
        page = await logs.page("", offset, 10)
        found += numbers(page)
        totals.append(page.total)
    assert found == list(range(94, -1, -1))
    assert totals == [20, 30, 40, 50, 60, 70, 80, 90, 100, 95]
    assert await logs.page("", 1 << 62, 10) == LogPage([], 95)


@pytest.mark.parametrize("rotate", ["daily", "never"])
async def test_what_the_writer_wrote_is_read_in_order(logs: Logs, tmp_path: Path, rotate: str) -> None:
    file = RotatingFile(tmp_path, "relayd", rotate, 0, 40_000)
    for number in range(400):
        file.write(line(number), NOW)
    file.close()
    if rotate == "never":
        os.utime(tmp_path / "relayd.old", (NOW, NOW))
        os.utime(tmp_path / "relayd", (NOW, NOW))
    assert numbers(await logs.page("", 0, 400)) == list(range(399, -1, -1))


async def test_a_rotation_that_was_changed(logs: Logs, tmp_path: Path) -> None:
    for number, name in enumerate(
        [
            "relayd.2026-11-19",
            "relayd.2026-11-20.999",
            "relayd.2026-11-20.1000",
            "relayd.2026-11-21",
            "relayd.2026-11-21T04",
            "relayd.2026-11-21T04:59",
        ]
    ):
        (tmp_path / name).write_bytes(line(number))
    (tmp_path / "relayd").write_bytes(line(6))
    os.utime(tmp_path / "relayd", (NOW, NOW))
    assert numbers(await logs.page("", 0, 10)) == [6, 5, 4, 3, 2, 1, 0]


async def test_other_files_of_the_directory_are_left_alone(logs: Logs, tmp_path: Path) -> None:
    (tmp_path / "relayd.2026-11-21").write_bytes(line(1))
    (tmp_path / "secret").write_bytes(line(2))
    (tmp_path / "relayd.2026-11-22").symlink_to("secret")
    os.mkfifo(tmp_path / "relayd.2026-11-23")
    (tmp_path / "relayd.2026-11-24").mkdir()
    for name in ("relayd.conf", "other.2026-11-21", "relayd2026-11-21", "relayd.2026-11-21.gz"):
        (tmp_path / name).write_bytes(line(3))
    assert numbers(await logs.page("", 0, 10)) == [1]


async def test_a_filter_sees_raw_lines_and_letters_as_they_are(logs: Logs, tmp_path: Path, small_blocks: None) -> None:
    (tmp_path / "relayd.2026-11-21").write_bytes(
        lines(1, 2, more=', to = "Ann"') + lines(3, more=', to = "ann"') + lines(4, more=', to = "bé"')
    )
    assert numbers(await logs.page("Ann", 0, 10)) == [2, 1]
    assert numbers(await logs.page("Ann", 1, 10)) == [1]
    assert numbers(await logs.page("bé", 0, 10)) == [4]
    assert await logs.page("nobody", 0, 10) == LogPage([], 0)
    assert await logs.page("Ann\n", 0, 10) == LogPage([], 0)


async def test_total_says_whether_there_is_another_page(logs: Logs, tmp_path: Path) -> None:
    (tmp_path / "relayd.2026-11-21").write_bytes(lines(*range(20), more=" x"))
    assert (await logs.page("", 0, 20)).total == 20
    assert (await logs.page("", 0, 19)).total == 38
    assert (await logs.page(" x", 10, 10)).total == 20
    assert (await logs.page(" x", 9, 10)).total == 29


async def test_lines_of_others_count_and_are_left_out(logs: Logs, tmp_path: Path) -> None:
    (tmp_path / "relayd.2026-11-21").write_bytes(line(1) + b"not ours\n\n" + line(2))
    page = await logs.page("", 0, 3)
    assert (numbers(page), page.total) == ([2], 6)


@pytest.mark.parametrize("end", [b"", b"2026-11-21T05:00:00Z INFO Heard (test.he"])
async def test_a_last_line_that_is_still_written_is_left_out(
    logs: Logs, tmp_path: Path, end: bytes, small_blocks: None
) -> None:
    (tmp_path / "relayd.2026-11-21").write_bytes(lines(1, 2) + end * 5)
    page = await logs.page("", 0, 10)
    assert (numbers(page), page.total) == ([2, 1], 2)


async def test_long_lines(logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_BLOCK", 1000)
    monkeypatch.setattr(reading, "_LONGEST", 10_000)
    (tmp_path / "relayd.2026-11-21").write_bytes(
        line(1) + line(2, ", a = " + "x" * 5000) + b"y" * 50_000 + b"\n" + line(3)
    )
    page = await logs.page("", 0, 10)
    assert numbers(page) == [3, 2, 1]
    assert [len(each.details) for each in page.items] == [10, 5016, 10]
    assert page.total == 4


async def test_a_page_holds_so_many_octets(logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE_OCTETS", 1000)
    (tmp_path / "relayd.2026-11-21").write_bytes(lines(*range(30)))
    page = await logs.page("", 0, 30)
    assert page.total == 30
    assert 10 < len(page.items) < 20


async def test_files_may_go_and_change_their_names_while_they_are_read(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(10, 15):
        (tmp_path / f"relayd.2026-11-{day}").write_bytes(lines(*range(day * 100, day * 100 + 5)))
    listed = reading._newest_first

    def meanwhile(place: Place) -> list[Path]:
        found = listed(place)
        (tmp_path / "relayd.2026-11-12").unlink()
        os.rename(tmp_path / "relayd.2026-11-14", tmp_path / "relayd.old")
        return [*found, tmp_path / "relayd.old", tmp_path / "relayd.2026-11-13"]

    monkeypatch.setattr(reading, "_newest_first", meanwhile)
    logs = Logs(lambda: Place(tmp_path, "relayd"), lambda timeout: True)
    days = [each // 100 for each in numbers(await logs.page("", 0, 100))]
    assert days == [13] * 5 + [11] * 5 + [10] * 5 + [14] * 5


async def test_a_search_ends_when_its_time_is_up(tmp_path: Path, small_blocks: None) -> None:
    (tmp_path / "relayd.2026-11-21").write_bytes(lines(*range(1000)))
    ticks = iter(float(each) for each in range(10_000))
    logs = Logs(
        lambda: Place(tmp_path, "relayd"), lambda timeout: True, Patience(search=20, next_page=5), lambda: next(ticks)
    )
    page = await logs.page("nobody", 0, 10)
    assert page == LogPage([], 10)
    # a full page looks for another match for less long
    page = await logs.page("number = 999", 0, 1)
    assert (numbers(page), page.total) == ([999], 2)
    assert next(ticks) < 40


async def test_without_a_place_or_a_directory(tmp_path: Path) -> None:
    with pytest.raises(NoLogFiles):
        await Logs(lambda: None, lambda timeout: True).page("", 0, 10)
    with pytest.raises(FileNotFoundError):
        await Logs(lambda: Place(tmp_path / "none", "relayd"), lambda timeout: True).page("", 0, 10)


async def test_what_waits_is_written_first(tmp_path: Path) -> None:
    def flush(timeout: float) -> bool:
        (tmp_path / "relayd.2026-11-21").write_bytes(line(7))
        return True

    assert numbers(await Logs(lambda: Place(tmp_path, "relayd"), flush).page("", 0, 10)) == [7]


@pytest.mark.long
async def test_a_gigabyte_of_logs_is_quick(logs: Logs, tmp_path: Path) -> None:
    """The first pages at once; a search over all of it within its time; the loop turns meanwhile."""
    more = ', listenerId = "smtp", localPort = 25, remoteIp = 192.0.2.1, remotePort = 40000, to = "someone@example.org"'
    part = lines(*range(1_000_000, 1_300_000), more=more)
    for day in range(1, (1 << 30) // len(part) + 2):
        (tmp_path / f"relayd.2026-11-{day:02d}").write_bytes(part)

    async def took(work: Callable[[], object]) -> float:
        best = 10.0
        for _ in range(3):
            start = time.perf_counter()
            await work()  # type: ignore[misc]
            best = min(best, time.perf_counter() - start)
        return best

    assert await took(lambda: logs.page("", 0, 100)) < 0.1
    assert await took(lambda: logs.page("remoteIp", 0, 100)) < 0.1
    assert await took(lambda: logs.page("", 900, 100)) < 0.1
    start = time.perf_counter()
    assert (await logs.page("nobody", 0, 100)).items == []
    assert time.perf_counter() - start < 4
