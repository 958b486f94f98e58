"""Levels of single events: what is logged follows them, what is counted does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.events import smtp
from relayd.events.event import Level
from relayd.options import OptionError
from relayd.telemetry.levels import levels_of, put_in_demand, put_in_force
from relayd.telemetry.live import Live
from relayd.telemetry.log import LogFiles
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.options import EventLevelOptions, TracerOptions
from relayd.telemetry.recording import Room
from tests.telemetry.conftest import Recorder
from tests.telemetry.test_recording import Kept


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    yield
    put_in_force({})
    put_in_demand(lambda kind: False, False)


def put(**levels: str) -> None:
    records = {id.replace("_", "-").replace("--", "."): EventLevelOptions(level=level) for id, level in levels.items()}
    put_in_force(levels_of(records))


def test_an_event_is_logged_by_the_level_in_force(tmp_path: Path, recorder: Recorder) -> None:
    log = LogFiles({"a": TracerOptions(type="log")}, tmp_path, recorder.daemon, lambda call: call())
    metrics = Metrics()
    recorder.stream.subscribe(log)
    recorder.stream.subscribe(metrics)

    def lines(**levels: str) -> list[str]:
        put(**levels)
        log.forget_levels()
        for kind in (smtp.NOOP, smtp.EHLO):
            kind(recorder.session, **({"domain": "x"} if kind is smtp.EHLO else {}))
        log.flush()
        path = tmp_path / "relayd.2026-11-21"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        log.reopen()
        return [" ".join(line.split(" ")[1:2]) + " " + line.split("(")[1].split(")")[0] for line in found]

    assert lines() == ["INFO smtp.ehlo"]
    assert lines(smtp__noop="warn") == ["WARN smtp.noop", "INFO smtp.ehlo"]
    assert lines(smtp__noop="disable", smtp__ehlo="trace") == []
    assert lines() == ["INFO smtp.ehlo"]
    assert metrics.events[smtp.NOOP] == 4
    log.close()


def test_a_trace_ends_though_its_last_event_is_disabled(tmp_path: Path, recorder: Recorder) -> None:
    kept = Kept(tmp_path, recorder, Room(events=20))
    put(smtp__connection_end="disable")
    kept.recording.configure(kept.recording.stores)
    ids = [kept.session(number).id for number in range(1, 9)]  # more events than there is room for at once
    kept.recording.flush(20)
    found = kept.traces.get(ids, recorder.now)
    assert set(found) == set(ids)
    assert found[ids[0]][-1].type == "queue.queue-message"
    assert kept.recording.dropped == 0
    kept.recording.close()


def test_a_disabled_event_is_in_no_trace_and_no_live_view(tmp_path: Path, recorder: Recorder) -> None:
    kept = Kept(tmp_path, recorder)
    put(smtp__ehlo="disable")
    kept.recording.configure(kept.recording.stores)
    id = kept.session(1).id
    kept.recording.flush(20)
    types = [each.type for each in kept.traces.get([id], recorder.now)[id]]
    assert "smtp.ehlo" not in types
    assert "smtp.mail-from" in types
    kept.recording.close()
    live = Live(recorder.daemon)
    live._room = 10
    live(next(each for each in recorder.events if each.kind is smtp.EHLO))
    assert live._buffer == []


def test_what_is_made_on_demand_is_made_where_somebody_takes_it(tmp_path: Path, recorder: Recorder) -> None:
    def wanted(level: str = "info", *, watched: bool = False, **levels: str) -> bool:
        put(**levels)
        log = LogFiles({"a": TracerOptions(type="log", level=level)}, tmp_path, recorder.daemon, lambda call: call())
        put_in_demand(log.wants, watched)
        log.close()
        return smtp.RAW_INPUT.wanted

    assert not wanted()
    assert not wanted("debug")
    assert wanted("trace")
    assert wanted(watched=True)
    assert wanted(smtp__raw_input="info")
    assert not wanted("trace", watched=True, smtp__raw_input="disable")
    assert not wanted()
    assert smtp.EHLO.wanted


def test_it_is_stored_where_its_level_was_raised_alone(tmp_path: Path, recorder: Recorder) -> None:
    kept = Kept(tmp_path, recorder)

    def stored() -> list[str]:
        kept.recording.configure(kept.recording.stores)
        span = kept.span(listenerId="smtp")
        smtp.CONNECTION_START(span, listener_id="smtp", local_port=25, remote_ip="192.0.2.9", remote_port=4711)
        smtp.RAW_INPUT(span, size=6, contents="NOOP")
        smtp.NOOP(span)
        smtp.CONNECTION_END(span, elapsed=40)
        kept.recording.flush(20)
        return [each.type for each in kept.traces.get([span.id], recorder.now)[span.id]]

    assert stored() == ["smtp.connection-start", "smtp.noop", "smtp.connection-end"]
    put(smtp__raw_input="debug")
    assert stored()[1] == "smtp.raw-input"
    kept.recording.close()


def test_an_unknown_event_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r'tracing.level."smtp.ehol".*did you mean "smtp.ehlo"'):
        levels_of({"smtp.ehol": EventLevelOptions(level="info")})


def test_disabled_is_below_every_level() -> None:
    assert min(Level) is Level.DISABLED
