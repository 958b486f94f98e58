"""Whatever peers said, and whatever somebody looks for: it is stored, found as it was said, and breaks nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.database.segments import Bounds, Series
from relayd.events import smtp
from relayd.events.event import Event, EventStream, Span
from relayd.telemetry import traces
from relayd.telemetry.matching import Wanted, is_like
from relayd.telemetry.rows import decode, encode, shown_event, terms, word_of
from relayd.telemetry.traces import TraceQuery, Traces

NOW = 1795237200.0
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def stated(**fields: Any) -> Event:
    span = Span(EventStream(lambda: NOW), 128)
    return Event(smtp.EHLO, span, NOW, fields)


@given(VALUES, st.text(max_size=10))
def test_any_value_is_shown_and_matched(value: Any, wanted: str) -> None:
    for name in ("domain", "elapsed", "next_retry"):
        event = stated(**{name: value})
        from_event = json.loads(encode(shown_event(event).data))
        assert isinstance(from_event, dict)
        decode(encode([event.kind.id, event.at, event.fields]))
        Wanted(wanted).takes(event)
        is_like(name, value, wanted)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec=None), max_size=30), st.text(max_size=30))
def test_what_was_said_is_found_by_it_and_any_filter_can_be_asked(said: str, asked: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Traces(Series(Path(directory), "t", traces.VERSION, traces.SCHEMA, Bounds(1e9, 64 << 20)))
        span = Span(EventStream(lambda: NOW), 217700302698266624)
        start = Event(smtp.CONNECTION_START, span, NOW, {})
        store.write([(span, [start, Event(smtp.EHLO, span, NOW, {"domain": said})])], NOW)
        store.search(TraceQuery(filter=asked), 0, 10, headlines=True, now=NOW)
        word = word_of(said)
        if word and '"' not in word:
            found = store.search(TraceQuery(filter=f'"{word}"'), 0, 10, headlines=False, now=NOW)
            assert found.items == [span.id]
        store.series.close()


@given(st.text())
def test_terms_are_words(filter: str) -> None:
    for word, _ in terms(filter):
        assert word
        assert word == word_of(word)
