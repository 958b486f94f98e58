"""A stream of events at a fixed time."""

from __future__ import annotations

import calendar
import time

import pytest

from relayd.events.event import Event, EventStream, Span

NOW = float(calendar.timegm((2026, 11, 21, 5, 0, 0)))
SESSION = {"listenerId": "smtp", "localPort": 25, "remoteIp": "192.0.2.1", "remotePort": 40000}


class Recorder:
    """Events stated in a session's span, kept."""

    def __init__(self) -> None:
        self.now = NOW
        self.events: list[Event] = []
        self.stream = EventStream(lambda: self.now, [self.events.append])
        self.session = Span(self.stream, 217700302698266624, dict(SESSION))
        self.daemon = Span(self.stream)

    @property
    def last(self) -> Event:
        return self.events[-1]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def utc(at: float) -> time.struct_time:
    return time.gmtime(at)
