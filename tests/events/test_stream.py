"""Who hears of an event."""

from __future__ import annotations

from relayd.events import auth, smtp
from relayd.events.event import Event, EventStream, Span


def test_a_subscriber_to_one_kind_hears_of_that_alone() -> None:
    every: list[str] = []
    some: list[str] = []

    def one(event: Event) -> None:
        some.append(event.kind.id)

    stream = EventStream(lambda: 0.0, [lambda event: every.append(event.kind.id)])
    stream.subscribe_to(auth.SUCCESS, one)
    span = Span(stream)
    auth.SUCCESS(span, account_name="ann")
    smtp.NOOP(span)
    stream.unsubscribe(one)
    auth.SUCCESS(span, account_name="ann")
    assert (every, some) == (["auth.success", "smtp.noop", "auth.success"], ["auth.success"])


def test_one_that_fails_is_heard_no_more_and_hurts_nobody() -> None:
    heard: list[str] = []
    failed: list[Exception] = []

    def broken(event: Event) -> None:
        raise ValueError("no")

    stream = EventStream(lambda: 0.0, [lambda event: heard.append(event.kind.id)])
    stream.on_subscriber_failure = lambda subscriber, error: failed.append(error)
    stream.subscribe_to(smtp.NOOP, broken)
    span = Span(stream)
    smtp.NOOP(span)
    smtp.NOOP(span)
    assert (heard, len(failed)) == (["smtp.noop", "smtp.noop"], 1)
