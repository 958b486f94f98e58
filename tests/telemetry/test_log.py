"""The log thread: what it writes, and that nothing it meets hurts the engine."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.events import delivery, smtp
from relayd.options import OptionError, section_of
from relayd.telemetry.log import LogFiles
from relayd.telemetry.options import TracerOptions
from relayd.telemetry.pseudonyms import Pseudonyms
from relayd.telemetry.reading import Place
from relayd.telemetry.sinks import Journal
from tests.telemetry.conftest import NOW, Recorder

Open = Callable[..., LogFiles]


@pytest.fixture
def open_log(recorder: Recorder, tmp_path: Path) -> Iterator[Open]:
    opened: list[LogFiles] = []

    def start(*tracers: TracerOptions, **arguments: Any) -> LogFiles:
        named = {str(number): each for number, each in enumerate(tracers)}
        log = LogFiles(named, tmp_path, recorder.daemon, lambda call: call(), **arguments)
        recorder.stream.subscribe(log)
        opened.append(log)
        return log

    yield start
    for log in opened:
        log.close()


def today(tmp_path: Path) -> Path:
    return tmp_path / "relayd.2026-11-21"


def test_lines_in_the_order_of_the_events(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    log = open_log(TracerOptions(type="log"))
    for number in range(3000):
        smtp.EHLO(recorder.session, domain=f"host{number}")
    assert log.flush()
    lines = today(tmp_path).read_text().splitlines()
    assert [line.rpartition("host")[2] for line in lines] == [f'{number}"' for number in range(3000)]
    assert today(tmp_path).stat().st_mode & 0o777 == 0o640


def test_levels_and_disabled_events_are_left_out(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    log = open_log(
        TracerOptions(type="log", level="warn", prefix="warn"),
        TracerOptions(type="log", level="debug", prefix="debug", disabled_events=("smtp.e*",), format="json"),
    )
    smtp.CONNECTION_START(recorder.session)
    smtp.EHLO(recorder.session, domain="x")
    delivery.ROUTE_ALARM(recorder.daemon, id="r", code=535, details="no")
    smtp.RAW_INPUT(recorder.session, contents=b"x", size=1)
    assert log.flush()
    assert "delivery.route-alarm" in (tmp_path / "warn.2026-11-21").read_text()
    assert (tmp_path / "warn.2026-11-21").read_text().count("\n") == 1
    ids = [json.loads(line)["event_id"] for line in (tmp_path / "debug.2026-11-21").read_text().splitlines()]
    assert ids == ["smtp.connection-start", "delivery.route-alarm"]


def test_other_tracers_take_their_place_while_it_runs(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    kept, quiet = TracerOptions(type="log"), TracerOptions(type="log", prefix="quiet", level="error")
    log = open_log(kept, quiet)
    smtp.EHLO(recorder.session, domain="first.test")
    assert log.flush()
    loud = TracerOptions(type="log", prefix="loud", level="debug", pseudonyms=True)
    log.configure({"0": kept, "new": loud}, Pseudonyms(bytes(32)))
    smtp.MAIL_FROM(recorder.session, from_="jane@x.test")
    smtp.QUIT(recorder.session)
    assert log.flush()
    assert [line.count("smtp.") for line in today(tmp_path).read_text().splitlines()] == [1, 1]
    lines = (tmp_path / "loud.2026-11-21").read_text().splitlines()
    assert ["jane" in line for line in lines] == [False, False]
    log.configure({"1": quiet}, None)
    assert log.place == Place(tmp_path, "quiet")
    smtp.EHLO(recorder.session, domain="last.test")
    assert log.flush()
    assert log.flush()  # the files of those that are gone are closed behind the first
    assert "last.test" not in today(tmp_path).read_text()
    assert not (tmp_path / "quiet.2026-11-21").exists()
    assert not [name for name in os.listdir("/proc/self/fd") if _leads_to(name, tmp_path)]


def _leads_to(handle: str, directory: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{handle}").startswith(str(directory))
    except FileNotFoundError:
        return False


def test_standard_output(open_log: Open, recorder: Recorder) -> None:
    reading, writing = os.pipe()
    log = open_log(TracerOptions(type="stdout"), stdout=writing)
    smtp.EHLO(recorder.session, domain="x")
    assert log.flush()
    assert os.read(reading, 4096).endswith(b'domain = "x"\n')
    os.close(reading)
    os.close(writing)


def test_standard_output_that_is_the_journals_has_priorities(
    open_log: Open, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    state = os.fstat(writing)
    monkeypatch.setenv("JOURNAL_STREAM", f"{state.st_dev}:{state.st_ino}")
    log = open_log(TracerOptions(type="stdout"), stdout=writing)
    smtp.EHLO(recorder.session, domain="x")
    delivery.ROUTE_ALARM(recorder.daemon, id="r", code=535, details="no")
    assert log.flush()
    assert [line[:3] for line in os.read(reading, 4096).splitlines()] == [b"<6>", b"<4>"]
    os.close(reading)
    os.close(writing)


def test_the_journal_gets_a_datagram_for_each_line_in_its_own_protocol(
    open_log: Open, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "journal")
    monkeypatch.setattr("relayd.telemetry.log.JOURNAL_SOCKET", path)
    monkeypatch.setattr("relayd.telemetry.log.Journal", lambda: Journal(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        journal.settimeout(10)
        log = open_log(TracerOptions(type="journal"))
        smtp.EHLO(recorder.session, domain="x\nPRIORITY=0\nMESSAGE=forged")
        delivery.ROUTE_ALARM(recorder.daemon, id="r" * 100_000, code=535, details="no")
        assert log.flush()
        first, second = (journal.recv(1 << 20).decode().splitlines() for _ in range(2))
        log.reopen()
        smtp.QUIT(recorder.session)
        smtp.EHLO(recorder.session, domain="again")
        assert log.flush()
        third = journal.recv(1 << 20).decode().splitlines()
    fields = dict(line.split("=", 1) for line in first)
    assert list(fields) == ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "RELAYD_EVENT", "RELAYD_SPAN"]
    assert "\\nPRIORITY=0\\nMESSAGE=forged" in fields["MESSAGE"]
    assert (fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]) == ("6", "relayd")
    assert (fields["RELAYD_EVENT"], fields["RELAYD_SPAN"]) == ("smtp.ehlo", str(recorder.session.id))
    assert second[1:] == ["PRIORITY=4", "SYSLOG_IDENTIFIER=relayd", "RELAYD_EVENT=delivery.route-alarm"]
    assert len(second[0]) < 50_000
    assert 'domain = "again"' in third[0]


def test_a_journal_that_is_gone_costs_lines_and_is_said(
    open_log: Open, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    path.write_text("no socket any more")
    monkeypatch.setattr("relayd.telemetry.log.JOURNAL_SOCKET", str(path))
    monkeypatch.setattr("relayd.telemetry.log.Journal", lambda: Journal(str(path)))
    log = open_log(TracerOptions(type="journal"))
    smtp.EHLO(recorder.session, domain="x")
    assert log.flush()
    assert [each.fields["path"] for each in recorder.events if each.kind.id == "telemetry.log-error"] == [str(path)]


def test_a_full_buffer_drops_and_says_so(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    log = open_log(TracerOptions(type="log"), bound=10)
    for number in range(50_000):
        smtp.EHLO(recorder.session, domain=f"host{number}")
    assert log.flush()
    smtp.EHLO(recorder.session, domain="after")
    assert log.flush()
    dropped = [event for event in recorder.events if event.kind.id == "telemetry.dropped"]
    assert sum(event.fields["total"] for event in dropped) == log.dropped > 0
    assert 'domain = "after"' in today(tmp_path).read_text()


def test_a_disk_that_cannot_be_written_is_reported_once_and_tried_again(
    open_log: Open, recorder: Recorder, tmp_path: Path
) -> None:
    blocked = tmp_path / "logs"
    blocked.write_text("a file where the directory should be")
    log = open_log(TracerOptions(type="log", path=str(blocked)))
    for _ in range(3):
        smtp.EHLO(recorder.session, domain="lost")
        assert log.flush()
    errors = [event for event in recorder.events if event.kind.id == "telemetry.log-error"]
    assert len(errors) == 1
    blocked.unlink()
    smtp.EHLO(recorder.session, domain="kept")
    assert log.flush()
    assert 'domain = "kept"' in (blocked / "relayd.2026-11-21").read_text()
    assert [event.fields["reason"] for event in recorder.events if event.kind.id == "telemetry.log-error"][1:] == [
        "written again"
    ]


def test_an_event_that_cannot_be_rendered_costs_its_line_only(
    open_log: Open, recorder: Recorder, tmp_path: Path
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    log = open_log(TracerOptions(type="log"))
    smtp.EHLO(recorder.session, domain=Broken())
    smtp.EHLO(recorder.session, domain="next")
    assert log.flush()
    assert 'domain = "next"' in today(tmp_path).read_text()
    assert any(event.kind.id == "telemetry.log-error" for event in recorder.events)


def test_reopened_after_logrotate_moved_the_file(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    log = open_log(TracerOptions(type="log", rotate="never", prefix="mail.log"))
    smtp.EHLO(recorder.session, domain="before")
    assert log.flush()
    (tmp_path / "mail.log").rename(tmp_path / "mail.log.1")
    log.reopen()
    smtp.EHLO(recorder.session, domain="after")
    assert log.flush()
    assert 'domain = "before"' in (tmp_path / "mail.log.1").read_text()
    assert 'domain = "after"' in (tmp_path / "mail.log").read_text()


def test_close_writes_what_waits(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    log = open_log(TracerOptions(type="log"))
    smtp.EHLO(recorder.session, domain="last")
    log.close()
    assert 'domain = "last"' in today(tmp_path).read_text()
    assert not any(thread.name == "log" and thread.is_alive() for thread in threading.enumerate())


def test_the_day_changes_with_the_events(open_log: Open, recorder: Recorder, tmp_path: Path) -> None:
    log = open_log(TracerOptions(type="log"))
    smtp.EHLO(recorder.session, domain="saturday")
    assert log.flush()
    recorder.now = NOW + 86400
    smtp.EHLO(recorder.session, domain="sunday")
    assert log.flush()
    assert "sunday" in (tmp_path / "relayd.2026-11-22").read_text()
    assert "sunday" not in today(tmp_path).read_text()


def test_a_webhook_is_no_tracer() -> None:
    with pytest.raises(OptionError, match="a record of its own"):
        section_of(TracerOptions).build({"type": "webhook"})
    with pytest.raises(OptionError, match="expected one of"):
        section_of(TracerOptions).build({"type": "syslog"})
