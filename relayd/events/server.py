"""The daemon itself (control-api family `server`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

STARTUP = EventKind(
    "server.startup", Level.INFO, "relayd started", "The daemon is ready", "version hostname path details"
)
SHUTDOWN = EventKind(
    "server.shutdown", Level.INFO, "relayd stops", "The daemon stops accepting and finishes what is in flight", "reason"
)
SHUTDOWN_COMPLETE = EventKind(
    "server.shutdown-complete", Level.INFO, "relayd stopped", "Everything is settled", "elapsed"
)
STARTUP_ERROR = EventKind(
    "server.startup-error", Level.ERROR, "Start-up failed", "The daemon could not start", "reason"
)
TASK_FAILED = EventKind(
    "server.task-failed",
    Level.ERROR,
    "A background task died",
    "A task of the daemon ended with an exception; it is started again or the daemon stops",
    "id reason",
)
LOOP_STALLED = EventKind(
    "server.loop-stalled", Level.WARN, "Event loop stalled", "The loop did not turn for a while", "elapsed"
)
