"""The live fan-out: filters, rates, and viewers that do not read."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from relayd.events import delivery, http, queue, smtp, spf
from relayd.events.event import Event, EventStream, Span
from relayd.telemetry import live
from relayd.telemetry.live import RATE, Live, Viewer, pick
from relayd.telemetry.matching import Wanted, keys_by_parameter
from tests.telemetry.conftest import NOW, Recorder


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"text": "sender.test"}, True),
        ({"text": "Sender.test"}, False),
        ({"text": "192.0.2"}, True),
        ({"text": "217700302698266624"}, True),
        ({"text": "21770030269826662"}, False),
        ({"keys": {"queueId": "217700302698266620"}}, True),  # as JavaScript prints it
        ({"keys": {"queueId": "217700302698"}}, False),
        ({"keys": {"to": "c@third"}}, True),
        ({"keys": {"to": "c@third", "from": "a@"}}, True),
        ({"keys": {"to": "c@third", "from": "b@"}}, False),
        ({"keys": {"hostname": "x"}}, False),
        ({"keys": {"size": "90"}}, True),
        ({"keys": {"size": "9"}}, False),
        ({"keys": {"nextRetry": "2026-11-21T05"}}, True),
        ({"keys": {"listenerId": "smtp"}, "text": "sender"}, True),
        ({"keys": {"listenerId": "smtp"}, "text": "nobody"}, False),
    ],
)
def test_what_fits_a_filter(recorder: Recorder, wanted: dict[str, Any], fits: bool) -> None:
    queue.QUEUE_MESSAGE(
        recorder.session,
        queue_id=217700302698266624,
        from_="a@sender.test",
        to=["b@receiver.test", "c@third.example"],
        size=90,
        next_retry=NOW,
    )
    assert Wanted(**wanted).takes(recorder.last) is fits


@pytest.mark.parametrize(
    ("keys", "fits"),
    [
        ({"result": "spf.none"}, True),
        ({"result": "iprev"}, False),
        ({"elapsed": "18"}, True),
        ({"elapsed": "0.018"}, False),
        ({"strict": "false"}, True),
        ({"strict": "true"}, False),
    ],
)
def test_nested_events_durations_and_booleans(recorder: Recorder, keys: dict[str, str], fits: bool) -> None:
    smtp.DMARC_FAIL(recorder.session, strict=False, domain="x", result=spf.NONE.nested(), elapsed=0.018)
    assert Wanted(keys=keys).takes(recorder.last) is fits


def test_after_the_first_event_of_a_span_all_of_it_is_taken(recorder: Recorder) -> None:
    wanted = Wanted(keys={"from": "a@sender.test"})
    other = Span(recorder.stream, 99)
    taken = []
    for span in (recorder.session, other):
        smtp.EHLO(span, domain="x")
        smtp.MAIL_FROM(span, from_="a@sender.test" if span is recorder.session else "b@sender.test")
        smtp.RCPT_TO(span, to="c@receiver.test")
        smtp.CONNECTION_END(span, elapsed=1)
        smtp.QUIT(span)
    for event in recorder.events:
        if wanted.takes(event):
            taken.append((event.span is recorder.session, event.kind.id))
    assert taken == [(True, "smtp.mail-from"), (True, "smtp.rcpt-to"), (True, "smtp.connection-end")]


def test_the_daemons_own_span_is_not_followed(recorder: Recorder) -> None:
    wanted = Wanted(text="x@y")
    delivery.COMPLETED(recorder.daemon, queue_id=1, elapsed=1)
    delivery.BOUNCED(recorder.daemon, to="x@y")
    delivery.COMPLETED(recorder.daemon, queue_id=1, elapsed=1)
    assert [wanted.takes(each) for each in recorder.events] == [False, True, False]


def test_every_key_of_an_event_is_a_parameter() -> None:
    names = keys_by_parameter()
    assert {names[each] for each in ("remote-ip", "queue-id", "from", "account-name", "next-dsn")} == {
        "remoteIp",
        "queueId",
        "from",
        "accountName",
        "nextDsn",
    }


def test_an_event_is_rendered_once_with_the_keys_of_its_span(recorder: Recorder) -> None:
    smtp.EHLO(recorder.session, domain="client.example")
    (first, _), (second, _), (none, _) = pick([Wanted(), Wanted(), Wanted("nobody")], recorder.events)
    assert first[0] is second[0]
    assert none == []
    assert msgspec.json.decode(first[0]) == {
        "text": "SMTP EHLO command",
        "details": "The remote server sent an EHLO command",
        "createdAt": "2026-11-21T05:00:00Z",
        "type": "smtp.ehlo",
        "data": {
            "listenerId": "smtp",
            "localPort": 25,
            "remoteIp": "192.0.2.1",
            "remotePort": 40000,
            "domain": "client.example",
        },
    }


def test_no_more_than_the_rate(recorder: Recorder) -> None:
    for _ in range(RATE + 7):
        smtp.NOOP(recorder.session)
    (unfiltered, over), (filtered, also_over) = pick([Wanted(), Wanted("smtp")], recorder.events)
    assert (len(unfiltered), over) == (RATE, 7)
    assert (len(filtered), also_over) == (RATE, 7)


@pytest.fixture
async def stream(monkeypatch: pytest.MonkeyPatch) -> EventStream:
    """A stream whose viewers are served as fast as the loop turns."""
    monkeypatch.setattr(live, "_TICK", 0.001)
    return EventStream(lambda: NOW)


def say(span: Span, count: int) -> None:
    for _ in range(count):
        http.CONNECTION_START(span, remote_ip="192.0.2.7")


async def test_who_watches_is_sent_what_happens_and_without_viewers_nothing_is_subscribed(stream: EventStream) -> None:
    span = Span(stream, 5)
    fanout = Live(span)
    say(span, 3)
    async with aclosing(fanout.watch(Wanted())) as frames:
        waiting = asyncio.ensure_future(anext(frames))
        while not len(fanout):
            await asyncio.sleep(0)
        say(span, 2)
        name, value = await waiting
        assert (name, len(value)) == ("trace", 2)
        assert fanout in stream._subscribers
    assert not stream._subscribers
    assert len(fanout) == 0


async def test_what_is_made_on_demand_is_for_who_asks_for_it(stream: EventStream) -> None:
    span = Span(stream, 5)
    asked: list[bool] = []
    fanout = Live(span, asked.append)

    def state() -> None:
        smtp.RAW_INPUT(span, size=6, contents="NOOP")
        smtp.NOOP(span)

    async with aclosing(fanout.watch(Wanted())) as usual:
        first = asyncio.ensure_future(anext(usual))
        await asyncio.sleep(0)
        state()
        assert len((await first)[1]) == 1
        assert asked == []
        async with aclosing(fanout.watch(Wanted(raw=True))) as everything:
            frames = [asyncio.ensure_future(anext(each)) for each in (usual, everything)]
            await asyncio.sleep(0)
            assert asked == [True]
            state()
            assert [len((await each)[1]) for each in frames] == [1, 2]
        assert asked == [True, False]


async def test_a_viewer_that_stops_reading_costs_nothing_and_is_told_what_it_missed(stream: EventStream) -> None:
    span = Span(stream, 5)
    fanout = Live(span)
    async with aclosing(fanout.watch(Wanted())) as frames:
        first = asyncio.ensure_future(anext(frames))
        while not len(fanout):
            await asyncio.sleep(0)
        say(span, 1)
        assert len((await first)[1]) == 1  # it holds its frame from now on
        stated = 0
        while fanout._room:
            say(span, 10)
            stated += 10
            await asyncio.sleep(0)
        say(span, 100_000)
        assert fanout._buffer == []
        following = asyncio.ensure_future(anext(frames))
        while not fanout._room:
            await asyncio.sleep(0)
        say(span, 3)
        name, value = await following
        assert (name, value) == ("missed", {"events": stated + 100_000})
        name, value = await anext(frames)
        assert (name, len(value)) == ("trace", 3)


async def test_a_viewer_that_reads_in_time_misses_nothing(stream: EventStream) -> None:
    span = Span(stream, 5)
    fanout = Live(span)
    got = 0
    async with aclosing(fanout.watch(Wanted())) as frames:
        for _ in range(20):
            following = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(0)
            say(span, 10)
            name, value = await following
            assert name == "trace"
            got += len(value)
            say(span, 5)
        while got < 300:
            name, value = await anext(frames)
            assert name == "trace"
            got += len(value)
    assert got == 300


async def test_a_viewer_to_whom_nothing_comes_is_sent_pings() -> None:
    async with aclosing(Viewer(Wanted()).frames(0.001)) as frames:
        assert await anext(frames) == ("ping", {"interval": 1})
        assert await anext(frames) == ("ping", {"interval": 1})


async def test_a_failure_of_ours_ends_the_streams_and_is_said(
    stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(live, "pick", broken)
    span = Span(stream, 5)
    said: list[Event] = []
    stream.subscribe(said.append)
    fanout = Live(span)
    async with aclosing(fanout.watch(Wanted())) as frames:
        ended = asyncio.ensure_future(anext(frames, None))
        while not len(fanout):
            await asyncio.sleep(0)
        say(span, 1)
        assert await ended is None
    assert [each.fields["id"] for each in said if each.kind.id == "telemetry.subscriber-failed"] == ["live"]
