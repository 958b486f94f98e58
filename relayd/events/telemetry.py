"""The views of the events (control-api family `telemetry`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

LOG_ERROR = EventKind(
    "telemetry.log-error", Level.WARN, "Log cannot be written", "Lines are lost until it can", "path reason total"
)
SUBSCRIBER_FAILED = EventKind(
    "telemetry.subscriber-failed",
    Level.WARN,
    "A view of the events failed",
    "It is dropped; the engine goes on",
    "id reason",
)
DROPPED = EventKind("telemetry.dropped", Level.WARN, "Events dropped", "A view could not keep up", "id total")
STORE_ERROR = EventKind(
    "telemetry.store-error",
    Level.WARN,
    "Telemetry cannot be stored",
    "Traces, history or metrics are lost until it can",
    "id reason total",
)
