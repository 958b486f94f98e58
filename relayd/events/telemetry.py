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
WEBHOOK_ERROR = EventKind(
    "telemetry.webhook-error",
    Level.WARN,
    "Webhook failed",
    "Events could not be posted, or not be logged; they are tried again",
    "id url code reason total next_retry",
)
WEBHOOK_RECOVERED = EventKind(
    "telemetry.webhook-recovered",
    Level.INFO,
    "Webhook takes events again",
    "A post was taken after others had failed",
    "id url total",
)
WEBHOOK_DROPPED = EventKind(
    "telemetry.webhook-dropped",
    Level.WARN,
    "Webhook events dropped",
    "Events were given up before the webhook took them",
    "id reason total",
)
WEBHOOK_REPLAYED = EventKind(
    "telemetry.webhook-replayed",
    Level.INFO,
    "Webhook replayed",
    "Somebody set the position of a webhook: events are sent again, or passed over",
    "id total account_name",
)
ALERT = EventKind(
    "telemetry.alert", Level.WARN, "Alert", "Something needs an operator; it is said once for each cause", "id reason"
)
ALERT_CLEARED = EventKind(
    "telemetry.alert-cleared", Level.INFO, "All clear", "What an alert was about is over", "id reason elapsed"
)
ALERT_ERROR = EventKind(
    "telemetry.alert-error",
    Level.WARN,
    "Alert not told",
    "Something could not be looked at, or its mail not be queued; it is tried again",
    "id reason",
)
FORGOTTEN = EventKind(
    "telemetry.forgotten",
    Level.INFO,
    "Address forgotten",
    "An address was overwritten in traces, history and logs",
    "account_name total",
)
