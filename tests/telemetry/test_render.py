"""Text lines as control-api §6 has them, JSON lines that a parser reads."""

from __future__ import annotations

import json
import re

from relayd.events import delivery, manage, queue, smtp
from relayd.events.event import Event, EventKind, Level
from relayd.mail.envelope import Notify
from relayd.telemetry.render import milliseconds, render_json, render_text, rfc3339
from tests.telemetry.conftest import NOW, Recorder

LINE = re.compile(r"(\S+) (\w+) ([^(]+) \(([a-z.-]+)\) (.*)")
"""How the API's log reader takes a line apart."""

EVERYTHING = EventKind(
    "test.everything",
    Level.WARN,
    "Everything",
    "Each type of value",
    "details to result total next_retry value elapsed",
)


def test_the_line_of_a_session_event(recorder: Recorder) -> None:
    smtp.MAIL_FROM(recorder.session, from_="a@example.org", size=4000)
    assert render_text(recorder.last) == (
        "2026-11-21T05:00:00Z INFO SMTP MAIL FROM command (smtp.mail-from) "
        'listenerId = "smtp", localPort = 25, remoteIp = 192.0.2.1, remotePort = 40000, '
        'from = "a@example.org", size = 4000'
    )


def test_every_type_of_value(recorder: Recorder) -> None:
    spf = EventKind("test.spf-none", Level.DEBUG, "No SPF record", "", "domain")
    EVERYTHING(
        recorder.daemon,
        details='say "hi"\r\n',
        to=["a@x", "b@x"],
        result=spf.nested(domain="x"),
        total=None,
        next_retry=NOW + 60,
        value=b"\0\xff",
        elapsed=0.024,
    )
    assert render_text(recorder.last) == (
        "2026-11-21T05:00:00Z WARN Everything (test.everything) "
        'details = "say \\"hi\\"\\r\\n", to = ["a@x", "b@x"], '
        'result = No SPF record (test.spf-none) { domain = "x" }, total = (null), '
        "nextRetry = 2026-11-21T05:01:00Z, value = base64:AP8=, elapsed = 24ms"
    )


def test_other_values_are_shown_not_raised(recorder: Recorder) -> None:
    EVERYTHING(recorder.daemon, details=Notify.DELAY, to={"b", "a"}, result=True, value=1.5, elapsed=7)
    assert render_text(recorder.last).endswith(
        '(test.everything) details = "DELAY", to = ["a", "b"], result = true, value = 1.5, elapsed = 7ms'
    )
    assert json.loads(render_json(recorder.last))["data"]["elapsed"] == 7


def test_the_reader_takes_lines_apart(recorder: Recorder) -> None:
    delivery.DELIVERED(recorder.session, to="b@x", code=250, details="OK (queued) as 1", elapsed=1.0)
    match = LINE.fullmatch(render_text(recorder.last))
    assert match is not None
    assert match.group(1, 2, 3, 4) == ("2026-11-21T05:00:00Z", "INFO", "Message delivered", "delivery.delivered")
    assert match[5].endswith('details = "OK (queued) as 1", elapsed = 1000ms')


def test_a_line_of_json(recorder: Recorder) -> None:
    queue.QUEUE_MESSAGE(
        recorder.session, queue_id=217700302698266624, from_="", to=["b@x"], next_retry=NOW, next_dsn=None, size=1
    )
    assert json.loads(render_json(recorder.last)) == {
        "timestamp": "2026-11-21T05:00:00Z",
        "level": "INFO",
        "event_id": "queue.queue-message",
        "event": "Queued message for delivery",
        "spanId": 217700302698266624,
        "data": {
            "listenerId": "smtp",
            "localPort": 25,
            "remoteIp": "192.0.2.1",
            "remotePort": 40000,
            "queueId": 217700302698266624,
            "from": "",
            "to": ["b@x"],
            "nextRetry": "2026-11-21T05:00:00Z",
            "nextDsn": None,
            "size": 1,
        },
    }


def test_nested_events_in_json(recorder: Recorder) -> None:
    inner = smtp.EHLO.nested(domain="x\u202e\ud800")
    EVERYTHING(recorder.daemon, result=[inner], elapsed=0.5)
    line = render_json(recorder.last)
    assert line.decode().isprintable()
    data = json.loads(line)["data"]
    assert data["result"] == [{"type": "smtp.ehlo", "text": "SMTP EHLO command", "data": {"domain": "x\u202e?"}}]
    assert data["elapsed"] == 500


def test_the_events_own_field_wins_over_the_spans(recorder: Recorder) -> None:
    smtp.CONCURRENCY_LIMIT_EXCEEDED(recorder.session, limit=5, remote_ip="2001:db8::1")
    assert "remoteIp = 2001:db8::1" in render_text(recorder.last)
    assert "192.0.2.1" not in render_text(recorder.last)


def test_an_address_from_a_peer_stays_on_its_line(recorder: Recorder) -> None:
    smtp.CONCURRENCY_LIMIT_EXCEEDED(recorder.session, limit=5, remote_ip="x\r\n2026 ERROR forged (a.b)")
    assert len(render_text(recorder.last).splitlines()) == 1


def test_times_out_of_range_are_rendered() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1e18) == "9999-12-31T23:59:59Z"
    assert (milliseconds(12), milliseconds(0.0125)) == (12, 12)


def test_a_field_that_was_not_declared_does_not_lose_the_line(recorder: Recorder) -> None:
    event = Event(manage.ERROR, recorder.daemon, NOW, {"undeclared": 1})
    assert render_text(event).endswith("undeclared = 1")
