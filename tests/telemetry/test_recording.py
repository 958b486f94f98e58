"""The stores of traces and messages: filled in the engine's turn, written in batches, bounded, and never in its way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from relayd.database.segments import Bounds, ReadCut, Series
from relayd.events import delivery, queue, smtp, spf
from relayd.events.event import Span
from relayd.mail.snowflake import Snowflakes
from relayd.telemetry import history, traces
from relayd.telemetry.history import History, MessageQuery
from relayd.telemetry.points import Points
from relayd.telemetry.recording import Recording, Room, Stores
from relayd.telemetry.traces import TraceQuery, Traces
from tests.telemetry.conftest import NOW, Recorder

BOUNDS = Bounds(7 * 86400.0, 64 << 20)
WAIT = 20.0


class Kept:
    """A recording over files below `directory`, of what a recorder's stream says."""

    def __init__(self, directory: Path, recorder: Recorder, room: Room | None = None) -> None:
        self.recorder = recorder
        self.flakes = Snowflakes()
        self.traces = Traces(Series(directory, "traces", traces.VERSION, traces.SCHEMA, BOUNDS))
        self.history = History(Series(directory, "history", history.VERSION, history.SCHEMA, BOUNDS))
        stores = Stores(traces=self.traces, history=self.history, points=None)
        self.recording = Recording(stores, recorder.daemon, self.defer, lambda: recorder.now, room)
        recorder.stream.subscribe(self.recording)

    @staticmethod
    def defer(call: Callable[[], None]) -> None:
        call()

    def span(self, **keys: Any) -> Span:
        return Span(self.recorder.stream, self.flakes.issue(self.recorder.now), keys)

    def session(self, queue_id: int, sender: str = "a@sender.test", to: tuple[str, ...] = ("b@receiver.test",)) -> Span:
        """A session in which a message is taken."""
        span = self.span(listenerId="smtp", remoteIp="192.0.2.9")
        smtp.CONNECTION_START(span, listener_id="smtp", local_port=25, remote_ip="192.0.2.9", remote_port=4711)
        smtp.EHLO(span, domain="Client.Example")
        smtp.SPF_FROM_FAIL(span, domain="sender.test", result=spf.NONE.nested(), elapsed=0.0184)
        smtp.MAIL_FROM(span, from_=sender)
        for each in to:
            smtp.RCPT_TO(span, to=each)
        queue.QUEUE_MESSAGE(
            span, queue_id=queue_id, from_=sender, to=list(to), size=9, next_retry=NOW, message_id="<m1@sender.test>"
        )
        smtp.CONNECTION_END(span, elapsed=40)
        return span

    def attempt(self, queue_id: int, to: str = "b@receiver.test", host: str = "mx.receiver.test") -> Span:
        span = self.span(domain="receiver.test")
        delivery.ATTEMPT_START(span, queue_id=queue_id, from_="a@sender.test", to=[to], size=9, total=1)
        delivery.DELIVERED(span, queue_id=queue_id, hostname=host, to=to, code=250, details="ok", elapsed=0.5)
        delivery.ATTEMPT_END(span, queue_id=queue_id, elapsed=0.6)
        return span

    def found(self, **asked: Any) -> list[int]:
        self.recording.flush(WAIT)
        return self.traces.search(TraceQuery(**asked), 0, None, headlines=False, now=self.recorder.now).items


@pytest.fixture
def kept(tmp_path: Path, recorder: Recorder) -> Iterator[Kept]:
    kept = Kept(tmp_path, recorder)
    yield kept
    kept.recording.close()


@pytest.mark.parametrize(
    ("asked", "hits"),
    [
        ({"type": "smtp.connection-start"}, "s"),
        ({"type": "delivery.attempt-start"}, "a"),
        ({"type": "http.connection-start"}, ""),
        ({"queue_id": 4242}, "as"),
        ({"queue_id": 424}, ""),
        ({"filter": "a@SENDER.test"}, "as"),
        ({"filter": '"sender.test"'}, "as"),
        ({"filter": "sender"}, "as"),
        ({"filter": '"sender"'}, ""),
        ({"filter": "client.ex"}, "s"),
        ({"filter": "192.0.2."}, "s"),
        ({"filter": "mx.receiver.test"}, "a"),
        ({"filter": "4242 receiver.test b@"}, "as"),
        ({"filter": "receiver.test nobody"}, ""),
        ({"filter": "m1@sender.test"}, "s"),
        ({"filter": "sender.test", "type": "delivery.attempt-start"}, "a"),
        ({"after": NOW}, "as"),
        ({"after": NOW + 1}, ""),
        ({"before": NOW}, ""),
        ({"before": NOW + 1, "filter": "receiver"}, "as"),
        ({}, ""),
        ({"filter": "%"}, ""),
        ({"filter": '"'}, ""),
    ],
)
def test_spans_are_found_by_all_that_is_asked(kept: Kept, asked: dict[str, Any], hits: str) -> None:
    spans = {"s": kept.session(4242).id, "a": kept.attempt(4242).id}
    kept.session(9999, sender="other@elsewhere.example", to=("c@third.example",))
    found = [id for id in kept.found(**asked) if id in spans.values()]
    assert found == sorted((spans[each] for each in hits), reverse=True)


def test_a_stored_event_has_its_own_keys_and_the_shapes_of_the_api(kept: Kept) -> None:
    id = kept.session(4242).id
    kept.recording.flush(WAIT)
    events = kept.traces.get([id, 7], kept.recorder.now)[id]
    assert [each.type for each in events] == [
        "smtp.connection-start",
        "smtp.ehlo",
        "smtp.spf-from-fail",
        "smtp.mail-from",
        "smtp.rcpt-to",
        "queue.queue-message",
        "smtp.connection-end",
    ]
    assert to_builtins(events[2]) == {
        "text": "SPF From check failed",
        "details": "MAIL FROM identity failed SPF check",
        "createdAt": "2026-11-21T05:00:00Z",
        "type": "smtp.spf-from-fail",
        "data": {
            "domain": "sender.test",
            "result": {
                "type": "spf.none",
                "text": "No SPF record",
                "details": "No SPF record was found",
                "data": {},
            },
            "elapsed": 18,
        },
    }
    assert events[5].data["nextRetry"] == "2026-11-21T05:00:00Z"


def test_pages_and_headlines(kept: Kept) -> None:
    sessions = [kept.session(number).id for number in range(5)]
    kept.recording.flush(WAIT)
    asked = TraceQuery(filter="sender.test")
    page = kept.traces.search(asked, 1, 2, headlines=True, now=NOW)
    assert (page.items, page.total) == (sessions[-2:-4:-1], 5)
    assert [each.data["spanId"] for each in page.headlines] == page.items
    assert [each.data["queueId"] for each in page.headlines] == [3, 2]


def test_what_only_knocked_is_not_kept_and_of_long_spans_a_part(kept: Kept) -> None:
    knocked = kept.span()
    smtp.CONNECTION_START(knocked)
    smtp.CONNECTION_END(knocked, elapsed=1)
    long = kept.span()
    smtp.CONNECTION_START(long)
    for _ in range(3000):
        smtp.NOOP(long)
    smtp.CONNECTION_END(long, elapsed=1)
    assert kept.found(type="smtp.connection-start") == [long.id]
    assert len(kept.traces.get([long.id], NOW)[long.id]) == 2048


def test_texts_of_peers_that_no_encoding_has_are_stored_all_the_same(kept: Kept) -> None:
    span = kept.span()
    smtp.CONNECTION_START(span)
    smtp.EHLO(span, domain="caf\udce9.example")
    smtp.INVALID_COMMAND(span, contents="\x00'); DROP TABLE span; --")
    smtp.CONNECTION_END(span, elapsed=1)
    assert kept.found(type="smtp.connection-start") == [span.id]
    events = kept.traces.get([span.id], NOW)[span.id]
    assert events[1].data["domain"] == "caf?.example"
    assert events[2].data["contents"] == "\x00'); DROP TABLE span; --"


def test_what_is_too_old_is_not_shown_even_while_its_file_is_there(kept: Kept) -> None:
    kept.session(4242)
    assert kept.found(queue_id=4242)
    kept.recorder.now += BOUNDS.keep + 1
    assert not kept.found(queue_id=4242)
    assert kept.history.get(4242, kept.recorder.now) is None


def test_a_store_that_cannot_be_written_loses_its_batch_and_says_so_once(kept: Kept, tmp_path: Path) -> None:
    series = kept.traces.series
    series.directory = tmp_path / "file" / "below"
    (tmp_path / "file").write_text("")
    kept.session(1)
    kept.recording.flush(WAIT)
    kept.session(2)
    kept.recording.flush(WAIT)
    series.directory = tmp_path
    kept.session(3)
    assert len(kept.found(type="smtp.connection-start")) == 1
    said = [each.fields for each in kept.recorder.events if each.kind.id == "telemetry.store-error"]
    assert [(each["id"], each["total"]) for each in said] == [("traces", 1), ("traces", 2)]
    assert said[1]["reason"] == "written again"


def test_what_there_is_no_room_for_is_counted_and_said(tmp_path: Path, recorder: Recorder) -> None:
    kept = Kept(tmp_path, recorder, Room(events=4, spans=10, facts=1))
    halted, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        halted.set()
        go_on.wait(WAIT)

    asking = threading.Thread(target=lambda: kept.recording.ask(hold, WAIT))
    asking.start()
    halted.wait(WAIT)
    kept.session(1)
    kept.attempt(1)
    go_on.set()
    asking.join(WAIT)
    kept.recording.flush(WAIT)
    kept.recording.close()
    assert kept.recording.dropped == 2 + 2  # of the session's events, and of the facts
    dropped = [each.fields for each in recorder.events if each.kind.id == "telemetry.dropped"]
    assert sum(each["total"] for each in dropped if each["id"] == "stores") == 4


def test_what_became_of_a_message(kept: Kept) -> None:
    session = kept.session(4242, to=("b@receiver.test", "c@receiver.test"))
    kept.recorder.now += 1
    attempt = kept.attempt(4242)
    delivery.DEFERRED(
        kept.recorder.daemon,
        queue_id=4242,
        to="c@receiver.test",
        hostname="mx",
        code=451,
        details="later",
        next_retry=NOW,
    )
    kept.recording.flush(WAIT)
    found = kept.history.get(4242, kept.recorder.now)
    assert found is not None
    assert found.state == "mixed"
    assert (found.origin, found.listener, found.client, found.from_) == (
        "relayed",
        "smtp",
        "192.0.2.9",
        "a@sender.test",
    )
    assert found.finished_at is None
    assert found.spans == [session.id, attempt.id]
    assert [(each.address, each.state, each.code) for each in found.recipients] == [
        ("b@receiver.test", "delivered", 250),
        ("c@receiver.test", "deferred", 451),
    ]
    assert found.recipients[1].next_retry == "2026-11-21T05:00:00Z"
    assert [each.type.partition(".")[2] for each in found.events] == [
        "queue-message",
        "attempt-start",
        "delivered",
        "deferred",
    ]
    delivery.BOUNCED(kept.recorder.daemon, queue_id=4242, to="c@receiver.test", hostname="mx", code=550)
    delivery.COMPLETED(kept.recorder.daemon, queue_id=4242, elapsed=5.0)
    kept.recording.flush(WAIT)
    found = kept.history.get(4242, kept.recorder.now)
    assert found is not None
    assert [each.state for each in found.recipients] == ["delivered", "bounced"]
    assert found.recipients[1].attempts == 2
    assert found.finished_at == "2026-11-21T05:00:01Z"


def test_what_was_sent_to_a_list_is_found_by_what_the_client_gave(kept: Kept) -> None:
    id = kept.flakes.issue(NOW)
    queue.QUEUE_MESSAGE(
        kept.recorder.session,
        queue_id=id,
        from_="team-owner@local.test",
        to=["zoe@local.test", "ann@receiver.test"],
        size=9,
        given_from="a@sender.test",
        given_to=["team@local.test"],
    )
    kept.recording.flush(WAIT)
    for address in ("team@local.test", "a@sender.test", "ann@receiver.test", "sender.test"):
        page = kept.history.search(MessageQuery(address=address), 0, None, NOW)
        assert [each.id for each in page.items] == [id], address


def test_a_report_is_in_the_history_of_both_and_found_by_its_message_id(kept: Kept) -> None:
    kept.session(1)
    report = kept.flakes.issue(NOW)
    about: dict[str, Any] = {"from_": "", "to": ["a@sender.test"], "size": 9, "next_retry": NOW}
    queue.QUEUE_DSN(kept.recorder.daemon, queue_id=report, **about, message_id="<2@relay.test>", source=1)
    queue.QUEUE_DSN(kept.recorder.daemon, queue_id=3, **about, message_id="<3@relay.test>", source=7)
    kept.recording.flush(WAIT)
    one, two, seven = (kept.history.get(id, NOW) for id in (1, report, 7))
    assert one is not None
    assert two is not None
    assert seven is not None
    assert (one.origin, one.to, one.message_id) == ("relayed", ["b@receiver.test"], "<m1@sender.test>")
    assert [(each.type, each.data.get("queueId")) for each in one.events] == [
        ("queue.queue-message", None),
        ("queue.queue-dsn", report),
    ]
    assert (two.origin, two.to) == ("dsn", ["a@sender.test"])
    assert "queueId" not in two.events[0].data
    assert (seven.origin, seven.to, seven.events[0].data["queueId"]) == ("", [], 3)  # its own beginning is too old
    found = kept.history.search(MessageQuery(message_id="2@relay.test"), 0, None, NOW)
    assert [each.id for each in found.items] == [report]


def test_what_operators_do_is_history_too(kept: Kept) -> None:
    kept.session(1)
    kept.session(2)
    daemon = kept.recorder.daemon
    states = []
    for kind, fields in (
        (queue.HELD, {"reason": "look"}),
        (queue.RELEASED, {}),
        (queue.REMOVED, {"reason": "spam"}),
        (queue.RESTORED, {}),
    ):
        kind(daemon, queue_id=[1, 2], account_name="admin", **fields)
        kept.recording.flush(WAIT)
        found = kept.history.get(2, NOW)
        assert found is not None
        states.append((found.state, found.finished_at is not None))
    assert states == [("held", False), ("scheduled", False), ("removed", True), ("scheduled", False)]


def test_what_was_purged_or_never_queued_is_over(kept: Kept) -> None:
    first, second, third = (kept.flakes.issue(NOW) for _ in range(3))
    kept.session(first)
    kept.session(second)
    daemon = kept.recorder.daemon
    queue.REMOVED(daemon, queue_id=[first], account_name="admin", reason="spam")
    kept.recorder.now += 60
    queue.PURGED(daemon, queue_id=[first, second], account_name="admin", reason="for good", total=2)
    to = ["b@receiver.test"]
    queue.DISCARDED(
        kept.recorder.session,
        queue_id=third,
        from_="d@s.test",
        to=to,
        size=9,
        message_id="<d@s.test>",
        reason="a milter",
    )
    kept.recording.flush(WAIT)
    found = [kept.history.get(id, kept.recorder.now) for id in (first, second, third)]
    assert [(each.state, each.recipients[0].details, each.finished_at) for each in found if each is not None] == [
        ("removed", "spam", "2026-11-21T05:00:00Z"),
        ("removed", "for good", "2026-11-21T05:01:00Z"),
        ("discarded", "a milter", "2026-11-21T05:01:00Z"),
    ]
    for query in (MessageQuery(address="d@s.test"), MessageQuery(message_id="d@s.test")):
        page = kept.history.search(query, 0, None, kept.recorder.now)
        assert [each.id for each in page.items] == [third]


@pytest.mark.parametrize(
    ("asked", "hits"),
    [
        ({}, 2),
        ({"address": "B@receiver.test"}, 1),
        ({"address": "receiver.test"}, 1),
        ({"address": "b@receiver"}, 0),
        ({"message_id": "<m1@sender.test>"}, 2),
        ({"message_id": "m1@sender.test"}, 2),
        ({"filter": "rec"}, 1),
        ({"filter": "m1@"}, 2),
        ({"queue_id": 7}, 1),
        ({"queue_id": 1 << 80}, 0),
        ({"after": NOW - 3600}, 0),
    ],
)
def test_messages_are_found(kept: Kept, asked: dict[str, Any], hits: int) -> None:
    kept.recorder.now = 1632280000.0 + 60  # ids 6 and 7 are of the epoch's first milliseconds
    kept.session(6, to=("x@third.example",))
    kept.session(7)
    kept.recording.flush(WAIT)
    page = kept.history.search(MessageQuery(**asked), 0, 10, kept.recorder.now)
    assert (len(page.items), page.total) == (hits, hits)
    assert [each.id for each in page.items] == sorted((each.id for each in page.items), reverse=True)


def test_stores_can_be_switched_off_and_on(kept: Kept) -> None:
    kept.recording.configure(Stores(traces=None, history=kept.history, points=None))
    kept.session(1)
    kept.recording.flush(WAIT)
    kept.recording.configure(Stores(traces=kept.traces, history=None, points=None))
    kept.session(2)
    assert len(kept.found(type="smtp.connection-start")) == 1
    assert kept.history.get(1, NOW) is not None
    assert kept.history.get(2, NOW) is None
    span = kept.span()
    smtp.CONNECTION_START(span)
    kept.recording.configure(Stores(traces=None, history=None, points=None))
    smtp.CONNECTION_END(span)
    assert kept.recording._held == 0


def test_points_of_metrics_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relayd.telemetry import points
    from relayd.telemetry.points import Point

    store = Points(Series(tmp_path, "metrics", points.VERSION, points.SCHEMA, BOUNDS))
    store.write([Point(100, "queue.count", "gauge", 7), Point(100, "dns.lookup-time", "histogram", 90, 3)], 100.0)
    store.write([Point(200, "smtp.connection-start", "counter", 2)], 200.0)
    shown = store.between(None, None, 300.0)
    assert [each.id for each in shown] == ["dns.lookup-time", "queue.count", "smtp.connection-start"]
    assert to_builtins(shown[0]) == {
        "type": "histogram",
        "id": "dns.lookup-time",
        "timestamp": "1970-01-01T00:01:40Z",
        "count": 3,
        "sum": 90,
    }
    assert to_builtins(shown[1]) == {
        "type": "gauge",
        "id": "queue.count",
        "timestamp": "1970-01-01T00:01:40Z",
        "value": 7,
    }
    assert [each.id for each in store.between(100, 200, 300.0)] == ["dns.lookup-time", "queue.count"]
    assert [each.id for each in store.between(101, None, 300.0)] == ["smtp.connection-start"]
    monkeypatch.setattr(points, "MOST_POINTS", 2)
    assert len(store.between(None, 200, 300.0)) == 2
    with pytest.raises(ReadCut, match="more than 2 points"):
        store.between(None, None, 300.0)
    store.series.close()
