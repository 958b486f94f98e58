"""A written line is read back as it was meant, in either format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.events import delivery, queue, smtp
from relayd.events.event import Event, EventStream, Span
from relayd.telemetry.parse import LogLine, parse_line
from relayd.telemetry.render import render_json, render_text
from tests.telemetry.conftest import NOW, SESSION, Recorder


def both(event: Event) -> tuple[LogLine | None, LogLine | None]:
    return parse_line(render_text(event).encode()), parse_line(render_json(event))


def test_text_and_json_say_the_same(recorder: Recorder) -> None:
    inner = smtp.EHLO.nested(domain="inner.example")
    smtp.EHLO(recorder.session, domain='a "b" \\ \r\n (c.d) e = f')
    delivery.ROUTE_ALARM(recorder.daemon, id="r", code=535, details="no")
    queue.RESCHEDULED(recorder.daemon, queue_id=217700302698266624, next_retry=NOW)
    recorder.events.append(Event(delivery.ROUTE_ALARM, recorder.daemon, NOW, {"id": None, "code": [1, "x", inner]}))
    for event in recorder.events:
        text, json = both(event)
        assert text is not None
        assert text == json
        assert (text.event, text.event_id, text.level) == (event.kind.text, event.kind.id, event.kind.level.name)


def test_details_keep_their_escapes(recorder: Recorder) -> None:
    smtp.EHLO(recorder.session, domain='x", queueId = 1')
    text, _ = both(recorder.last)
    assert text is not None
    assert text.timestamp == "2026-11-21T05:00:00Z"
    assert text.details.endswith('domain = "x\\", queueId = 1"')


def test_a_parenthesis_in_the_text_does_not_end_it() -> None:
    line = parse_line(b"2026-11-21T05:00:00Z INFO Seen (again) (made.up-event) a = 1")
    assert line == LogLine("2026-11-21T05:00:00Z", "INFO", "Seen (again)", "made.up-event", "a = 1")


def test_an_event_without_fields() -> None:
    line = parse_line(b"2026-11-21T05:00:00Z INFO Started (server.startup) ")
    assert line is not None
    assert line.details == ""


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"Traceback (most recent call last):",
        b"Nov 21 05:00:00 host postfix/smtpd[12]: connect from unknown[192.0.2.1]",
        b"2026-11-21T05:00:00Z INFO cut in the mid",
        b"{",
        b'{"timestamp":1,"level":"INFO","event_id":"a.b","event":"x","data":{}}',
        b'{"timestamp":"t","level":"INFO","event_id":"a.b","event":"x","data":[]}',
        b"{" * 100_000,
        b'{"timestamp":"t","level":"l","event_id":"a","event":"e","data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_line_of_ours_is_none(octets: bytes) -> None:
    assert parse_line(octets) is None


@given(st.text(), st.integers(0, 2**63), st.none() | st.booleans() | st.floats(0, 1e6), st.text() | st.binary())
def test_whatever_an_event_holds_its_line_is_read_back(a: str, b: int, c: object, d: object) -> None:
    span = Span(EventStream(lambda: NOW), 1, {**SESSION, "from": a})
    event = Event(delivery.ROUTE_ALARM, span, NOW, {"id": a, "code": b, "details": [c, d], "reason": d})
    text, json = both(event)
    assert text is not None
    assert json is not None
    assert text.event_id == json.event_id == "delivery.route-alarm"
    assert text.details.isprintable()
